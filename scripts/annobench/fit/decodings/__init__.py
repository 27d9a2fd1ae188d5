"""Decodings: how labels are chosen from what a fit predicts; one file each, in the folder that says when.

- `at_fit`: from the probabilities of one cell alone. Every fit with probabilities writes these labels beside its own,
  so that they are there however many cells are tested.
- `at_score`: from what a fit left, with options of the study: nothing is fitted again for them.
"""
