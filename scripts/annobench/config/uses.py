"""Fits that read other fits: `uses` of a method file, checked, and the methods that are fitted for it.

Imported while the Snakefile is parsed: the standard library and light modules only.
"""

from collections.abc import Callable, Mapping

from annobench.config.parameters import Origin
from annobench.config.plugins import method_facts
from annobench.config.schema import Document
from annobench.core.errors import ConfigError, nearest

Uses = dict[str, list[str]]  # the name by which a method knows the fits -> methods

EMBEDDED = ("train", "test")  # roles whose cells a method that reads an embedding needs


def resolved_uses(implementation: str, given: Mapping[str, str | list[str]], origin: Origin) -> Uses:
    """`uses` of a method file with lists throughout, in the order of the implementation.

    Raises ConfigError for a name that the implementation does not know or that is missing, and for several methods
    where it reads one.
    """
    known = method_facts(implementation).uses
    for role in given:
        if role not in known:
            what = f"the implementation '{implementation}' reads " + (", ".join(known) or "no other fits")
            raise ConfigError(f"{origin('uses', role)}: uses: unknown key '{role}'{nearest(role, known)}; {what}")
    found: Uses = {}
    for role, output in known.items():
        if role not in given:
            read = used_outputs(implementation)[role]
            raise ConfigError(f"{origin('uses')}: uses: key '{role}' is missing; name the method whose {read} is read")
        value = given[role]
        if isinstance(value, list) and not isinstance(output, tuple):
            raise ConfigError(f"{origin('uses', role)}: uses.{role}: expected one method, found a list of {len(value)}")
        found[role] = value if isinstance(value, list) else [value]
    return found


def used_outputs(implementation: str) -> dict[str, str]:
    """The output that an implementation reads of the fits that it knows by each name."""
    known = method_facts(implementation).uses
    return {role: output if isinstance(output, str) else output[0] for role, output in known.items()}


def add_used(methods: dict[str, Document], keep: Document, load: Callable[[str, str], Document], source: str) -> None:
    """Add the methods whose fits others read, and whose fits these read, to the methods of a study.

    Parameters
    ----------
    methods
        Methods by name; grows.
    keep
        Which optional files of a fit the study keeps.
    load
        Loads a method by its name; the second argument is the place that errors name.
    source
        The file of the study, for messages.

    Raises
    ------
    ConfigError
        A method does not exist, cannot give what is read, reads its own fit, or the study does not keep what is read.
    """

    def visit(name: str, path: tuple[str, ...]) -> None:
        outputs = used_outputs(methods[name]["implementation"])
        for role, others in methods[name]["uses"].items():
            where = f"config/methods/{name}.yaml: uses.{role}"
            for other in others:
                if other in path:
                    ring = " -> ".join([*path[path.index(other) :], other])
                    raise ConfigError(f"{where}: {ring} is a ring; a fit cannot read itself")
                if other not in methods:
                    methods[other] = load(other, where)
                _check(methods, (name, other), outputs[role], where)
                _check_kept(keep, name, other, outputs[role], source)
                visit(other, (*path, other))

    for name in dict.fromkeys(method["fitted"] for method in list(methods.values())):
        visit(name, (name,))


def _check(methods: Mapping[str, Document], pair: tuple[str, str], output: str, where: str) -> None:
    """Raise ConfigError where the first method of a pair cannot read the output of the second."""
    method, other = (methods[name] for name in pair)
    if other["kind"] == "decoding":
        raise ConfigError(
            f"{where}: '{pair[1]}' is a decoding of a fit; name the method that is fitted, '{other['fitted']}'"
        )
    if not other["abilities"].get(output):
        able = [name for name, one in methods.items() if one["abilities"].get(output) and one["kind"] != "decoding"]
        instead = f"; '{able[0]}' does" if able else ""
        raise ConfigError(f"{where}: '{pair[1]}' gives no {output} (abilities.{output}){instead}")
    if other["needs"]["truth"] and method["kind"] != "control":
        raise ConfigError(
            f"{where}: '{pair[1]}' sees the labels of the test cells (needs.truth), which only a control may use"
        )


def _check_kept(keep: Document, name: str, other: str, output: str, source: str) -> None:
    """Raise ConfigError where a study does not keep what one of its methods reads of another."""
    why = f"'{name}' reads the {output} of '{other}'"
    if output == "embedding" and not keep["embedding"]:
        raise ConfigError(f"{source}: keep.embedding: false, but {why}; set it to true")
    if output == "probabilities" and keep["probabilities"] is not True:
        raise ConfigError(f"{source}: keep.probabilities: {keep['probabilities']}, but {why}; set it to true")
    for role in EMBEDDED if output == "embedding" else ():
        if role not in keep["embedding_roles"]:
            raise ConfigError(f"{source}: keep.embedding_roles: has no {role} cells, but {why}; add `{role}`")


def learns(name: str, methods: Mapping[str, Document]) -> str | None:
    """The method that learns from training cells: the one named, or one whose fit it reads; None where none does."""
    if methods[name]["abilities"]["trains"]:
        return methods[name]["fitted"] if methods[name]["kind"] == "decoding" else name
    used = (other for others in methods[name]["uses"].values() for other in others)
    return next((learner for other in used if (learner := learns(other, methods))), None)
