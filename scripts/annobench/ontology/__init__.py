"""The Cell Ontology: releases, the graph, reachability over class lists, and mapping of labels to ids."""

from annobench.ontology.graph import ROOT, UNKNOWN, Ontology, Term

__all__ = ["ROOT", "UNKNOWN", "Ontology", "Term"]
