"""Where cells come from: each kind of source puts its files into a folder and returns a provenance record."""
