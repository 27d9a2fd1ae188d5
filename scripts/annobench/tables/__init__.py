"""Tables of a study, made from the scores and run records of its fits. Figures and the report show nothing else.

Every file in this folder declares one table, or a family of tables that are computed together:

- `COLUMNS`: name of each table -> its columns, in order;
- `MEANINGS`: what its columns hold, by `column`, or by `table.column` where tables of a family differ; the columns of
  `shared/columns.py` may be left out;
- `IN_REPORT`: the tables that Snakemake's own report shows; may be left out;
- for each table a function of its name, which gets a `TableContext` and returns a DataFrame with these columns. The
  first paragraph of its docstring describes the table.

`COLUMNS`, `MEANINGS` and `IN_REPORT` are literals: they are read without importing the file.
"""
