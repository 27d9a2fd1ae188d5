"""Balancing: which training cells are used."""
