"""Data: sources become prepared datasets (data.smk, census.smk)."""
