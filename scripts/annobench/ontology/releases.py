"""Reading a Cell Ontology release: from the wheel that carries several (offline), or from an OBO or OWL file."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from annobench.errors import DataError, nearest
from annobench.files import expanded
from annobench.ontology.graph import Ontology, Term


def wheel_releases() -> dict[str, str]:
    """Release date -> file name, of the releases that the installed cellxgene-ontology-guide carries."""
    prefix, suffix = "CL-ontology-v", ".json.zst"
    names = (entry.name for entry in (files("cellxgene_ontology_guide") / "data").iterdir())
    return {
        n.removeprefix(prefix).removesuffix(suffix): n
        for n in sorted(names)
        if n.startswith(prefix) and n.endswith(suffix)
    }


def from_wheel(release: str) -> Ontology:
    """A release out of cellxgene-ontology-guide; raises DataError that lists the releases it has."""
    from cellxgene_ontology_guide.supported_versions import load_ontology_file

    known = wheel_releases()
    if release not in known:
        raise DataError(
            f"ontology.release: the installed cellxgene-ontology-guide has no Cell Ontology of {release}"
            f"{nearest(release, known)} (or read an OBO file with `source: obo`)"
        )
    raw: dict[str, dict[str, Any]] = load_ontology_file(known[release])
    terms = {}
    for key, entry in raw.items():
        parents = sorted(
            ancestor for ancestor, distance in entry["ancestors"].items() if distance == 1 and ancestor in raw
        )
        terms[key] = Term(
            entry["label"],
            tuple(parents),
            tuple(sorted(entry.get("synonyms", []))),
            bool(entry["deprecated"]),
            entry.get("replaced_by"),
        )
    return Ontology(release, terms)


def from_obo(path: str | Path, release: str) -> Ontology:
    """A release out of an OBO or OWL file (also .gz); raises DataError where the file states another release."""
    import warnings

    import pronto

    path = Path(path)
    if not path.is_file():
        raise DataError(f"ontology.path: no file {path}; download the release's cl-basic.obo and give its path")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pronto warns of every syntax oddity in the release
        try:
            source = pronto.Ontology(str(path))
        except Exception as error:  # pronto raises whatever its parsers raise
            raise DataError(f"{path}: not a readable OBO or OWL file: {error}") from error
    stated = source.metadata.data_version or ""
    if release not in stated:
        raise DataError(
            f"{path}: states release '{stated}', but the study asks for {release}; correct `ontology.release` or the "
            "file"
        )
    terms = {}
    for term in source.terms():
        if term.id.startswith("CL:"):
            replacement = sorted(term.replaced_by.ids) if term.obsolete else []
            terms[term.id] = Term(
                term.name or term.id,
                tuple(
                    sorted(
                        parent.id
                        for parent in term.superclasses(distance=1, with_self=False)
                        if parent.id.startswith("CL:")
                    )
                ),
                tuple(sorted(synonym.description for synonym in term.synonyms if synonym.scope == "EXACT")),
                term.obsolete,
                replacement[0] if replacement else None,
            )
    return Ontology(release, terms)


def read_release(settings: dict[str, Any]) -> Ontology:
    """The release that a study's `ontology` settings name."""
    if settings["source"] == "obo":
        if not settings["path"]:
            raise DataError("ontology.path: is missing; `source: obo` needs the path of an OBO or OWL file")
        return from_obo(expanded(settings["path"]), settings["release"])
    return from_wheel(settings["release"])
