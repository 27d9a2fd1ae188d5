"""How well labels map by name alone: names and synonyms, and `annobench labels`, against the tables made by hand.

Command: `.venv/bin/python benchmarks/label_mapping.py`
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from annobench.config.schema import load_yaml, validate
from annobench.core.paths import ROOT
from annobench.data.ontology import read_release
from annobench.data.spec import OntologySpec
from annobench.ontology import UNKNOWN, Ontology
from annobench.ontology.labels import read_table
from annobench.ontology.matching import COMMON, Matcher, common_names

LABELS = ROOT / "config" / "labels"
TABLES = [file for file in sorted(LABELS.glob("*.tsv")) if file.name != COMMON]
PROPOSED = ["labels", "sure", "same id", "related id", "other id", "to decide", "first candidate", "among five"]
COLUMNS = ["labels", "same id", "related id", "other id", "not mapped", "rightly not mapped"]


def verdict(ontology: Ontology, original: str, curated: str) -> str:
    """How the mapping of one label compares with the curated one: a column of the table."""
    mapped = ontology.find(original)
    if mapped is None:
        return "rightly not mapped" if curated == UNKNOWN else "not mapped"
    if mapped == curated:
        return "same id"
    related = mapped in ontology.ancestors(curated) or curated in ontology.ancestors(mapped)
    return "related id" if related else "other id"


def proposals(ontology: Ontology) -> None:
    """Print what `annobench labels` makes of labels that have a type, with and without the table of common names."""
    print(f"\n| annobench labels | {' | '.join(PROPOSED)} |\n| --- |{' --- |' * len(PROPOSED)}")
    common = common_names(LABELS / COMMON, ontology)
    for name, matcher in (("as it is", Matcher(ontology, common)), ("without common names", Matcher(ontology))):
        counts: Counter[str] = Counter()
        for file in TABLES:
            for original, curated in read_table(file, ontology).items():
                if curated != UNKNOWN:
                    counts.update(["labels", *proposal(matcher, ontology, original, curated)])
        print(f"| {name} | {' | '.join(str(counts[column]) for column in PROPOSED)} |")


def proposal(matcher: Matcher, ontology: Ontology, original: str, curated: str) -> list[str]:
    """The columns in which a label counts."""
    match = matcher.match(original)
    if match.label_id is not None:
        near = ontology.ancestors(curated) | ontology.descendants(curated)
        same = "same id" if match.label_id == curated else "related id" if match.label_id in near else "other id"
        return ["sure", same]
    ids = [one.label_id for one in match.candidates]
    first = ["first candidate"] if ids[:1] == [curated] else []
    return ["to decide", *first, *(["among five"] if curated in ids else [])]


def names_of_the_release(ontology: Ontology) -> None:
    """Print whether current names map to themselves, and obsolete names to their replacements."""
    live = {key: term for key, term in ontology.terms.items() if not term.obsolete}
    own = sum(ontology.find(term.label) == key for key, term in live.items())
    print(f"\nlive names of release {ontology.release} that map to themselves: {own} of {len(live)}")
    counts: Counter[str] = Counter()
    for key, term in ontology.terms.items():
        if term.obsolete and term.label and (successor := ontology.resolve(key)):
            mapped = ontology.find(term.label.removeprefix("obsolete "))
            taken = mapped is not None and mapped in ontology and mapped != successor
            counts["followed" if mapped == successor else "name now another's" if taken else "lost"] += 1
    parts = ", ".join(f"{kind} {number}" for kind, number in sorted(counts.items()))
    print(f"obsolete terms with a name and a replacement: {counts.total()} ({parts})")


def main() -> None:
    """Print the tables, and every label whose id differs from the curated one."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    study = validate(load_yaml(ROOT / "config" / "config.yaml"), "config", "config.yaml")
    ontology = read_release(OntologySpec.from_params(study["ontology"]))  # the release that is the default
    total: Counter[str] = Counter()
    different = []
    print(f"| table | {' | '.join(COLUMNS)} |\n| --- |{' --- |' * len(COLUMNS)}")
    for file in TABLES:
        counts: Counter[str] = Counter()
        for original, curated in read_table(file, ontology).items():
            said = verdict(ontology, original, curated)
            counts.update([said, "labels"])
            if said in ("related id", "other id"):
                mapped = ontology.label(ontology.find(original) or "")
                different.append(f"{said:<10}  {file.stem}: {original} -> {mapped}; curated: {ontology.label(curated)}")
        print(f"| {file.stem} | {' | '.join(str(counts[column]) for column in COLUMNS)} |")
        total += counts
    print(f"| all | {' | '.join(str(total[column]) for column in COLUMNS)} |\n")
    print("\n".join(sorted(different)))
    proposals(ontology)
    names_of_the_release(ontology)


if __name__ == "__main__":
    main()
