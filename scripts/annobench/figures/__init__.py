"""Figures: each file directly in this folder is one figure, found by its name.

A file has

- a docstring: its first line is the title, the rest is the caption;
- `TABLES`, a tuple of the tables that it is drawn from;
- `draw(tables, settings) -> Figure | None`, which gets these tables (name -> data frame) and `FigureSettings`, and
  returns None where the tables hold nothing to draw yet;

and, where it differs from the default,

- `REGIMES`: the figure is drawn only for studies with one of these regimes;
- `NEEDS`: what else a study must have, each the name of a predicate in `annobench.figures.shared.needs`;
- `ORDER`: its place in the report, a number.

The constants are literals, since `annobench.config.figures` reads them without importing the file.
"""
