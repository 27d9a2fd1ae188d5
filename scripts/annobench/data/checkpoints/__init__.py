"""Checkpoints of backbones: read from others, made at random or trained here, and kept in one form."""
