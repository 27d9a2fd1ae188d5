"""Reading a Cell Ontology release from the ontology guide (offline), or from an OBO or OWL file."""

import gzip
import json
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TypedDict

from annobench.core.errors import DataError, nearest
from annobench.core.files import expanded
from annobench.data.spec import OntologySpec
from annobench.ontology.graph import Ontology, Term


def wheel_releases() -> dict[str, str]:
    """Release date -> file name, for the releases of the installed cellxgene-ontology-guide."""
    prefix, suffix = "CL-ontology-v", ".json.zst"
    names = (entry.name for entry in (files("cellxgene_ontology_guide") / "data").iterdir())
    return {
        n.removeprefix(prefix).removesuffix(suffix): n
        for n in sorted(names)
        if n.startswith(prefix) and n.endswith(suffix)
    }


def from_wheel(release: str) -> Ontology:
    """A release of cellxgene-ontology-guide; raises DataError, which lists its releases, for any other."""
    from cellxgene_ontology_guide.supported_versions import load_ontology_file

    known = wheel_releases()
    if release not in known:
        raise DataError(
            f"ontology.release: the installed cellxgene-ontology-guide has no Cell Ontology of {release}"
            f"{nearest(release, known)} (or read an OBO file with `source: obo`)"
        )
    return _from_guide(load_ontology_file(known[release]), release)


class _Entry(TypedDict, total=False):
    """A term in the ontology guide; its ancestors come with their distance, or, in a shortened file, without."""

    ancestors: Mapping[str, int] | list[str]
    label: str
    synonyms: list[str]
    deprecated: bool
    replaced_by: str


def _from_guide(raw: Mapping[str, _Entry], release: str) -> Ontology:
    """A release from the entries of the ontology guide."""
    terms = {}
    for key, entry in raw.items():
        above = entry["ancestors"]
        # without distances all ancestors are taken as parents, which does not change the closure
        parents = (ancestor for ancestor in above if not isinstance(above, Mapping) or above[ancestor] == 1)
        terms[key] = Term(
            entry["label"],
            tuple(sorted(parent for parent in parents if parent in raw or parent.startswith("CL:"))),
            tuple(sorted(entry.get("synonyms", []))),
            bool(entry["deprecated"]),
            entry.get("replaced_by"),
        )
    return Ontology(release, terms)


def from_json(path: str | Path, release: str) -> Ontology:
    """A release from a JSON file of the ontology guide (CL-ontology-v<release>.json, also .gz).

    Raises DataError where the file is not one, or its name does not contain the release.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"ontology.path: no file {path}")
    if release not in path.name:
        raise DataError(f"{path}: its name does not contain the release {release}; correct `release` or the file")
    try:
        content = path.read_bytes()
        return _from_guide(json.loads(gzip.decompress(content) if path.suffix == ".gz" else content), release)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: is not a Cell Ontology in the JSON of the ontology guide ({error!r})") from error


def from_obo(path: str | Path, release: str) -> Ontology:
    """A release from an OBO or OWL file (also .gz); raises DataError where the file states another release."""
    import warnings

    import pronto

    path = Path(path)
    if not path.is_file():
        raise DataError(f"ontology.path: no file {path}; download the release's cl-basic.obo and give its path")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pronto warns of every syntax oddity in the release
        try:
            source = pronto.Ontology(str(path))
        except KeyError as error:
            raise DataError(
                f"{path}: names the term {error.args[0]}, which it does not hold; it is a part of a release. Take "
                "cl-basic.obo of the release, which holds all terms"
            ) from error
        except Exception as error:  # pronto raises whatever its parsers raise
            raise DataError(f"{path}: not a readable OBO or OWL file: {error}") from error
    stated = source.metadata.data_version or ""
    if release not in stated:
        raise DataError(
            f"{path}: states release '{stated}', but the study asks for {release}; correct `ontology.release` or the "
            "file"
        )
    terms: dict[str, Term] = {}
    merged: dict[str, str] = {}
    for term in source.terms():
        if term.id.startswith("CL:"):
            merged |= {other: term.id for other in sorted(term.alternate_ids) if other.startswith("CL:")}
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
    # an id that was merged into another stands in the file as an alternative of that one only
    for other, key in merged.items():
        known = terms.get(other, Term(other, obsolete=True))
        if known.obsolete and not known.replaced_by:
            terms[other] = replace(known, replaced_by=key)
    return Ontology(release, terms)


def read_release(spec: OntologySpec) -> Ontology:
    """The release that the `ontology` settings of a study name. Raises DataError or DownloadError."""
    if spec.source != "obo":
        return from_wheel(spec.release)
    if spec.urls and spec.file:
        from annobench.data.download.http import verified_file

        return from_obo(verified_file(spec.urls, spec.file, spec.sha256)[0], spec.release)
    if not spec.path:
        raise DataError(
            "ontology.path: is missing; `source: obo` needs `path`, or `urls` and `file`, of an OBO or OWL file"
        )
    return from_obo(expanded(spec.path), spec.release)
