"""Files outside the repository that results were made of and that went away.

A study that begins without such a file goes on without what needs it. Once there are results of it, its absence is more
likely a variable that another shell had than a decision, and must not replace them: it stops the study.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from annobench.config.results import Fit, Results
from annobench.config.study import Study
from annobench.core.errors import ConfigError, DataError
from annobench.core.files import expanded, read_json
from annobench.core.paths import ROOT
from annobench.data.checkpoints.spec import CheckpointSpec
from annobench.data.spec import OntologySpec, OrthologueSpec, PanelSpec, SourceSpec
from annobench.workflow.targets import Targets

_SHOWN = 5
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")


def check_nothing_went_away(study: Study, root: Path = ROOT, results: Results | None = None) -> None:
    """Raise ConfigError where a place that the study names is absent and results of it exist.

    Parameters
    ----------
    study
        The study that is about to run.
    root
        The repository, where relative paths of methods start.
    results
        Names of all files that a run makes.
    """
    results = results or Results()
    lost: dict[str, list[str]] = {}
    for place, made in _made_of_absent(study, root, results):
        lost.setdefault(place, []).append(made)
    if not lost:
        return
    lines = []
    for place, all_made in lost.items():
        more = f" and {len(all_made) - _SHOWN} more" if len(all_made) > _SHOWN else ""
        named = ", ".join(all_made[:_SHOWN]) + more
        lines.append(f"{_absence(place)}, but results were made of it: {named}")
    raise ConfigError(
        "\n".join(lines) + "\nNothing was changed. Bring it back and run the same command again; to go on without it, "
        "remove what is named here."
    )


def _absence(place: str) -> str:
    unset = [name for name in _VARIABLE.findall(place) if f"${name}" in str(expanded(place)).replace("{", "")]
    if unset:
        return f"'{place}' names the variable {unset[0]}, which is not set"
    return f"'{place}' is not there any more"


def _made_of_absent(study: Study, root: Path, results: Results) -> Iterator[tuple[str, str]]:
    """An absent place, and what was made of it."""
    ontology = OntologySpec.from_params(study.settings["ontology"])
    for place in _absent(ontology.stated()):
        if Path(made := Targets(study, results).ontology).is_file():
            yield place, made
    for name, dataset in study.datasets.items():
        if "source" in dataset:
            source = SourceSpec.from_params(dataset["source"])
            for place in _absent(source.stated()):
                if Path(made := results.source(name)["record"]).is_file():
                    yield place, made
    for name, panel in study.panels.items():
        source = PanelSpec.from_params({"source": panel["source"], "columns": panel["columns"]}).source
        for place in _absent(source.stated()):
            if Path(made := results.panel(name)).is_file():
                yield place, made
    for name, table in study.orthologues.items():
        pairs = OrthologueSpec.from_params({"source": table["source"], "columns": table["columns"]})
        for place in _absent(pairs.source.stated()):
            if Path(made := results.orthologues(name)).is_file():
                yield place, made
    for name, checkpoint in study.checkpoints.items():
        for place in _absent(CheckpointSpec.of(checkpoint).source.stated()):
            if _is_ok(Path(results.checkpoint(name)) / "checkpoint.json"):
                yield place, results.checkpoint(name)
    yield from _fits(study, root, results)


def _fits(study: Study, root: Path, results: Results) -> Iterator[tuple[str, str]]:
    named = {method["fitted"]: method["files"] for method in study.methods.values() if method["files"]}
    for split in study.all_splits() if named else ():
        for method, files in named.items():
            places = [file.replace("{dataset}", split.dataset) for file in files]
            for place in _absent(places, root):
                for seed in split.seeds:
                    made = results.fit(Fit(split.dataset, split.name, method, seed))
                    if _is_ok(Path(made) / "run.json"):
                        yield place, made


def _absent(places: list[str], root: Path = Path()) -> list[str]:
    return [place for place in places if not (root / expanded(place)).exists()]


def _is_ok(record: Path) -> bool:
    try:
        return record.is_file() and read_json(record).get("status") == "ok"
    except DataError:
        return False
