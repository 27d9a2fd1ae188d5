"""Readers of predictions that were made elsewhere: one file each, found by name.

A reader is a function `read(path, *, ...) -> ImportedPredictions`, whose keyword arguments have literal defaults: the
keys that `parameters.options` of a method file may have. See annobench.methods.shared.imports.
"""
