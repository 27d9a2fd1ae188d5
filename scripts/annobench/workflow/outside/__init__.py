"""`annobench score`: a study of predictions that were made elsewhere, written and run in a folder."""
