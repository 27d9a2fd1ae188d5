"""Fit: one method on one split with one seed, in a child process that is watched (fit.smk)."""
