"""How far names alone go: `Ontology.find` against the curated tables, and against the names of the release itself.

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

COLUMNS = ["labels", "same id", "related id", "other id", "nothing found", "rightly nothing"]


def verdict(ontology: Ontology, original: str, curated: str) -> str:
    """What the mapper does with one label: a column of the table."""
    found = ontology.find(original)
    if found is None:
        return "rightly nothing" if curated == UNKNOWN else "nothing found"
    if found == curated:
        return "same id"
    related = found in ontology.ancestors(curated) or curated in ontology.ancestors(found)
    return "related id" if related else "other id"


def names_of_the_release(ontology: Ontology) -> None:
    """Print whether live names map to themselves, and obsolete ones to what replaced them."""
    live = {key: term for key, term in ontology.terms.items() if not term.obsolete}
    own = sum(ontology.find(term.label) == key for key, term in live.items())
    print(f"\nlive names of release {ontology.release} that map to themselves: {own} of {len(live)}")
    counts: Counter[str] = Counter()
    for key, term in ontology.terms.items():
        if term.obsolete and term.label and (successor := ontology.resolve(key)):
            found = ontology.find(term.label.removeprefix("obsolete "))
            taken = found is not None and found in ontology and found != successor
            counts["followed" if found == successor else "name now another's" if taken else "lost"] += 1
    parts = ", ".join(f"{kind} {number}" for kind, number in sorted(counts.items()))
    print(f"obsolete terms with a name and a replacement: {counts.total()} ({parts})")


def main() -> None:
    """Print the tables, and every name that is mapped to an id that is not the curated one."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    study = validate(load_yaml(ROOT / "config" / "config.yaml"), "config", "config.yaml")
    ontology = read_release(OntologySpec.from_params(study["ontology"]))  # the release that is the default
    total: Counter[str] = Counter()
    different = []
    print(f"| table | {' | '.join(COLUMNS)} |\n| --- |{' --- |' * len(COLUMNS)}")
    for file in sorted((ROOT / "config" / "labels").glob("*.tsv")):
        counts: Counter[str] = Counter()
        for original, curated in read_table(file, ontology).items():
            said = verdict(ontology, original, curated)
            counts.update([said, "labels"])
            if said in ("related id", "other id"):
                found = ontology.label(ontology.find(original) or "")
                different.append(f"{said:<10}  {file.stem}: {original} -> {found}; curated: {ontology.label(curated)}")
        print(f"| {file.stem} | {' | '.join(str(counts[column]) for column in COLUMNS)} |")
        total += counts
    print(f"| all | {' | '.join(str(total[column]) for column in COLUMNS)} |\n")
    print("\n".join(sorted(different)))
    names_of_the_release(ontology)


if __name__ == "__main__":
    main()
