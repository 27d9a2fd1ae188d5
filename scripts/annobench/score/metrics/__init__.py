"""Metrics: one family a file, found by its name."""
