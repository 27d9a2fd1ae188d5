"""Marker genes of one organism carried over to the cells of another."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from annobench.core.errors import DataError
from annobench.core.progress import say
from annobench.core.records import Records

_NAMED = 5  # genes in a message


@dataclass(frozen=True)
class OrthologuePairs:
    """One-to-one pairs of gene symbols of two organisms.

    Parameters
    ----------
    name
        Of the file, for messages.
    columns
        Names of the two columns.
    pairs
        The symbols, in the order of the columns.
    """

    name: str
    columns: tuple[str, str]
    pairs: Sequence[tuple[str, str]]

    def carried(self, markers: Mapping[str, Sequence[str]], symbols: Iterable[str]) -> dict[str, list[str]]:
        """Markers by the symbols that the cells have; what has no partner is left out, and said with its number.

        Which column the markers are in, and which the genes of the cells, is where more of them are found.

        Parameters
        ----------
        markers
            Type -> gene symbols.
        symbols
            Symbols of the measured genes.

        Returns
        -------
        The markers as they were where both are in one column, or where no gene of the cells is in any.

        Raises
        ------
        DataError
            Where the markers are in neither column, or as many of the genes in both.
        """
        wanted = list(dict.fromkeys(gene for genes in markers.values() for gene in genes))
        of_markers = self._column(wanted, "markers")
        of_cells = self._column(list(dict.fromkeys(map(str, symbols))), "genes of the cells")
        if of_markers is None:
            raise DataError(
                f"{self.name}: none of {len(wanted)} markers, such as {', '.join(wanted[:_NAMED])}, is in its columns "
                f"{' or '.join(self.columns)}; name a table of the organism of the markers as scoring.orthologues"
            )
        if of_cells is None:
            say(f"{self.name}: holds no gene of the cells; their markers are not carried over")
        if of_cells in (None, of_markers):
            return {label: list(genes) for label, genes in markers.items()}
        partner = {pair[of_markers]: pair[of_cells] for pair in self.pairs}
        without = [gene for gene in wanted if gene not in partner]
        named = ", ".join(without[:_NAMED]) + (" ..." if len(without) > _NAMED else "")
        say(
            f"{self.name}: {len(wanted) - len(without)} of {len(wanted)} markers are carried over from "
            f"{self.columns[of_markers]} to {self.columns[of_cells]}"
            + (f"; {len(without)} have no one-to-one partner and are left out: {named}" if without else "")
        )
        return {label: [partner[gene] for gene in genes if gene in partner] for label, genes in markers.items()}

    def _column(self, genes: Sequence[str], what: str) -> int | None:
        """The column that holds more of some genes; None where none holds any."""
        found = [sum(gene in side for gene in genes) for side in (set(one) for one in zip(*self.pairs, strict=True))]
        if not any(found):
            return None
        if found[0] == found[1]:
            raise DataError(
                f"{self.name}: its columns {' and '.join(self.columns)} each hold {found[0]} of {len(genes)} {what}, "
                "so that their organism cannot be told; leave scoring.orthologues out, or score these cells in a study "
                "of their own"
            )
        return int(found[1] > found[0])


def read_pairs(path: Path) -> OrthologuePairs:
    """The pairs that the rule `fetch_orthologues` wrote."""
    records = Records.read(path)
    first, second = records.names
    pairs = [(a, b) for _, (a, b) in records.table([first, second])]
    return OrthologuePairs(path.name, (first, second), pairs)
