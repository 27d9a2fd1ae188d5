"""`annobench list`: what the repository has of a kind, a line each."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from annobench.config.entities import available, load_dataset_with_parts, load_method, load_named, parts_of
from annobench.config.figures import figure_facts, figures
from annobench.config.metrics import MetricFacts, metric_facts
from annobench.config.schema import Document, load_yaml
from annobench.config.tables import table_facts, tables
from annobench.core.errors import AnnobenchError
from annobench.core.files import expanded
from annobench.core.paths import ROOT
from annobench.workflow.own.lines import columns, first_sentence

_PIN = re.compile(r"^\s*- ([A-Za-z0-9_.-]+) ?==?[0-9]", re.MULTILINE)
_PYPI = {"pytorch": ("torch",), "py-xgboost": ("xgboost", "xgboost-cpu"), "matplotlib-base": ("matplotlib",)}
HERE = "runs here"


class Line(NamedTuple):
    """What is said of one thing: its name, its name for people, a remark, and what it is in a sentence."""

    name: str
    label: str
    remark: str
    text: str


def listed(kind: str, width: int | None = None, *, root: Path = ROOT) -> str:
    """The lines of a kind, sorted by name, and how many there are.

    A file that cannot be read keeps its line, which says so.

    Parameters
    ----------
    kind
        One of `KINDS`.
    width
        Characters of a line of the terminal; None to cut nothing off.
    root
        The repository.
    """
    lines = sorted(KINDS[kind](root))
    what = kind if len(lines) != 1 else kind.removesuffix("s")
    return "\n".join(filter(None, [columns(lines, width), f"{len(lines)} {what}"]))


def _read(name: str, read: Callable[[], Line]) -> Line:
    """A line, also of a file that is wrong."""
    try:
        return read()
    except AnnobenchError as error:
        return Line(name, "-", "cannot be read", str(error))


class Lack(NamedTuple):
    """What a thing lacks on this machine, in a few words, and in full."""

    short: str
    text: str = ""


def _remarked(line: Line, lack: Lack | None) -> Line:
    """A line that says what is lacking, if anything: in full before what the thing is."""
    if lack is None:
        return line
    return line._replace(remark=lack.short, text=f"[{lack.text}] {line.text}" if lack.text else line.text)


# datasets


def _datasets(root: Path) -> Iterator[Line]:
    for name in available("datasets", root):
        yield _read(name, partial(_dataset, name, root))


def _dataset(name: str, root: Path) -> Line:
    found: dict[str, Document] = {}
    load_dataset_with_parts(name, root, "annobench list", found)
    dataset = found[name]
    parts = [found[one] for one in parts_of(dataset)]
    sources = [one["source"] for one in (dataset, *parts) if "source" in one]
    paths = [str(source["path"]) for source in sources if source["kind"] in ("local", "xenium") and source.get("path")]
    lack = next(filter(None, (_missing(path, root) for path in paths)), None)
    kind = "pair" if "pair" in dataset else "combined" if "combined" in dataset else dataset["source"]["kind"]
    return _remarked(Line(name, dataset["label"], str(kind), first_sentence(dataset["summary"])), lack)


# methods


def _methods(root: Path) -> Iterator[Line]:
    for name in available("methods", root):
        yield _read(name, partial(_method, name, root))


def _method(name: str, root: Path) -> Line:
    method = load_method(name, root, "annobench list")
    remark = "fetches a file" if method["downloads"] else HERE
    return _remarked(Line(name, method["label"], remark, first_sentence(method["summary"])), lack_of(name, root))


def lack_of(name: str, root: Path = ROOT) -> Lack | None:
    """What a method lacks on this machine, as far as is known without running anything; None where it lacks nothing.

    Looked at are packages of its environment, files that it names, its checkpoint, the methods that it reads, and
    whether it needs a GPU.
    """
    method = load_method(name, root, "annobench list")
    environment = method["environment"]
    if packages := _lacking_packages(environment, root):
        group = root / f"requirements-{environment}.txt"
        place = group if group.is_file() else root / "envs" / f"{environment}.yaml"
        return Lack(f"needs {packages[0]}", f"{', '.join(packages)}: {place.relative_to(root)}")
    named = [value for value in method["parameters"].values() if isinstance(value, str)]
    for path in [*method["files"], *(value for value in named if value.startswith(("$", "~", "/")))]:
        if lack := _missing(path, root):
            return lack
    if method["checkpoint"] and (lack := _lack_of_checkpoint(method["checkpoint"], root)):
        return lack
    for other in (one for others in method["uses"].values() for one in others):
        if lack := lack_of(other, root):
            return Lack(lack.short, f"it reads {other}: {lack.text}")
    return Lack("needs a GPU") if method["needs"]["gpu"] else None


def _lacking_packages(environment: str, root: Path) -> list[str]:
    """Packages that envs/<environment>.yaml pins and that are not installed here."""
    pins = _PIN.findall((root / "envs" / f"{environment}.yaml").read_text(encoding="utf-8"))
    return [name for name in pins if name != "python" and not any(map(_is_installed, _PYPI.get(name, (name,))))]


def _is_installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def _missing(path: str, root: Path) -> Lack | None:
    """That there is no such file; for a path with the name of a dataset in it, that there is no such folder."""
    whole, brace, _ = path.partition("{dataset}")
    there = root / expanded(whole.rpartition("/")[0] if brace else path)
    if there.exists():
        return None
    unset = re.match(r"\$\{?(\w+)", str(expanded(path)))
    return Lack(f"needs {unset[1]}", f"set ${unset[1]}; {path}") if unset else Lack("needs a file", f"no {path}")


# checkpoints


def _checkpoints(root: Path) -> Iterator[Line]:
    for name in available("checkpoints", root):
        yield _read(name, partial(_checkpoint, name, root))


def _checkpoint(name: str, root: Path) -> Line:
    document = load_named("checkpoint", name, root, "annobench list")
    kind = str(document["source"]["kind"])
    line = Line(name, document["label"], {"local": HERE, "url": "fetched"}.get(kind, kind), "")
    return _remarked(line._replace(text=first_sentence(document["summary"])), _lack_of_checkpoint(name, root))


def _lack_of_checkpoint(name: str, root: Path) -> Lack | None:
    """What a checkpoint, or the one that it is made like, lacks here."""
    source = load_named("checkpoint", name, root, "annobench list")["source"]
    if source["kind"] == "random":
        return _lack_of_checkpoint(source["like"], root)
    return _missing(source["path"], root) if source["kind"] == "local" else None


# studies


def _studies(root: Path) -> Iterator[Line]:
    files = {"quickstart": root / "config" / "config.yaml"}
    files |= {name: root / "config" / "studies" / f"{name}.yaml" for name in available("studies", root)}
    for name, file in files.items():
        yield _read(name, partial(_study, name, file))


def _study(name: str, file: Path) -> Line:
    study = load_yaml(file)
    n = len(study.get("evaluations") or ())
    title, question = str(study.get("title", "-")), str(study.get("question", ""))
    return Line(name, title, f"{n} evaluation{'s' * (n != 1)}", first_sentence(question))


# metrics, tables, figures


def _metrics(root: Path) -> Iterator[Line]:
    for facts in metric_facts().values():
        yield Line(facts.name, facts.label, facts.family, _of_metric(facts))


def _of_metric(facts: MetricFacts) -> str:
    """Range, direction and what it is computed for."""

    def number(value: float) -> str:
        return {float("inf"): "∞", -float("inf"): "-∞"}.get(value, f"{value:g}")

    best = "no best value" if facts.best is None else f"best {number(facts.best)}"
    for_what = {"overall": "", "fit": "", "audit": "; in the audit only"}.get(facts.level, f"; per {facts.level}")
    return f"{number(facts.low)} to {number(facts.high)}, {best}{'; can rank' * facts.ranks}{for_what}"


def _tables(root: Path) -> Iterator[Line]:
    for name in tables():
        facts = table_facts(name)
        yield Line(name, f"{name}.csv", f"{len(facts.columns)} columns", first_sentence(facts.meaning))


def _figures(root: Path) -> Iterator[Line]:
    for name in figures():
        facts = figure_facts(name)
        of = ", ".join(facts.regimes) or "all studies"
        yield Line(name, facts.title, of, first_sentence(facts.caption))


KINDS: dict[str, Callable[[Path], Iterator[Line]]] = {
    "datasets": _datasets,
    "methods": _methods,
    "studies": _studies,
    "metrics": _metrics,
    "figures": _figures,
    "tables": _tables,
    "checkpoints": _checkpoints,
}
