"""A synthetic atlas, the loaders that read it, and how they are measured."""
