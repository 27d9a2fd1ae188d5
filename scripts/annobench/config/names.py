"""Names that configuration and library share; no imports."""

ARGMAX = "argmax"  # the answer that every fit gives
OBS_COLUMNS = (  # of all prepared cells
    *("label_id", "label", "label_original", "study", "donor", "batch"),
    *("assay", "tissue", "disease"),
)
OTHER_COLUMNS = (
    "cell_id",
    "part",
    "total_counts",
    "republished",
    "control_cell",
)  # of some; cells.columns may name none of either
LEIDEN = "leiden"  # value of columns.clusters that makes clusters instead of reading them
CONDITION, CONTROL_CELL = "condition", "control_cell"  # columns of obs of perturbed cells
NO_MATRIX = "none"  # value of matrix.state of a dataset whose expression is not read
NO_LABELS = (None, "=unknown")  # values of cells.label that declare a dataset without labels
STORE_CELLS = 100_000  # `storage: auto` keeps more cells than this in a store,
STORE_BYTES = 4_000_000_000  # or a matrix that takes more memory than this
SAMPLE = 20_000  # cells whose decision values are kept and audited: a share is then known to 0.004 (standard error)
