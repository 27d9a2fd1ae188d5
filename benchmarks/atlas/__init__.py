"""A synthetic atlas, the peers that read it, and how both are measured."""
