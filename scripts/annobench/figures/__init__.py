"""Figures: one file each, a function of tables only; see `registry` for what a file must hold."""
