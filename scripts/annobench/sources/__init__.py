"""Where cells come from. Each kind of source puts its files into a folder and returns a provenance record."""
