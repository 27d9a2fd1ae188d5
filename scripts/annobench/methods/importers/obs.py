"""Reads columns of the obs of an h5ad file; presets name the columns that popV, CellTypist and scANVI write."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from annobench.cells.obs_columns import obs_names, read_obs
from annobench.core.errors import ConfigError, DataError
from annobench.core.tables import Wanted
from annobench.methods.shared.imports import ImportedPredictions, score_pairs

FILES = ("{path}",)


class _Preset(NamedTuple):
    """Columns of the label, of which the first that is there is read, and of the confidence, where it is there."""

    labels: tuple[str, ...]
    confidence: str | None


_PRESETS = {
    "popv": _Preset(("popv_prediction",), "popv_prediction_score"),
    "celltypist": _Preset(("majority_voting", "predicted_labels"), "conf_score"),
    "scanvi": _Preset(("C_scANVI", "predictions"), None),
}


def read(
    path: Path,
    *,
    preset: Literal["popv", "celltypist", "scanvi"] | None = None,
    cell_id: str = "index",
    label: str | None = None,
    ranks: Sequence[str] = (),
    scores: Sequence[str] = (),
    confidence: str | None = None,
) -> ImportedPredictions:
    """Read predictions from obs; the matrix is not touched.

    Parameters
    ----------
    path
        The h5ad file.
    preset
        What wrote the columns: `popv`, `celltypist` or `scanvi`. What the other options name goes first.
    cell_id
        Column of the cell ids; `index` for the row names.
    label
        Column of the first label. With another label than that of the preset, the confidence of the preset is not read.
    ranks
        Columns of further labels, best first.
    scores
        Columns of the scores: of the first label, then of each of `ranks`.
    confidence
        Column of the confidence.
    """
    if label is None:
        if preset is None:
            raise ConfigError("options: name the column of the `label`, or a `preset`")
        known = obs_names(path)
        chosen = _PRESETS[preset]
        label = next((name for name in chosen.labels if name in known), None)
        if label is None:
            raise DataError(
                f"{path.name}: obs has no column {' or '.join(map(repr, chosen.labels))}, which `preset: {preset}` "
                "reads; name the column in options.label"
            )
        if confidence is None and chosen.confidence in known:
            confidence = chosen.confidence
    labels = [label, *ranks]
    pairs = score_pairs(labels, scores, confidence)
    wanted = Wanted(ids=cell_id, texts=labels, numbers=[number for number, _ in pairs], complete=pairs)
    return ImportedPredictions.of(read_obs(path, wanted), labels, scores, confidence)
