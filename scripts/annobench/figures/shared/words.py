"""What things are called in figures, where neither the tables nor the settings of a figure say so."""

RULE_LABELS = {"raw": "raw", "softmax": "softmax", "zscore": "z-score", "calibrated": "calibrated"}
MODEL_LABELS = {"linear": "Linear", "mlp": "MLP", "tabnet": "TabNet"}
DECODING_LABELS = {"argmax": "argmax", "leaf": "leaf", "top_down": "top-down"}
PART_LABELS = {"id": "In distribution", "ood": "Out of distribution"}
NODE_CLASS_LABELS = {
    "internal": "internal",
    "leaf_connected": "connected leaf",
    "leaf_isolated": "isolated leaf",
    "leaf": "all leaves",
}
_SPELLED = {
    "f1": "F1",
    "mcc": "MCC",
    "ece": "ECE",
    "aurc": "AURC",
    "auroc": "AUROC",
    "cv": "CV",
    "deg": "DEG",
    "log2fc": "log2 fold change",
    "brier": "Brier",
    "ovr": "one v. rest",
    "topk": "top k",
}


def spelled(name: str) -> str:
    """A name of the tables as words: `macro_f1` -> `macro F1`."""
    return " ".join(_SPELLED.get(word, word) for word in name.split("_"))


def capitalised(label: str) -> str:
    """A label at the start of a line; the rest of it is left alone."""
    return label[:1].upper() + label[1:]
