"""Decodings of the probabilities of one cell alone, which every fit writes.

A file has `LABEL`, its name for people, and a class `Decoding(graph)` whose call gives from probabilities (n, classes)
codes into the classes and confidences, (n,) each.
"""
