"""Backbones in the manner of scGPT: the encoder, its weights, its pretraining."""
