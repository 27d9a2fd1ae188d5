"""annobench: which way of annotating cell types is better, on which data, by how much, at what cost."""

__version__ = "0.1.0"
