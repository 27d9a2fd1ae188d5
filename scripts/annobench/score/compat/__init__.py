"""Scores in the definitions and files of other tools, for those who compare with their numbers."""
