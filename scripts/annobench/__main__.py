"""Command line: `annobench COMMAND`, or `python -m annobench COMMAND`.

A command is a function that takes the parsed arguments and returns an exit status. Modules are imported where they are
used, so that a command loads only what it needs.
"""

import argparse
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.core.errors import AnnobenchError
from annobench.core.paths import LIBRARY

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

Arguments = argparse.Namespace


def main(arguments: list[str] | None = None) -> int:
    """Run one command, by default that of the command line of `annobench`; returns the exit status."""
    if arguments is None:
        _run_own_checkout()
    parser = argparse.ArgumentParser(
        prog="annobench",
        description="Benchmarks of cell-type annotation.",
        epilog="`annobench COMMAND --help` has the options of a command.",
        formatter_class=_OneLineEach,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    adders = (
        _add_list,
        _add_labels,
        _add_model,
        _add_runs,
        _add_compare,
        _add_score,
        _add_annotate,
        _add_convert,
        _add_templates,
        _add_checks,
        _add_census_release,
    )
    for add in adders:
        add(commands)
    given = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):  # labels may hold characters that the encoding of a C locale lacks
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    if given.command is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        status: int = given.do(given)
        sys.stdout.flush()
    except AnnobenchError as error:
        print(f"annobench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("annobench: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever reads the output has enough, as `head` does; nothing is left to be flushed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


class _OneLineEach(argparse.HelpFormatter):
    """Leaves the room that the longest command takes, so that every command stands in a line."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=20)
        self._action_max_length = 18  # argparse forgets that commands are indented


def _run_own_checkout() -> None:
    """In a checkout that is not the installed one, run its own code: an environment that several share has one command.

    `python -m annobench` runs the code that it finds.
    """
    here = next((folder for folder in (Path.cwd(), *Path.cwd().parents) if _is_checkout(folder)), None)
    if here is not None and (here / "scripts" / "annobench").resolve() != LIBRARY:
        path = os.pathsep.join(filter(None, [str(here / "scripts"), os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-m", "annobench", *sys.argv[1:]]
        os.execve(sys.executable, command, os.environ | {"PYTHONPATH": path})


def _is_checkout(folder: Path) -> bool:
    return (folder / "Snakefile").is_file() and (folder / "scripts" / "annobench" / "__main__.py").is_file()


def _command(commands: "Commands", name: str, do: Callable[[Arguments], int], text: str) -> argparse.ArgumentParser:
    """Add a command: the function behind it, and what it does in one line."""
    parser = commands.add_parser(name, help=text, description=f"{text[:1].upper()}{text[1:]}.")
    parser.set_defaults(do=do)
    return parser


# what there is


def _add_list(commands: "Commands") -> None:
    parser = _command(commands, "list", _list, "list what there is of a kind, a line each")
    kinds = ("datasets", "methods", "studies", "metrics", "figures", "tables", "checkpoints")
    parser.add_argument("kind", choices=kinds, metavar="KIND", help=", ".join(kinds))


def _list(given: Arguments) -> int:
    from annobench.workflow.own.lines import terminal_width
    from annobench.workflow.own.listing import listed

    print(listed(given.kind, terminal_width()))
    return 0


# own files


def _add_labels(commands: "Commands") -> None:
    parser = _command(commands, "labels", _labels, "find the Cell Ontology ids of the labels of a file")
    parser.add_argument("file", help="cells: h5ad, or any other format that datasets read")
    parser.add_argument("column", help="column of obs with the labels")
    parser.add_argument("--out", metavar="NAME", help="write a label table: a name in config/labels, or a .tsv file")
    parser.add_argument("--tissue", help="where the cells come from; default: what the column `tissue` says")
    parser.add_argument("--force", action="store_true", help="overwrite it")


def _labels(given: Arguments) -> int:
    from annobench.workflow.own.labels import propose
    from annobench.workflow.own.lines import terminal_width

    options = {"tissue": given.tissue, "force": given.force, "width": terminal_width()}
    print(propose(given.file, given.column, given.out, **options))
    return 0


def _add_model(commands: "Commands") -> None:
    parser = _command(commands, "model", _model, "print the classes and genes of a model, and how to use it")
    parser.add_argument("file", help="a CellTypist model (.pkl), the folder of a fit, or that of a checkpoint")
    parser.add_argument("--out", metavar="NAME", help="of CellTypist: write a label table of its classes")
    parser.add_argument("--force", action="store_true", help="overwrite it")


def _model(given: Arguments) -> int:
    from annobench.workflow.own.lines import terminal_width
    from annobench.workflow.own.model import describe

    print(describe(given.file, given.out, force=given.force, width=terminal_width()))
    return 0


# studies


def _add_runs(commands: "Commands") -> None:
    for name, do, text in (
        ("run", _run, "run a study"),
        ("retry", _retry, "run a study, and its failed fits again"),
        ("plan", _plan, "print what a study would run, and what that would take"),
    ):
        parser = _command(commands, name, do, text)
        parser.add_argument("--study", help="name in config/studies, or a file; the default study where left out")
        if name != "plan":
            parser.add_argument("--profile", default="local", help="name in workflow/profiles, or a folder")
            parser.add_argument("rest", nargs="*", metavar="-- ARGS", help="arguments for Snakemake")


def _run(given: Arguments) -> int:
    from annobench.workflow.launch import run

    return run(given.study, given.rest, given.profile)


def _retry(given: Arguments) -> int:
    from annobench.workflow.launch import entered, failed_records, run

    study = entered(given.study)
    records = failed_records(study)
    forced = ["--forcerun", *records] if records else []
    return run(study, [*forced, *given.rest], given.profile)


def _plan(given: Arguments) -> int:
    from annobench.config.results import Results
    from annobench.workflow.launch import entered, resolve
    from annobench.workflow.plan import Plan

    print(Plan(resolve(entered(given.study)), Results()).text())
    return 0


def _add_compare(commands: "Commands") -> None:
    parser = _command(
        commands, "compare", _compare, "compare two result folders, or two methods, with paired intervals"
    )
    parser.add_argument("first", help="folder of results, method of the study, or FOLDER:METHOD")
    parser.add_argument("second", help="the same; differences are second minus first")
    parser.add_argument("--study", help="name in config/studies, or a file; the default study where left out")
    parser.add_argument("--out", help="CSV file for the table")


def _compare(given: Arguments) -> int:
    from annobench.workflow.compare import compare
    from annobench.workflow.launch import resolve

    print(compare(resolve(given.study), given.first, given.second, Path(given.out) if given.out else None))
    return 0


# score


def _add_score(commands: "Commands") -> None:
    parser = _command(commands, "score", _score, "score predictions that were made elsewhere")
    parser.add_argument("predictions", nargs="+", help="files, or folders of annotation runs; patterns and lists too")
    parser.add_argument("--label", required=True, help="column of obs with the true labels")
    parser.add_argument("--out", required=True, help="folder to write the study and its results into")
    parser.add_argument("--cells", help="h5ad file with the true labels, or a folder of such files")
    parser.add_argument("--kind", help="cas, azimuth, table or obs; told from the paths where left out")
    parser.add_argument("--column", help="column of the predicted labels; guessed in tables where left out")
    parser.add_argument("--labels", help="table of the true labels and their ids: a name in config/labels, or a file")
    parser.add_argument("--crosswalk", help="the same for the predicted labels")
    parser.add_argument("--groups", help="columns of obs within whose groups is scored, such as assay,tissue")
    parser.add_argument("--compat", help="cas: also write the files of cellarium-cas, into OUT/compat_cas")
    parser.add_argument("--zero-division", type=float, choices=(0, 1), default=0, help="in these files (default: 0)")
    parser.add_argument("--profile", default="local", help="name in workflow/profiles, or a folder")


def _score(given: Arguments) -> int:
    from annobench.workflow.outside.command import score
    from annobench.workflow.outside.options import ScoreOptions, listed, listed_paths

    options = ScoreOptions(
        label=given.label,
        predictions=tuple(one for text in given.predictions for one in listed_paths(text)),
        out=Path(given.out).expanduser(),
        cells=Path(given.cells).expanduser() if given.cells else None,
        kind=given.kind,
        column=given.column,
        labels=given.labels,
        crosswalk=given.crosswalk,
        groups=listed(given.groups),
        compat=listed(given.compat),
        zero_division=given.zero_division,
    )
    return score(options, profile=given.profile)


# annotate


def _add_annotate(commands: "Commands") -> None:
    from annobench.fit.annotate_job import STATES, ReadOptions

    usual = ReadOptions()
    parser = _command(commands, "annotate", _annotate, "annotate new cells with the model of a fit")
    parser.add_argument("model", help="folder of a fit, such as results/fits/DATASET/SPLIT/METHOD/seed1")
    parser.add_argument("cells", help="h5ad file with the cells to annotate")
    parser.add_argument("out", help="file to write: .h5ad (the cells with more columns), .parquet or .csv")
    parser.add_argument("--slot", default=usual.slot, help="matrix of the file: X (default), raw or layers/NAME")
    parser.add_argument("--state", choices=STATES, help="what its values are; told from the values where left out")
    parser.add_argument("--gene-id", default=usual.gene_id, help="column of var with Ensembl ids, or index")
    parser.add_argument("--gene-name", default=usual.gene_name, help="column of var with symbols, or index")
    parser.add_argument(
        "--min-overlap",
        type=float,
        default=usual.min_overlap,
        metavar="SHARE",
        help=f"share of the genes of the model that the cells must have (default: {usual.min_overlap})",
    )
    parser.add_argument(
        "--decoding",
        default=[],
        action="append",
        metavar="NAME",
        help="add labels that are chosen in another way: leaf, top_down, multilevel; repeat for more",
    )
    parser.add_argument(
        "--confidence", type=float, metavar="P", help="of --decoding multilevel: the wanted confidence (default: 0.9)"
    )
    parser.add_argument(
        "--max-error",
        type=float,
        metavar="SHARE",
        help="make cells unknown that are below the confidence above which the error is at most this",
    )
    parser.add_argument(
        "--clusters",
        metavar="COLUMN",
        help="add the majority label within the clusters of a column of obs, or within those that leiden makes",
    )
    parser.add_argument(
        "--allowed",
        metavar="FILE",
        help="add the best label among these types and all below them: a text file with an id in each line",
    )
    parser.add_argument("--prefix", default="", help="text before the names of new columns in an .h5ad file")
    parser.add_argument("--force", action="store_true", help="overwrite OUT")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="for methods that can use a GPU")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="default: all cores")


def _annotate(given: Arguments) -> int:
    from annobench.fit.annotate import annotate
    from annobench.fit.annotate_job import AnnotateJob, DecodingOptions, ReadOptions

    annotate(
        AnnotateJob(
            Path(given.model),
            Path(given.cells),
            Path(given.out),
            ReadOptions(given.slot, given.state, given.gene_id, given.gene_name, given.min_overlap),
            DecodingOptions(
                tuple(dict.fromkeys(given.decoding)),
                given.confidence,
                given.max_error,
                given.clusters,
                Path(given.allowed) if given.allowed else None,
            ),
            prefix=given.prefix,
            force=given.force,
            device=given.device,
            threads=given.threads,
        )
    )
    return 0


# convert


def _add_convert(commands: "Commands") -> None:
    parser = _command(commands, "convert", _convert_azimuth, "write results of one program in the layout of another")
    programs = parser.add_subparsers(dest="program", required=True, metavar="PROGRAM")
    text = "write labels of Azimuth as the folder of a run of Cellarium CAS"
    azimuth = _command(programs, "azimuth", _convert_azimuth, text)
    azimuth.add_argument("metadata", help="metadata of Azimuth: a table with predicted.<level> and their scores")
    azimuth.add_argument("cells", help="the h5ad file that was annotated")
    azimuth.add_argument("crosswalk", help="table of labels of Azimuth and their Cell Ontology ids")
    azimuth.add_argument("out", help="folder to write; it must be new, or empty")
    azimuth.add_argument("--label-column", default="tool_cell_label", help="of the crosswalk (default: %(default)s)")
    azimuth.add_argument("--id-column", default="cl_id", help="of the crosswalk (default: %(default)s)")
    azimuth.add_argument("--name-column", help="of the crosswalk, names of terms; labels of Azimuth where left out")
    azimuth.add_argument("--reference", default="", metavar="NAME", help="reference of Azimuth, such as pbmcref")
    azimuth.add_argument(
        "--ontology", metavar="FILE", help="ontology_resource.json of CAS; made from the ontology of the default study"
    )
    azimuth.add_argument(
        "--level", default=[], action="append", metavar="COLUMN", help="column of labels, the finest first; repeat"
    )
    azimuth.add_argument("--cell-id", default="index", help="column of the metadata with cell ids (default: row names)")


def _convert_azimuth(given: Arguments) -> int:
    from annobench.data.ontology import read_release
    from annobench.data.spec import OntologySpec
    from annobench.methods.converters.azimuth import convert
    from annobench.methods.shared.azimuth import Crosswalk
    from annobench.workflow.launch import resolve

    columns = {key: getattr(given, key) for key in ("label_column", "id_column", "name_column")}
    convert(
        Path(given.metadata),
        Path(given.cells),
        Crosswalk.load(Path(given.crosswalk), **columns),
        Path(given.out),
        ontology=Path(given.ontology)
        if given.ontology
        else read_release(OntologySpec.from_params(resolve(None).settings["ontology"])),
        reference=given.reference,
        levels=given.level,
        cell_id=given.cell_id,
    )
    return 0


# new files


def _add_templates(commands: "Commands") -> None:
    for name, do, text in (
        ("new-method", _new_method, "write the files of a new method"),
        ("new-dataset", _new_dataset, "write the file of a new dataset"),
    ):
        parser = _command(commands, name, do, text)
        parser.add_argument("name", help="name of the file in config, without .yaml")
        parser.add_argument("--base", help="make a variant: a YAML file that extends this one")
        if name == "new-dataset":
            parser.add_argument("--file", help="cells: choose columns, matrix and labels from what this file shows")
            parser.add_argument("--label", metavar="COLUMN", help="its column of labels; chosen where left out")


def _new_method(given: Arguments) -> int:
    from annobench.workflow.scaffold import new_method

    return _list_written(new_method(given.name, given.base))


def _new_dataset(given: Arguments) -> int:
    from annobench.core.errors import ConfigError
    from annobench.workflow.own.lines import terminal_width
    from annobench.workflow.scaffold import new_dataset, new_dataset_of_file

    if not given.file:
        if given.label:
            raise ConfigError("--label goes with --file: it names a column of that file")
        return _list_written(new_dataset(given.name, given.base))
    if given.base:
        raise ConfigError("--base and --file cannot be given together: a variant takes the source of its base")
    text, paths = new_dataset_of_file(given.name, given.file, given.label, width=terminal_width())
    print(text, end="\n\n")
    _list_written(paths)
    print(
        f"Next: name `{given.name}` in a study (config/README.md), and `make plan STUDY=...` says what it would take."
    )
    return 0


def _list_written(paths: list[str]) -> int:
    print("\n".join(f"wrote {path}" for path in paths))
    return 0


# checks


def _add_checks(commands: "Commands") -> None:
    verify = _command(commands, "verify", _verify, "compare every file of a store with its SHA-256")
    verify.add_argument("path", help="folder of a store, or of a dataset that has one")
    check = _command(commands, "check-method", _check_method, "run the contract tests of one method")
    check.add_argument("name", help="name of the file in config/methods, without .yaml")
    check.add_argument("rest", nargs="*", metavar="-- ARGS", help="arguments for pytest")
    manual = _command(commands, "manual", _manual, "write the pages of docs/config from the schemas")
    manual.add_argument("--check", action="store_true", help="only state whether they are up to date")
    pictures = _command(commands, "pictures", _pictures, "draw the pictures of docs/ from the tables of their studies")
    pictures.add_argument("--study", help="only those of one study; of all whose tables are there where left out")


def _verify(given: Arguments) -> int:
    from annobench.cells.store.verify import verify

    return verify(Path(given.path))


def _check_method(given: Arguments) -> int:
    from annobench.workflow.own.check import check_method

    return check_method(given.name, given.rest)


def _manual(given: Arguments) -> int:
    from annobench.config.manual import update

    return update(check=given.check)


def _pictures(given: Arguments) -> int:
    from annobench.workflow.pictures import redraw

    return redraw(given.study)


# releases of the Census


def _add_census_release(commands: "Commands") -> None:
    text = "write datasets in the form of the CELLxGENE Census"
    parser = _command(commands, "census-release", _census_release, text)
    parser.add_argument("folder", help="where the release goes; FOLDER.json records what became of each dataset")
    parser.add_argument("--date", required=True, help="date of the release, such as 2023-05-15")
    parser.add_argument(
        "--dataset", required=True, action="append", metavar="NAME=CELLS", help="name and cells.h5ad; repeat for more"
    )
    parser.add_argument(
        "--know", default=[], action="append", metavar="NAME=CELLS", help="not in the release, but its genes are known"
    )
    parser.add_argument("--genes", help="table with the columns feature_id and feature_name, for genes without an id")


def _census_release(given: Arguments) -> int:
    from annobench.data.census.build import build_from_files
    from annobench.data.census.spec import GeneTable

    table = GeneTable(given.genes) if given.genes else None
    build_from_files(given.date, given.dataset, Path(given.folder), know=given.know, gene_table=table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
