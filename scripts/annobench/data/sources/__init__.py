"""Kinds of sources: every file here is one kind, with a class `Source`, found by its file name."""
