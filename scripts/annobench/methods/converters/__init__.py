"""Converters: results of one program rewritten in the layout of another, behind `annobench convert`."""
