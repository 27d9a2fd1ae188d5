"""Labelled counts beyond memory: a sharded store of sparse rows, and a loader of shuffled, normalised batches."""
