"""Any source becomes the cells contract: counts checked, genes by id, labels on the Cell Ontology."""

NO_LABELS = (None, "=unknown")  # values of cells.label that declare a dataset without labels
