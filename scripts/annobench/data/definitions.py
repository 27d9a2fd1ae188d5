"""Definitions of the terms of a Cell Ontology release, for people who choose among them; nothing else uses them."""

import warnings
from pathlib import Path

from annobench.core.errors import DataError
from annobench.core.files import expanded
from annobench.data.ontology import wheel_releases
from annobench.data.spec import OntologySpec


def read_definitions(spec: OntologySpec) -> dict[str, str]:
    """Id -> definition, for the terms of a release that have one.

    Parameters
    ----------
    spec
        The `ontology` settings of a study, whose release can be read (`annobench.data.ontology.read_release`).
    """
    if spec.source != "obo":
        from cellxgene_ontology_guide.supported_versions import load_ontology_file

        raw = load_ontology_file(wheel_releases()[spec.release])
        return {key: entry["description"] for key, entry in raw.items() if entry.get("description")}
    if spec.urls and spec.file:
        from annobench.data.download.http import verified_file

        return _from_obo(verified_file(spec.urls, spec.file, spec.sha256)[0])
    return _from_obo(expanded(str(spec.path)))


def _from_obo(path: Path) -> dict[str, str]:
    import pronto

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pronto warns of every syntax oddity in the release
        try:
            terms = list(pronto.Ontology(str(path)).terms())
        except Exception as error:  # pronto raises whatever its parsers raise
            raise DataError(f"{path}: not a readable OBO or OWL file: {error}") from error
    return {term.id: str(term.definition) for term in terms if term.id.startswith("CL:") and term.definition}
