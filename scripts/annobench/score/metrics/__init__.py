"""Metrics: every file is one family."""
