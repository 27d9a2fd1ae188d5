"""Foundations: errors, paths, files, Arrow columns, counts, threads, processes; imports nothing else of the package."""
