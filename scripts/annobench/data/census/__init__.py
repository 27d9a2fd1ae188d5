"""Cells of a CELLxGENE Census release: selected, fetched in chunks, gathered; and releases built from own data.

- release: opening a release, wherever it lies
- filters: rows by values, never by pasted text; rows: reading them
- spec: the settings, as the rules pass them
- corpus, types: the rules by which scTab chose its cell types, and their ontology
- older, republished: what is new since another release, and which new datasets are old ones published again
- genes, exclude: the genes that are taken, the cells that are excluded
- select: one job, which cells and which genes
- chunks: many jobs, counts of a part of the cells
- gather: one job, the chunks as one store
- build, symbols: a release in the form of the Census from prepared datasets
"""
