"""Fit: one method on one split with one seed, in a child process with limits (fit.smk)."""
