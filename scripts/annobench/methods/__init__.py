"""Annotation methods: one file each, found by name; see `base` for the contract."""
