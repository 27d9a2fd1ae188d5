"""Splits: the role of every cell, and the balanced selection of training cells (splits.smk)."""
