"""Turning the prepared cells of a dataset into tokens, from memory or from a store, in parts."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from annobench.cells.expression import linear
from annobench.cells.stored_cells import open_store
from annobench.config.names import NO_MATRIX
from annobench.core.errors import DataError
from annobench.core.files import atomic, read_json
from annobench.core.npz import NpzWriter
from annobench.core.parquet import take, to_arrow, write_columns
from annobench.core.progress import Report, silent
from annobench.data.checkpoints.spec import CheckpointRecord, InputSpec
from annobench.data.checkpoints.stored import StoredCheckpoint
from annobench.data.tokens.bins import TIES
from annobench.data.tokens.genes import check_organism
from annobench.data.tokens.stored import CELLS, TOKENS, LostGene, TokensCard
from annobench.data.tokens.tokeniser import Tokeniser, Tokens

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from anndata import AnnData
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

_PART = 1 << 14  # cells that are in memory together
_SHOWN = 10


def tokenise_dataset(
    dataset: str,
    cells: Path,
    card: Path,
    checkpoint: Path,
    folder: Path,
    *,
    parts: Sequence[str] = (),
    report: Report = silent,
) -> None:
    """Fill a folder with the tokens of all cells of a dataset.

    Where that cannot be done (another organism, too few known genes, no checkpoint) the card says why, and fits that
    read the tokens are skipped with that reason.

    Parameters
    ----------
    dataset
        Name of the dataset.
    cells, card
        Its cells.h5ad and its card.json.
    checkpoint
        Folder of a checkpoint.
    folder
        Gets tokens.npz, cells.parquet and card.json.
    parts
        The dataset and those that it is made of, some of which the backbone may have been trained on.
    report
        Says one line of progress.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = CheckpointRecord.read(checkpoint).name
    try:
        made = _tokenised(dataset, PreparedCells(cells), StoredCheckpoint.open(checkpoint), read_json(card), folder)
    except DataError as error:
        reason = " ".join(str(error).split())
        report(f"{dataset}, {name}: {reason}; fits that read these tokens are skipped")
        made = TokensCard(dataset=dataset, checkpoint=name, status="failed", reason=reason)
    else:
        _say(made, report)
    seen = CheckpointRecord.read(checkpoint).cells_seen
    replace(made, pretrained_on=tuple(name for name in parts if name in seen)).write(folder)


class PreparedCells:
    """The cells of a cells.h5ad, read in parts where they lie in a store.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: Path) -> None:
        import anndata

        self._store = open_store(path, verify=True)
        self._cells: AnnData | None = anndata.read_h5ad(path) if self._store is None else None
        held: Any = self._store if self._store is not None else self._cells
        self.var: pd.DataFrame = held.var
        about = self._store.manifest.uns if self._store is not None else held.uns["annobench"]
        self.state = str(about["matrix"])
        self.n = int(self._store.n if self._store is not None else held.n_obs)

    def organisms(self) -> dict[str, int]:
        """Texts of the column `organism` of obs, and how many cells have each; none without the column."""
        if self._store is not None:
            if "organism" not in self._store.columns:
                return {}
            values = self._store.obs(["organism"])["organism"]
        elif self._cells is None or "organism" not in self._cells.obs:
            return {}
        else:
            values = self._cells.obs["organism"]
        return {str(name): int(n) for name, n in values.astype(str).value_counts().items()}

    def ids(self) -> "pa.Array":
        """(n,) ids of the cells."""
        import pyarrow as pa

        if self._store is None:
            assert self._cells is not None
            return to_arrow(self._cells.obs_names.to_numpy())
        return pa.concat_arrays([part.cast(pa.large_string()) for part in self._store.ids()])

    def parts(self) -> "Iterator[tuple[slice, csr_matrix]]":
        """All cells in order, a part at a time: which they are, and their values, CSR (cells, genes)."""
        from scipy.sparse import csr_matrix

        if self.state == NO_MATRIX:
            raise DataError("the dataset has no expression (matrix.state: none), so there is nothing to make tokens of")
        for start in range(0, self.n, _PART):
            rows = slice(start, min(start + _PART, self.n))
            if self._store is not None:
                yield rows, self._store.counts(np.arange(rows.start, rows.stop))
            else:
                assert self._cells is not None
                yield rows, csr_matrix(self._cells.X[rows])


def _tokenised(
    dataset: str, cells: PreparedCells, checkpoint: StoredCheckpoint, about: dict[str, object], folder: Path
) -> TokensCard:
    """Write the tokens; returns their card."""
    check_organism(cells.var, cells.organisms(), checkpoint.record.organism, dataset)
    tokeniser = Tokeniser.of(checkpoint, cells.var, dataset)
    tokeniser.check_state(cells.state)
    ids = cells.ids()
    with TokensWriter(folder / TOKENS) as writer:
        expressed = np.zeros(len(cells.var))
        for _, matrix in cells.parts():
            expressed += np.asarray(linear(matrix, cells.state).sum(axis=0, dtype=np.float64)).ravel()
            writer.add(tokeniser, matrix)
    write_columns(folder / CELLS, {"cell_id": ids})
    return _card(dataset, checkpoint, tokeniser, cells, expressed=expressed, writer=writer, ids=ids, about=about)


def all_tokens(cells: PreparedCells, tokeniser: Tokeniser) -> Tokens:
    """Tokens of all cells, in memory."""
    made = [tokeniser.tokens(matrix) for _, matrix in cells.parts()]
    offsets = np.concatenate([[0], np.cumsum(np.concatenate([one.lengths for one in made]))])
    return Tokens(offsets, *(np.concatenate([getattr(one, key) for one in made]) for key in ("ids", "values", "known")))


class TokensWriter:
    """Writes tokens.npz of parts whose number of tokens is not known before.

    Parameters
    ----------
    path
        The file; it appears when the block ends without an error.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._files = path, ExitStack()
        self._spools: dict[str, IO[bytes]] = {}
        self.lengths: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self.known: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._parts: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []

    def __enter__(self) -> "TokensWriter":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        for name in ("ids", "values"):  # beside the file: they are as large
            self._spools[name] = self._files.enter_context(TemporaryFile(dir=self._path.parent))
        return self

    def add(self, tokeniser: Tokeniser, matrix: "csr_matrix") -> None:
        """Write the next cells."""
        made = tokeniser.tokens(matrix)
        for name, spool in self._spools.items():
            spool.write(getattr(made, name).tobytes())
        self._parts.append((made.lengths, made.known))

    def __exit__(self, kind: object, *_: object) -> None:
        with self._files:
            if kind is not None:
                return
            lengths, known = (list(one) for one in zip(*self._parts, strict=True)) if self._parts else ([], [])
            self.lengths = np.concatenate(lengths) if lengths else self.lengths
            self.known = np.concatenate(known) if known else self.known
            offsets = np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)
            with atomic(self._path) as temporary, NpzWriter(temporary) as archive:
                archive.add("offsets", offsets)
                archive.add("known", self.known)
                for name, dtype in (("ids", np.int32), ("values", np.int16)):
                    self._spools[name].seek(0)
                    with archive.open(name, dtype, (int(offsets[-1]),)) as member:
                        shutil.copyfileobj(self._spools[name], member, 1 << 20)


def _card(
    dataset: str,
    checkpoint: StoredCheckpoint,
    tokeniser: Tokeniser,
    cells: PreparedCells,
    *,
    expressed: "NDArray[np.float64]",
    writer: TokensWriter,
    ids: "pa.Array",
    about: dict[str, object],
) -> TokensCard:
    genes, record = tokeniser.genes, checkpoint.record
    lost = np.setdiff1d(np.arange(genes.genes), genes.columns)
    shares = expressed / max(expressed.sum(), np.finfo(float).tiny)
    most = lost[np.argsort(-shares[lost], kind="stable")][:_SHOWN]
    names = cells.var[["feature_id", "feature_name"]].astype(str).to_numpy()
    empty = np.flatnonzero(writer.known == 0)
    lengths = writer.lengths if len(writer.lengths) else np.zeros(1)
    return TokensCard(
        dataset=dataset,
        checkpoint=record.name,
        genes={
            "dataset": genes.genes,
            "vocabulary": genes.vocabulary,
            "known": genes.known,
            "by_symbol": genes.by_symbol,
            "by_id": genes.by_id,
            "by_other_symbol": genes.by_other_symbol,
            "lost": len(lost),
            "taken": genes.taken,
        },
        lost_expression=round(float(shares[lost].sum()), 6),
        most_lost=tuple(
            LostGene(feature_id=names[i][0], feature_name=names[i][1], share=round(float(shares[i]), 6)) for i in most
        ),
        cells={
            "total": len(writer.known),
            "without_known_gene": len(empty),
            "cut": int((writer.known > tokeniser.most).sum()),
        },
        such_as=tuple(map(str, take(ids, empty[:_SHOWN]).to_pylist())),
        length={
            "mean": round(float(lengths.mean()), 2),
            "median": float(np.median(lengths)),
            "largest": int(lengths.max()),
        },
        rules=_rules(checkpoint.input, tokeniser.most),
        data_sha256=str(about["sha256"]),
        weights_sha256=record.weights_sha256,
        vocabulary_sha256=record.vocabulary_sha256,
        input=checkpoint.input.to_params(),
    )


def _rules(given: InputSpec, most: int) -> tuple[str, ...]:
    """How values became tokens, in words."""
    values = {
        "counts": f"counts, at most {given.clip}",
        "bins": f"{given.bins - 1} bins of the non-zero values of known genes of each cell; {TIES}",
        "ranks": "genes by their counts over the medians of the checkpoint, the largest first, equal ones in the order "
        "of the vocabulary; the value of a token is its place",
    }[given.values]
    valued = "" if given.values == "ranks" else f" with the value {given.cls_value}"
    around = [
        f"'{token}'{valued} stands {where} the genes of every cell"
        for token, where in ((given.cls, "before"), (given.eos, "behind"))
        if token is not None
    ]
    left_out = "the last are left out"
    if given.values != "ranks":
        left_out = f"as many are drawn by the tokens of the cell and the seed {given.seed}"
    alone = "special tokens" if around else "one padding token"
    return (
        f"values: {values}",
        *around,
        f"of a cell with more than {most} known genes {left_out}",
        f"a cell without a known gene is {alone} alone",
    )


def _say(card: TokensCard, report: Report) -> None:
    genes, cells = card.genes, card.cells
    report(
        f"{card.dataset}, {card.checkpoint}: {genes['known']:,} of {genes['dataset']:,} genes are among the "
        f"{genes['vocabulary']:,} of the vocabulary ({genes['by_symbol']:,} by symbol, {genes['by_id']:,} by id, "
        f"{genes['by_other_symbol']:,} by another symbol); the others hold {card.lost_expression:.1%} of the expression"
    )
    if cells["without_known_gene"]:
        report(
            f"{card.dataset}, {card.checkpoint}: {cells['without_known_gene']:,} of {cells['total']:,} cells have no "
            f"known gene, such as {', '.join(card.such_as[:3])}; they all get the same embedding"
        )
