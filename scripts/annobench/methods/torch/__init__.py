"""Losses, networks and the trainer that the PyTorch methods share."""
