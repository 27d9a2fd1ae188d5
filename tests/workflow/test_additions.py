"""What is promised: a new thing is a file added. One of each is added to a clone, and a study runs with all of them."""

from pathlib import Path

import pytest
import yaml

from annobench.core.paths import ROOT
from repo import Repo

pytestmark = pytest.mark.xdist_group("additions")

LIBRARY = "scripts/annobench"
# what is added -> its files: as many as a newcomer has to write, and no other file is touched
ADDED: dict[str, dict[str, str]] = {
    "source kind": {
        f"{LIBRARY}/data/sources/rounded.py": '''\
"""Counts of a simulated study, of which one in ten cells is kept."""

from dataclasses import dataclass
from pathlib import Path

from annobench.core.progress import Report
from annobench.data.spec import Fetched, Given, SourceSpec


@dataclass(frozen=True)
class Source(SourceSpec):
    """`cells` of each of three types."""

    cells: int

    def fetch(self, folder: Path, given: Given, report: Report) -> Fetched:
        """Write the file."""
        import anndata as ad
        import numpy as np
        import pandas as pd

        rng = np.random.default_rng(0)
        labels = np.repeat(["CL:0000236", "CL:0000084", "CL:0000576"], self.cells)
        means = rng.gamma(1.0, 2.0, (3, 200))
        counts = rng.poisson(means[np.arange(len(labels)) // self.cells]).astype(np.float32)
        ids = [f"cell{i}" for i in range(len(labels))]
        obs = pd.DataFrame({"label_id": labels, "donor": rng.choice(list("abcde"), len(labels))}, index=ids)
        var = pd.DataFrame(index=[f"ENSG{i:011d}" for i in range(200)])
        path = folder / "cells.h5ad"
        ad.AnnData(counts, obs=obs, var=var).write_h5ad(path)
        return Fetched(path, [{"step": "rounded"}], None)
''',
        "workflow/schemas/sources/rounded.yaml": """\
title: rounded
type: object
additionalProperties: false
required: [kind, cells]
properties:
  kind: {description: Three types that are told apart easily., const: rounded}
  cells: {description: Cells of each., type: integer}
""",
    },
    "dataset": {
        "config/datasets/three_types.yaml": """\
label: Three types
summary: Made here.
citation: none
licence: none
source: {kind: rounded, cells: 60}
cells: {label: label_id, label_id: label_id, donor: donor, study: =one}
""",
    },
    "method": {
        f"{LIBRARY}/methods/first_class.py": '''\
"""The class that comes first."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.fit.method import Context, Method, load_state, save_state
from annobench.fit.predictions import Predictions

if TYPE_CHECKING:
    from anndata import AnnData


class FirstClass(Method):
    """`place` among the classes."""

    def __init__(self, *, place: int = 0) -> None:
        self.place = place

    def fit(self, train: "AnnData", context: Context) -> None:
        self._classes = context.classes

    def predict(self, query: "AnnData") -> Iterator[Predictions]:
        probabilities = np.zeros((query.n_obs, len(self._classes)))
        probabilities[:, self.place] = 1
        yield Predictions.from_probabilities(query.obs_names, probabilities, self._classes, 1)

    def save(self, folder: Path) -> None:
        save_state(folder, {}, classes=self._classes, place=self.place)

    @classmethod
    def load(cls, folder: Path) -> "FirstClass":
        _, values = load_state(folder)
        method = cls(place=values["place"])
        method._classes = values["classes"]
        return method
''',
        "config/methods/first_class.yaml": """\
label: First class
summary: Always the same.
citation: none
licence: BSD-3-Clause
implementation: first_class
""",
    },
    "method variant": {
        "config/methods/second_class.yaml": """\
extends: first_class
label: Second class
summary: Always the same, but another one.
parameters: {place: 1}
""",
    },
    "loss": {
        f"{LIBRARY}/methods/torch/losses/twice.py": '''\
"""Twice the cross-entropy."""

from torch import Tensor, nn

LABEL = "2 x CE"
HIERARCHICAL = False


class Twice(nn.CrossEntropyLoss):
    """Cross-entropy, doubled."""

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Mean over the batch."""
        return 2 * super().forward(logits, target)


def build(reachability: Tensor, weight: Tensor | None) -> nn.Module:
    """See the package."""
    return Twice(weight=weight)
''',
        "config/methods/linear_twice.yaml": """\
extends: linear_ce
label: Linear, twice the loss
summary: As linear_ce.
parameters: {loss: twice, recipe: {epochs: 3}}
""",
    },
    "regime": {
        f"{LIBRARY}/splits/regimes/odd_even.py": '''\
"""Odd and even: every second cell is tested."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from annobench.config.regimes import Regime

if TYPE_CHECKING:
    from numpy import object_
    from numpy.typing import NDArray

    from annobench.core.parquet import Categorical


@dataclass(frozen=True, kw_only=True)
class OddEven(Regime):
    """Even cells train, odd cells are tested, every eighth one selects."""

    LABEL = "odd and even cells"

    def assign(self, obs: "Mapping[str, Categorical]", seed: int) -> "NDArray[object_]":
        """By position."""
        import numpy as np

        place = np.arange(len(obs["label_id"]))
        return np.where(place % 2 == 1, "test", np.where(place % 8 == 0, "val", "train")).astype(object)
''',
        "workflow/schemas/regimes/odd_even.yaml": """\
title: odd_even
type: object
additionalProperties: false
required: [dataset, regime]
properties:
  dataset: {description: Name of a file in config/datasets., $ref: "#/$defs/name"}
  regime: {description: Every second cell is tested., const: odd_even}
  name: {$ref: "#/$defs/split_name"}
  balance: {$ref: "#/$defs/balance"}
  genes: {$ref: "#/$defs/genes"}
  rollup: {$ref: "#/$defs/rollup_name"}
  columns: {$ref: "#/$defs/columns"}
  metric_families: {$ref: "#/$defs/metric_families"}
  seeds: {$ref: "#/$defs/split_seeds"}
  methods: {$ref: "#/$defs/split_methods"}
  decodings: {$ref: "#/$defs/split_decodings"}
""",
    },
    "metric": {
        f"{LIBRARY}/score/metrics/misses.py": '''\
"""Misses: cells that are not predicted as their label."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from annobench.score.evidence import Evidence
from annobench.score.metric import Family, Metric, Row

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from annobench.score.counts import Counts


def _misses(counts: "Counts") -> "NDArray[np.float64]":
    return np.asarray(1 - counts.hits.sum(axis=-1) / counts.n)


METRICS = [
    Metric(
        name="miss_rate", label="share missed", meaning="share of cells whose label is not predicted",
        low=0, high=1, best=0, from_counts=_misses,
    ),
]


def compute(evidence: Evidence) -> Iterator[Row]:
    """The share."""
    yield Row("misses", "miss_rate", "-", "overall", "all", float(_misses(evidence.scored.counts)), evidence.scored.n)


FAMILY = Family("misses", tuple(METRICS), needs=("predictions",), compute=compute)
''',
    },
    "table": {
        f"{LIBRARY}/tables/sizes.py": '''\
"""How many fits every method has."""

import pandas as pd

from annobench.tables.shared.context import TableContext

COLUMNS = {"sizes": ("method", "fits")}
MEANINGS = {"fits": "Fits that ended well."}


def sizes(context: TableContext) -> pd.DataFrame:
    """One row per method."""
    methods = [fit.method for fit in context.fits.ok]
    names = sorted(set(methods))
    return pd.DataFrame({"method": names, "fits": [methods.count(name) for name in names]})
''',
    },
    "figure": {
        f"{LIBRARY}/figures/sizes.py": '''\
"""Fits

Number of fits of every method.
"""

from matplotlib.figure import Figure

from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.style import Tables, new_figure

TABLES = ("sizes",)
REGIMES = ()


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """Bars."""
    figure = new_figure(4, 2)
    figure.subplots().barh(tables["sizes"]["method"], tables["sizes"]["fits"])
    return figure
''',
    },
}
FILES = {
    "dataset": 1,
    "method": 2,
    "method variant": 1,
    "loss": 2,
    "regime": 2,
    "source kind": 2,
    "metric": 1,
    "table": 1,
    "figure": 1,
}


def test_as_few_files_as_promised() -> None:
    assert {kind: len(files) for kind, files in ADDED.items()} == FILES


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A clone with one more of everything, in which a study with all of them has been run."""
    repo = Repo(tmp_path_factory.mktemp("additions"))
    for files in ADDED.values():
        for name, text in files.items():
            path = repo.folder / name
            assert not path.exists()
            path.write_text(text)
    repo.study(
        "added",
        methods=["nearest_centroid", "first_class", "second_class", "linear_twice"],
        controls=["oracle", "majority", "random_stratified"],
        evaluations=[{"dataset": "three_types", "regime": "odd_even"}],
        scoring={"primary": "miss_rate"},
        figures=["ranking", "sizes"],
    )
    repo.run("added")
    return repo


def test_no_file_is_changed(grown: Repo) -> None:
    added = {name for files in ADDED.values() for name in files} | {
        f"config/studies/{study}.yaml" for study in ("tiny", "added")
    }
    found = set()
    for folder in ("config", "scripts", "workflow"):
        for path in (grown.folder / folder).rglob("*"):
            name = str(path.relative_to(grown.folder))
            if path.is_file() and "__pycache__" not in name and ".egg-info" not in name:
                original = ROOT / name
                if not original.is_file() or original.read_bytes() != path.read_bytes():
                    found.add(name)
    assert found == added


def test_everything_that_was_added_takes_part(grown: Repo) -> None:
    ranking = {row["method"]: row for row in grown.table("ranking", "added") if row["dataset"] == "three_types"}
    assert set(ranking) >= {"nearest_centroid", "first_class", "second_class", "linear_twice", "oracle"}
    assert {row["regime"] for row in ranking.values()} == {"odd_even"}
    scores = {method: float(row["score"]) for method, row in ranking.items()}
    assert scores["oracle"] == 0
    assert scores["nearest_centroid"] < 0.05  # the types are told apart easily
    assert scores["linear_twice"] < 0.5
    assert scores["first_class"] == pytest.approx(2 / 3, abs=0.05)
    assert int(ranking["nearest_centroid"]["rank"]) < int(ranking["first_class"]["rank"])  # fewer misses rank first
    sizes = {row["method"]: int(row["fits"]) for row in grown.table("sizes", "added")}
    assert sizes["second_class"] == 1
    assert (grown.folder / "results" / "figures" / "added" / "sizes.png").stat().st_size > 1000
    assert "miss_rate" in {row["metric"] for row in grown.table("audit", "added")}
    page = (grown.folder / "results" / "report" / "added" / "index.html").read_text()
    assert "odd and even cells" in page
    assert "share missed" in page


def test_the_second_run_has_nothing_to_do(grown: Repo) -> None:
    assert grown.jobs("added") == {}


def test_the_manual_describes_what_was_added(grown: Repo) -> None:
    from helpers import annobench

    done = annobench(grown.folder, "manual")
    assert done.returncode == 0, done.stderr
    docs = {path.name: path.read_text() for path in Path(grown.folder / "docs" / "config").glob("*.md")}
    assert "odd_even" in docs["regimes.md"]
    assert "rounded" in docs["dataset.md"]
    assert "[`sizes`]" in (grown.folder / "results" / "README.md").read_text()
    assert yaml.safe_load((grown.folder / "config" / "methods" / "second_class.yaml").read_text())["extends"]
