"""Predicted expression against measured expression: what metrics of perturbations compute from, and their formulas."""
