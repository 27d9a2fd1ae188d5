"""Configuration: YAML files in, one validated and resolved study out.

Only the standard library, yaml and jsonschema are imported in this folder, because every cluster job parses the
Snakefile again. Nothing is imported here: what a module of this folder says counts for those that import it only.
"""
