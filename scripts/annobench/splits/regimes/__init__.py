"""Regimes: one file each, found by its name; its keys lie in workflow/schemas/regimes."""
