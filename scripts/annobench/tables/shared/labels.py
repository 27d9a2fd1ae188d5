"""Names of labels."""

import pandas as pd

from annobench.ontology import UNKNOWN, Ontology


def label_names(labels: pd.Series, ontology: Ontology) -> list[str]:
    """Name of every label id."""
    names = {label: UNKNOWN if label == UNKNOWN else ontology.label(label) for label in labels.unique()}
    return [names[label] for label in labels]
