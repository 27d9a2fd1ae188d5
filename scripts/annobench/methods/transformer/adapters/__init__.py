"""Modules that take the place of a Linear layer of a backbone, or a slot in its layers.

One in the place of a Linear layer holds it as `base` and has `merged`, which gives one Linear layer that computes the
same.
"""
