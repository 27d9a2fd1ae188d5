"""Readers of predictions that were made elsewhere: one file each, found by name.

A reader is a function `read(path, *, ...) -> ImportedPredictions`, whose keyword arguments have literal defaults: the
keys that `parameters.options` of a method file may have. One that needs the Cell Ontology has it as its second
argument: `read(path, ontology, *, ...)`. `FILES` names what it reads, with `{path}` and options in braces: a change of
one of these files refits the method, and a fit is skipped where one is missing. See annobench.methods.shared.imports.
"""
