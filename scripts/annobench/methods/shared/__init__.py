"""What methods share: features, CellTypist model files."""
