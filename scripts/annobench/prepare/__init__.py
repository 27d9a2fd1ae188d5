"""Any source becomes the cells contract: counts checked, genes by id, labels on the Cell Ontology."""

NO_LABELS = (None, "=unknown")  # values of cells.label that declare a dataset without labels
STORE_CELLS = 100_000  # `storage: auto` keeps more cells than this in a store,
STORE_BYTES = 4_000_000_000  # or a matrix that takes more memory than this
