"""What kinds of sources share, and the parts of the larger ones."""
