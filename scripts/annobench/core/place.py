"""The folder that a run lies in: characters that shells and Snakemake take for something else are refused at once.

Run as a script, before there is an environment, it prints the problem of the current folder.
"""

import re
from pathlib import Path

_BAD = re.compile(r"[\s'\"`\[\](){}$&;|<>*?!#\\]")


def problem(folder: Path) -> str | None:
    """Why a folder cannot hold a run; None where it can."""
    found = dict.fromkeys(_BAD.findall(str(folder)))
    if not found:
        return None
    named = ", ".join("a blank" if character.isspace() else f"'{character}'" for character in found)
    return (
        f"the path of this folder has {named} in it ({folder}), which Snakemake and shells take for something else; "
        "move it to a folder whose path has letters, digits, '-', '_' and '.' only"
    )


if __name__ == "__main__":
    print(problem(Path.cwd()) or "")
