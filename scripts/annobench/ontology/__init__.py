"""The Cell Ontology: the graph of a release, mapping of labels to ids, and coarser lists of types."""

from annobench.ontology.graph import ROOT, UNKNOWN, Ontology, Term

__all__ = ["ROOT", "UNKNOWN", "Ontology", "Term"]
