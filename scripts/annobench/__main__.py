"""Command line, `python -m annobench COMMAND`: what `make` calls."""

import argparse
import sys
from pathlib import Path

from annobench.core.errors import AnnobenchError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="annobench", description="Benchmarks of cell-type annotation")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("run", "run a study"),
        ("retry", "run a study, its failed fits again"),
        ("plan", "print what a study would run and take"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument(
            "--study", default=None, help="name in config/studies, or a file; the default study where left out"
        )
        command.add_argument("--profile", default="local", help="folder in workflow/profiles, or a path (not for plan)")
        command.add_argument("rest", nargs="*", help="arguments for Snakemake, after --")
    for name, text in (
        ("new-method", "write the files of a new method"),
        ("new-dataset", "write the files of a new dataset"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("name")
        command.add_argument("--base", help="make a variant: a YAML file that extends this one")
    verify = commands.add_parser("verify", help="compare every file of a store with its sha256")
    verify.add_argument("path", help="folder of a store, or of a dataset that has one")
    census = commands.add_parser("census-release", help="write prepared datasets in the form of the CELLxGENE Census")
    census.add_argument("folder", help="where the release goes; <folder>.json says what became of each dataset")
    census.add_argument("--date", required=True, help="date of the release, such as 2023-05-15")
    census.add_argument(
        "--dataset", required=True, action="append", metavar="NAME=CELLS", help="name and cells.h5ad; once for each"
    )
    census.add_argument(
        "--know", default=[], action="append", metavar="NAME=CELLS", help="not in the release, but its genes are known"
    )
    census.add_argument("--genes", help="table with the columns feature_id and feature_name, for genes without an id")
    manual = commands.add_parser("manual", help="write the pages of docs/config anew from the schemas")
    manual.add_argument("--check", action="store_true", help="only say whether they are up to date")
    given = parser.parse_args(arguments)
    try:
        return _do(given)
    except AnnobenchError as error:
        print(f"annobench: {error}", file=sys.stderr)
        return 2


def _do(given: argparse.Namespace) -> int:
    if given.command in ("run", "retry"):
        from annobench.workflow.launch import failed_records, run

        again = failed_records(given.study) if given.command == "retry" else []
        return run(given.study, [*(["--forcerun", *again] if again else []), *given.rest], given.profile)
    if given.command == "plan":
        from annobench.workflow.launch import resolve
        from annobench.workflow.plan import describe

        print(describe(resolve(given.study)))
    elif given.command == "verify":
        from annobench.cells.store.verify import verify

        return verify(Path(given.path))
    elif given.command == "census-release":
        from annobench.data.census.build import build_from_files
        from annobench.data.census.spec import GeneTable

        table = GeneTable(given.genes) if given.genes else None
        build_from_files(given.date, given.dataset, Path(given.folder), know=given.know, gene_table=table)
    elif given.command == "manual":
        from annobench.config.manual import update

        return update(check=given.check)
    else:
        from annobench.workflow.scaffold import new_dataset, new_method

        made = (new_method if given.command == "new-method" else new_dataset)(given.name, given.base)
        print("\n".join(f"wrote {path}" for path in made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
