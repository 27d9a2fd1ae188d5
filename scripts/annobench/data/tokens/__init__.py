"""Cells as tokens of the vocabulary of a checkpoint, once for all fits that read them."""
