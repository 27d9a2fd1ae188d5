"""The Cell Ontology by which the corpus rules judge types: the study's, or one of its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annobench.data.census.filters import local_file
from annobench.data.census.release import Report
from annobench.data.download.http import verified_file
from annobench.data.ontology import from_json, from_obo, from_wheel
from annobench.ontology import Ontology


def corpus_ontology(settings: Mapping[str, Any] | None, of_study: str | Path | None, report: Report) -> Ontology:
    """What `source.corpus.ontology` names: a file or download in OBO, OWL or JSON, else a release of the wheel.

    Without settings the study's release is taken, a file that `Ontology.save` wrote. Raises DataError or DownloadError.
    """
    if settings is None:
        assert of_study is not None  # the rule asks for it wherever nothing else is named
        return Ontology.load(of_study)
    if settings.get("urls"):
        path, _ = verified_file(settings, report)
    elif settings.get("path"):
        path = local_file(settings["path"])
    else:
        return from_wheel(settings["release"])
    in_json = ".json" in path.suffixes
    return from_json(path, settings["release"]) if in_json else from_obo(path, settings["release"])
