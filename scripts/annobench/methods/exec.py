"""External methods: any command line, in any language, that reads files and writes predictions."""

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.core.errors import MethodSkipped, PredictionError
from annobench.core.parquet import NOT_GIVEN, Categorical
from annobench.core.paths import ROOT
from annobench.core.processes import die_with_parent
from annobench.core.scratch import scratch_folder
from annobench.fit.method import Abilities, Context, Method
from annobench.fit.predictions import Predictions
from annobench.fit.predictions_file import read
from annobench.ontology import UNKNOWN

if TYPE_CHECKING:
    from anndata import AnnData


ORIGIN = ("study", "donor", "batch", "assay")  # columns of obs.tsv beside `cell_id`
_BREAKS = re.compile(r"[\t\r\n]+")
SKIPPED = 77  # the status by which test harnesses say "skipped" (GNU Automake)


class External(Method):
    """Runs a command once with train and test data: fitting and predicting are one step.

    Status 77 means that it cannot run here, and makes the fit skipped. The first line of reason.txt in the output
    folder becomes the reason of a skip or a failure.

    Parameters
    ----------
    options
        Written to params.json, which the command reads.
    command
        Command line; see `exec.command` in the schema of a method.
    format
        `h5ad` or `mtx`.
    """

    abilities = Abilities(one_step=True)
    set_by_yaml = (
        "needs.counts",
        "needs.gpu",
        "needs.query",
        "needs.min_genes",
        "abilities.probabilities",
        "abilities.closed_labels",
        "abilities.gpu",
    )

    def __init__(self, *, options: dict[str, object] | None = None, command: str = "", format: str = "h5ad") -> None:
        self.options, self.command, self.format = options or {}, command, format

    def fit(self, train: "AnnData", context: Context) -> None:
        self._train, self._context = train, context

    def predict(self, query: "AnnData") -> Iterator[Predictions]:
        with scratch_folder() as folder:
            output = folder / "output"
            output.mkdir()
            if self.format == "mtx":
                train, test = folder / "train", folder / "test"
                write_mtx(self._train, train, labels=True)
                write_mtx(query, test, labels=False)
            else:
                train, test = folder / "train.h5ad", folder / "test.h5ad"
                self._train.write_h5ad(train)
                query.write_h5ad(test)
            params = folder / "params.json"
            state = str(self._train.uns["annobench"]["matrix"])  # counts, or how they were logged
            params.write_text(
                json.dumps(
                    {"seed": self._context.seed, "threads": self._context.threads, "matrix": state, **self.options}
                )
            )
            places: dict[str, object] = {"train": train, "test": test, "params": params, "output": output, "root": ROOT}
            places["python"] = sys.executable
            places |= {"seed": self._context.seed, "threads": self._context.threads}
            words = [fill_in(word, places) for word in shlex.split(self.command)]
            done = subprocess.run(words, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
            if done.returncode:
                raise self._failure(done.returncode, output)
            written = [
                output / f"predictions.{suffix}"
                for suffix in ("parquet", "csv")
                if (output / f"predictions.{suffix}").is_file()
            ]
            if not written:
                raise PredictionError("the command wrote neither predictions.parquet nor predictions.csv into {output}")
            predictions = read(written[0])
        self._to_live(predictions, written[0].name)
        yield predictions

    def _to_live(self, predictions: Predictions, file: str) -> None:
        """Replace obsolete ids by their successors; says so, and what is no id of the release.

        Raises PredictionError where no label is.
        """
        ontology = self._context.ontology
        coded = Categorical.of(predictions.labels.ravel())
        live = {name: name if name == UNKNOWN or name in ontology.terms else None for name in coded.names}
        live |= {name: ontology.resolve(name) or live[name] for name in coded.names if name != UNKNOWN}
        counts = coded.counts()
        lacking = {name: counts[name] for name, label_id in live.items() if label_id is None and name in counts}
        replaced = {name: label_id for name, label_id in live.items() if label_id not in (name, None)}
        if lacking:
            name = next(iter(lacking))
            found = ontology.find(name)
            hint = f"write {found} for '{name}'" if found else f"'{name}' is none"
            raise PredictionError(
                f"{file}: {len(lacking)} of {len(live)} labels ({', '.join(list(lacking)[:5])}) are not ids of Cell "
                f"Ontology {ontology.release}; ids such as CL:0000084 are expected, not names: {hint}"
            )
        self.notes = {"cells_unknown": int((predictions.labels[:, 0] == UNKNOWN).sum())}
        if replaced:
            self.notes["replaced"] = tuple(f"{old} -> {new}" for old, new in replaced.items())
            predictions.labels = coded.renamed(lambda name: str(live[name])).to_text().reshape(predictions.labels.shape)

    def _failure(self, code: int, output: Path) -> Exception:
        """What a status other than 0 means; the command may say why in reason.txt."""
        file = output / "reason.txt"
        reason = (
            next(iter(file.read_text(encoding="utf-8", errors="replace").splitlines()), "") if file.is_file() else ""
        )
        if code == SKIPPED:
            return MethodSkipped(reason or f"`{self.command}` ended with status {code}: it cannot run here")
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        return RuntimeError(f"`{self.command}` {how}; {reason or 'its output is in the log of this fit'}")


def fill_in(word: str, places: Mapping[str, object]) -> str:
    """Replace `{name}` of the known names; other braces stay, as `awk '{print $1}'` needs."""
    return re.sub(r"\{(\w+)\}", lambda match: str(places.get(match[1], match[0])), word)


def write_mtx(cells: "AnnData", folder: Path, *, labels: bool) -> None:
    """matrix.mtx (genes in rows, as 10x writes it), genes.tsv, cells.tsv, obs.tsv and, for training, labels.tsv."""
    from scipy.io import mmwrite

    folder.mkdir()
    matrix = cells.X.T
    if not (matrix.data % 1).any():
        matrix = matrix.astype("int64")  # counts are read twice as fast without exponents
    mmwrite(folder / "matrix.mtx", matrix, precision=7)
    names = cells.var["feature_name"]
    (folder / "genes.tsv").write_text(
        "".join(f"{key}\t{name}\n" for key, name in zip(cells.var_names, names, strict=True)), encoding="utf-8"
    )
    (folder / "cells.tsv").write_text("".join(f"{cell}\n" for cell in cells.obs_names), encoding="utf-8")
    _write_obs(cells, folder / "obs.tsv")
    if labels:
        (folder / "labels.tsv").write_text("".join(f"{label}\n" for label in cells.obs["label_id"]), encoding="utf-8")


def _write_obs(cells: "AnnData", path: Path) -> None:
    """Where the cells come from: `cell_id` and the columns of `ORIGIN`, `unknown` where the dataset does not say.

    Only these columns are written, so that a label cannot slip in. A tab or a line break in a value becomes a space.
    """
    columns = [cells.obs_names, *(cells.obs[n].astype(str) if n in cells.obs else None for n in ORIGIN)]
    texts = [[NOT_GIVEN] * cells.n_obs if c is None else [_BREAKS.sub(" ", str(v)) for v in c] for c in columns]
    rows = ["\t".join(("cell_id", *ORIGIN)), *map("\t".join, zip(*texts, strict=True))]
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
