"""Prepare: any source becomes the cells contract; counts checked, genes by id, labels on the Cell Ontology."""
