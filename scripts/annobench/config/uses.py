"""What fits read of others: `uses` and `checkpoint` of a method file, checked, and the methods fitted for it.

Imported while the Snakefile is parsed: the standard library and light modules only.
"""

from collections.abc import Callable, Mapping

from annobench.config.parameters import Origin
from annobench.config.plugins import method_facts
from annobench.config.schema import Document
from annobench.core.errors import ConfigError, nearest

Uses = dict[str, list[str]]  # the name by which a method knows the fits -> methods

EMBEDDED = ("train", "test")  # roles whose cells a method that reads an embedding needs
CHECKPOINTS = "config/checkpoints"


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


def reads_several(implementation: str) -> set[str]:
    """The names by which an implementation reads several fits, and does without those that did not succeed."""
    return {role for role, output in method_facts(implementation).uses.items() if isinstance(output, tuple)}


def check_checkpoint(implementation: str, checkpoint: str | None, origin: Origin) -> None:
    """Raise ConfigError for a method that names no checkpoint although it reads tokens, or the other way round."""
    tokens = method_facts(implementation).needs.tokens
    if tokens and not checkpoint:
        raise ConfigError(
            f"{origin('checkpoint')}: key 'checkpoint' is missing: the implementation '{implementation}' "
            f"reads tokens (needs.tokens); name a file of {CHECKPOINTS}"
        )
    if checkpoint and not tokens:
        raise ConfigError(
            f"{origin('checkpoint')}: checkpoint: the implementation '{implementation}' reads no tokens "
            "(needs.tokens), so it has no use for one; leave it out"
        )


class UsedMethods:
    """The methods of a study with all that they read: fits of other methods, and what these read in turn.

    Parameters
    ----------
    methods
        Methods by name, which grow by those that are only read.
    load
        Adds a method to these by its name; the second argument is the place that errors name.
    keep
        Which optional files of a fit the study keeps (its key `keep`).
    source
        The file of the study, for messages.

    Raises
    ------
    ConfigError
        A method does not exist, cannot give what is read, reads its own fit, or the study does not keep what is read.
    """

    def __init__(
        self,
        methods: dict[str, Document],
        load: Callable[[str, str], None],
        keep: Mapping[str, object],
        source: str,
    ) -> None:
        self._methods, self._load, self._keep, self._source = methods, load, keep, source
        for name in dict.fromkeys(method["fitted"] for method in list(methods.values())):
            if name not in methods:  # the study lists a decoding of it only
                load(name, source)
            self._visit(name, (name,))

    def _visit(self, name: str, path: tuple[str, ...]) -> None:
        method = self._methods[name]
        outputs = used_outputs(method["implementation"])
        for role, others in method["uses"].items():
            where = f"config/methods/{name}.yaml: uses.{role}"
            for other in others:
                if other in path:
                    ring = " -> ".join([*path[path.index(other) :], other])
                    raise ConfigError(f"{where}: {ring} is a ring; a fit cannot read itself")
                if other not in self._methods:
                    self._load(other, where)
                self._check(name, other, outputs[role], where)
                self._check_kept(f"'{name}' reads the {outputs[role]} of '{other}'", outputs[role])
                self._visit(other, (*path, other))

    def _check(self, name: str, other: str, output: str, where: str) -> None:
        """Raise ConfigError where a method cannot read the output of another one."""
        method, read = self._methods[name], self._methods[other]
        if read["kind"] == "decoding":
            raise ConfigError(
                f"{where}: '{other}' is a decoding of a fit; name the method that is fitted, '{read['fitted']}'"
            )
        if not read["abilities"].get(output):
            raise ConfigError(
                f"{where}: '{other}' gives no {output} (abilities.{output}); name a method that gives one"
            )
        if read["needs"]["truth"] and method["kind"] != "control":
            raise ConfigError(
                f"{where}: '{other}' sees the labels of the test cells (needs.truth), which only a control may use"
            )

    def _check_kept(self, why: str, output: str) -> None:
        """Raise ConfigError where the study does not keep an output that is read."""
        keep, source = self._keep, self._source
        if output == "embedding" and not keep["embedding"]:
            raise ConfigError(f"{source}: keep.embedding: false, but {why}; set it to true")
        if output == "probabilities" and keep["probabilities"] is not True:
            raise ConfigError(f"{source}: keep.probabilities: {keep['probabilities']}, but {why}; set it to true")
        roles = keep["embedding_roles"]
        for role in EMBEDDED if output == "embedding" else ():
            if isinstance(roles, list) and role not in roles:
                raise ConfigError(f"{source}: keep.embedding_roles: has no {role} cells, but {why}; add `{role}`")

    def learner(self, name: str) -> str | None:
        """The method that learns from training cells: the one named, or one that it reads; None where none does."""
        method = self._methods[name]
        if method["abilities"]["trains"]:
            return name
        used = (other for others in method["uses"].values() for other in others)
        return next((one for other in used if (one := self.learner(other))), None)
