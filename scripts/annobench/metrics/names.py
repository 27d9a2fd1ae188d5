"""Names of the headline metrics and regimes, for people."""

METRIC_NAMES = {
    "macro_f1": "macro F1",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "hierarchical_f1_micro": "hierarchical F1",
    "ontology_macro_f1": "ontology-aware macro F1",
}
REGIME_NAMES = {
    "all": "mean",
    "holdout": "held-out cells",
    "kfold": "all labels, k folds",
    "low_label": "few labels",
    "cross_study": "unseen study",
    "pair": "reference to query",
    "release": "release",
}
