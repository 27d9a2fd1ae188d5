"""`annobench compare`: what changed between two result folders, or between two methods, with paired intervals."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from annobench.config.metrics import metric_facts
from annobench.config.results import Results
from annobench.config.study import Study
from annobench.core.errors import ConfigError, DataError, nearest
from annobench.core.files import read_json

_COMPARED = (
    "annobench",
    "commit",
    "python",
    "machine",
    "settings",
    "methods",
    "datasets",
    "checkpoints",
    "data",
    "packages",
)
_SHOWN = 40  # differences of the records that are printed
_NOT_TOLD = ("fetched", "source.fetched")  # times of download


def side(text: str, study: Study) -> tuple[Path, str | None]:
    """The result folder and the method of one side.

    Parameters
    ----------
    text
        `FOLDER`, `METHOD`, or `FOLDER:METHOD`. A folder holds results, or is a repository with a folder results/.
    study
        Whose methods are known.

    Raises
    ------
    ConfigError
        Where there is neither such a folder nor such a method.
    """
    if text in study.methods:
        return _results(Path(), text), text
    folder, _, method = text.rpartition(":")
    if folder and Path(folder).is_dir():
        if method not in study.methods:
            raise ConfigError(f"study {study.name} has no method '{method}'{nearest(method, list(study.methods))}")
        return _results(Path(folder), text), method
    if Path(text).is_dir():
        return _results(Path(text), text), None
    hint = nearest(text, list(study.methods))
    raise ConfigError(f"'{text}' is neither a folder of results nor a method of study {study.name}{hint}")


def _results(folder: Path, text: str) -> Path:
    for found in (folder, folder / "results"):
        if (found / "scores").is_dir():
            return found
    raise ConfigError(f"'{text}': {folder.resolve()} holds no results (no folder scores/); run the study there first")


def compare(study: Study, first: str, second: str, out: Path | None = None) -> str:
    """Compare two sides, write the table where wanted, and say what changed.

    Parameters
    ----------
    study
        The study whose fits are compared.
    first, second
        As in `side`.
    out
        CSV file for the table; None for none.
    """
    from annobench.ontology import Ontology
    from annobench.tables.shared.build import write_csv
    from annobench.workflow.sides import COLUMNS, Side, compared
    from annobench.workflow.tables import TableRules
    from annobench.workflow.targets import Targets

    (root_a, method_a), (root_b, method_b) = side(first, study), side(second, study)
    if root_a == root_b and (method_a or method_b) == (method_b or method_a):
        raise ConfigError(f"'{first}' and '{second}' are the same")
    of_a, of_b = Results(root_a), Results(root_b)
    spec = TableRules(study).spec()
    ontology = Path(Targets(study, of_b).ontology)
    if not ontology.is_file():
        raise DataError(f"{ontology} is missing: study {study.name} was not run in {root_b}")
    table = compared(Side(of_a, spec, method_a), Side(of_b, spec, method_b), Ontology.load(ontology))
    if out:
        write_csv(out, table, list(COLUMNS))
    lines = [f"A: {first}", f"B: {second}", ""]
    if root_a != root_b:
        lines += [*_record_lines(of_a, of_b, study.name), ""]
    lines += _table_lines(table.to_dict("records"), study)
    return "\n".join(lines)


def _record_lines(a: Results, b: Results, study: str) -> list[str]:
    """What the provenance records of two runs differ in."""
    paths = [Path(one.provenance(study)) for one in (a, b)]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        return [f"Configurations are not compared: {' and '.join(missing)} missing."]
    one, other = (read_json(path) for path in paths)
    found = [line for key in _COMPARED for line in _differences(one.get(key), other.get(key), key)]
    if not found:
        return ["Same code, configuration, data, packages and machine."]
    more = [f"  and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return ["What differs (A -> B):", *(f"  {line}" for line in found[:_SHOWN]), *more]


def _differences(a: object, b: object, name: str) -> Iterator[str]:
    """Where two documents differ: `methods.knn.parameters.k: 15 -> 10`."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in dict.fromkeys([*a, *b]):
            if key not in _NOT_TOLD:
                yield from _differences(a.get(key), b.get(key), f"{name}.{key}")
    elif a != b:
        yield f"{name}: {_short(a)} -> {_short(b)}"


def _short(value: object) -> str:
    text = "nothing" if value is None else f"{value}"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _table_lines(rows: "list[dict[str, object]]", study: Study) -> Iterator[str]:
    """The comparison for the terminal, evaluation by evaluation."""
    from annobench.workflow.summary import place_label

    level = float(study.settings["statistics"]["confidence"])
    width = max(len(_label(row, study)) for row in rows)
    places = dict.fromkeys((str(row["dataset"]), str(row["evaluation"])) for row in rows)
    for place in places:
        mine = [row for row in rows if (row["dataset"], row["evaluation"]) == place]
        yield f"{place_label(study, *place)}: {metric_facts()[str(mine[0]['metric'])].label}"
        head = f"  {'method':<{width}}{'A':>7}{'B':>7}{'B - A':>8}  {f'{level:.0%} interval':<18}"
        yield f"{head}{'p (Holm)':>9}{'labels':>9}{'fits':>6}"
        for row in mine:
            yield _line(row, study, width)
            for key, text in (("n_other_cells", "test other cells"), ("n_missing", "are on one side only")):
                if row[key]:
                    yield f"      {row[key]} fits {text}: not compared"
        yield ""
    yield "`labels`: share of test cells that got another label. Intervals and p-values are of paired differences."


def _label(row: "dict[str, object]", study: Study) -> str:
    names = [str(row[key]) for key in ("method_a", "method_b")]
    labels = [str(study.methods[name]["label"]) if name in study.methods else name for name in names]
    return labels[0] if labels[0] == labels[1] else f"{labels[0]} -> {labels[1]}"


def _line(row: "dict[str, object]", study: Study, width: int) -> str:
    label = _label(row, study)
    if not row["n_fits"]:
        return f"  {label:<{width}}  nothing in common"
    a, b, difference = (_number(row, key, f"{sign}.3f") for key, sign in (("a", ""), ("b", ""), ("difference", "+")))
    interval = " to ".join(text for key in ("low", "high") if (text := _number(row, key, "+.3f")))
    p_value, changed = _number(row, "p_holm", ".4f"), _number(row, "changed_labels", ".2%")
    return f"  {label:<{width}}{a:>7}{b:>7}{difference:>8}  {interval:<18}{p_value:>9}{changed:>9}{row['n_fits']:>6}"


def _number(row: "dict[str, object]", key: str, form: str) -> str:
    """A number as text; empty where there is none."""
    value = float(str(row[key]))
    return "" if value != value else format(value, form)
