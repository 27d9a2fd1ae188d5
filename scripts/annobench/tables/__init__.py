"""Tables of a study, made from the scores and run records of its fits. Figures and the report show nothing else.

Every file in this folder declares one table, or a family of tables that are computed together:

- `COLUMNS`: name of each table -> its columns, in order;
- `MEANINGS`: what its columns hold; those of `shared/columns.py` need not be said again;
- `IN_REPORT`: the tables that Snakemake's own report shows (may be left out);
- for each table a function of its name, which takes a `TableContext` and returns a DataFrame with these columns. The
  first paragraph of its docstring says what the table holds.

`COLUMNS`, `MEANINGS` and `IN_REPORT` are literals: they are read without importing the file.
"""
