"""Scores predictions that were made elsewhere: writes a study into a folder, and runs it there."""

from collections.abc import Sequence
from pathlib import Path

from annobench.core.errors import ConfigError
from annobench.core.files import read_json
from annobench.core.paths import ROOT
from annobench.ontology import Ontology
from annobench.workflow.launch import resolve, run
from annobench.workflow.outside.files import Sample, samples_of, write_study
from annobench.workflow.outside.options import ScoreOptions
from annobench.workflow.outside.predictions import found_predictions


def score(options: ScoreOptions, arguments: Sequence[str] = (), profile: str = "local") -> int:
    """Write the study and run it; returns the exit status, 1 where none of the predictions could be scored.

    Parameters
    ----------
    options
        What is scored, and where it goes.
    arguments
        For Snakemake.
    profile
        As of `run`.

    Raises
    ------
    AnnobenchError
        For what cannot be scored, before anything runs.
    """
    options.check()
    if options.out.resolve() == ROOT:
        raise ConfigError("OUT is the repository; name a folder of its own")
    options.out.mkdir(parents=True, exist_ok=True)
    samples = samples_of(options, found_predictions(options))
    study = write_study(options, samples, _ontology())
    if "cas" in options.compat:
        _write_compat(options, samples)
    status = run(str(study), arguments, profile)
    return status or (0 if _scored_any(study) else 1)


def _ontology() -> Ontology:
    """The release of the default study, from the installed ontology guide."""
    from annobench.config.schema import load_yaml
    from annobench.config.study import load_study
    from annobench.data.ontology import read_release
    from annobench.data.spec import OntologySpec

    settings = load_study(load_yaml(ROOT / "config" / "config.yaml"), ROOT).settings["ontology"]
    return read_release(OntologySpec.from_params(settings))


def _scored_any(study: Path) -> bool:
    """Whether a fit of the predictions succeeded."""
    from annobench.config.results import Results

    found = resolve(str(study))
    results = Results(study.parent / "results")
    records = [Path(results.run(fit)) for fit in found.fits() if found.methods[fit.method]["kind"] == "method"]
    return any(path.is_file() and read_json(path)["status"] == "ok" for path in records)


def _write_compat(options: ScoreOptions, samples: Sequence[Sample]) -> None:
    from annobench.score.compat.cas_tables import CasOptions, write_cas_tables

    found = [(one, sample.cells.file) for sample in samples for one in sample.predictions.values()]
    other = [one.file for one, _ in found if one.run is None]
    if other:
        raise ConfigError(f"COMPAT=cas: '{other[0]}' is not of an annotation run of cellarium-cas, which it needs")
    runs = sorted(((one.run, cells) for one, cells in found if one.run), key=lambda pair: pair[0].folder)
    folder = options.out / "compat_cas"
    compat = CasOptions(options.label, groups=options.groups, zero_division=options.zero_division)
    for note in write_cas_tables(runs, compat, folder):
        print(note)
    print(f"Written: {folder}", flush=True)
