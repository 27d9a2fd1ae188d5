"""The loader: which cells come when, and what their values are."""

import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from anndata import AnnData
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from test_store import GENES, counts, genes, obs, write

from annobench.cells.expression import log_normalised, rows_of
from annobench.cells.store.batch import Batch
from annobench.cells.store.buffers import Buffers
from annobench.cells.store.loader import Loader
from annobench.cells.store.order import BLOCK, INFLATION, Layout, batch_sizes, drawn, layout, windows
from annobench.cells.store.rows import MemoryRows, PackedRows, gene_columns
from annobench.cells.store.store import Store
from annobench.cells.store.writer import StoreWriter
from annobench.cells.stored_cells import StoredCells, is_stored
from annobench.core import threads
from annobench.core.errors import DataError


def normalised(matrix: Any, kept: Any = None, features: Any = None) -> np.ndarray:
    """The second implementation: dense, in double precision."""
    dense = np.asarray(matrix.todense(), dtype=float)
    dense = dense if kept is None else dense[:, kept]
    total = dense.sum(axis=1, keepdims=True)
    dense = np.log1p(np.divide(dense * 1e4, total, out=np.zeros_like(dense), where=total > 0))
    return dense if features is None else dense[:, features]


def visited(loader: Loader, epoch: int = 0, start: int = 0) -> np.ndarray:
    return np.concatenate([batch.rows for batch in loader.epoch(epoch, start)])


@pytest.fixture(scope="module")
def matrix() -> csr_matrix:
    return counts(500)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("store")
    write(folder)
    return Store.open(folder)


# order


@given(
    st.integers(0, 400),
    st.integers(1, 40),
    st.integers(1, 90),
    st.integers(1, 4),
    st.one_of(st.none(), st.integers(0, 5)),
)
@settings(deadline=None)
def test_every_cell_is_visited_once(n: int, block: int, window: int, world: int, seed: int | None) -> None:
    shares = []
    for rank in range(world):
        rng = None if seed is None else np.random.default_rng(seed)
        parts = list(windows(n, Layout(block, window), rng, (rank, world)))
        assert all(len(part) <= window + 1 for part in parts)
        shares.append(np.concatenate([np.empty(0, dtype=int), *parts]))
    assert {len(share) for share in shares} == {n if world == 1 else n // world}
    together = np.concatenate(shares)
    assert len(np.unique(together)) == len(together)
    assert set(together) <= set(range(n))
    if seed is None:
        assert (np.diff(together) == 1).all()


@given(st.integers(0, 300), st.integers(1, 50), st.booleans())
def test_sizes_of_batches(n: int, batch: int, drop_last: bool) -> None:
    sizes = batch_sizes(n, batch, drop_last)
    if drop_last and n >= batch:
        assert (sizes == batch).all()
        assert len(sizes) == n // batch
    else:
        assert sizes.sum() == n
        assert (sizes[:-1] == batch).all()
        if n > 1 and batch > 1:
            assert (sizes > 1).all()  # batch norm needs two cells


def test_blocks_shrink_with_the_memory() -> None:
    assert layout(1000, 100, 1000) == Layout(BLOCK, 1000)
    for fitting in (4096, 20_000, 65_536, 300_000):
        plan = layout(10**7, 2048, fitting)
        assert 1 <= plan.block <= BLOCK
        assert plan.window % 2048 == 0
        assert 1 + 2048 * plan.block / plan.window <= INFLATION
    with pytest.raises(ValueError, match="raise memory_mb or make batches smaller"):
        layout(10**7, 2048, 2048)


def study_variance(codes: np.ndarray, batches: list[np.ndarray]) -> float:
    """Sum over studies of the variance of their number of cells in a batch."""
    found = np.array([np.bincount(codes[rows], minlength=codes.max() + 1) for rows in batches])
    return float(found.var(axis=0, ddof=1).sum())


def test_batches_of_a_sorted_atlas_are_as_mixed_as_they_promise() -> None:
    """Cells sorted by study: composition of batches against that of cells drawn one by one."""
    n, batch = 300_000, 512
    rng = np.random.default_rng(0)
    sizes = rng.lognormal(0, 1.2, 80)
    codes = np.repeat(np.arange(80), np.ceil(sizes / sizes.sum() * n).astype(int))[:n]
    plan = layout(n, batch, n // 12)
    assert plan.block == BLOCK
    share = np.bincount(codes) / n
    uniform = float((batch * share * (1 - share)).sum() * (n - batch) / (n - 1))
    found = []
    for seed in range(3):
        order = np.concatenate(list(windows(n, plan, np.random.default_rng(seed))))
        found.append(study_variance(codes, np.split(order, range(batch, n, batch))[:-1]) / uniform)
    expected = 1 + batch * plan.block / plan.window
    assert np.mean(found) <= INFLATION
    assert np.mean(found) == pytest.approx(expected, abs=0.1)
    # a window of the same size read study after study would not do
    order = np.concatenate([rng.permutation(part) for part in np.split(np.arange(n), range(n // 12, n, n // 12))])
    assert study_variance(codes, np.split(order, range(batch, n, batch))[:-1]) / uniform > 10


@given(st.lists(st.floats(0, 10), min_size=1, max_size=60), st.integers(1, 300), st.integers(0, 3))
@settings(deadline=None)
def test_draws_follow_their_weights(weights: list[float], draws: int, seed: int) -> None:
    values = np.array(weights)
    if values.sum() <= 0:
        with pytest.raises(ValueError, match="not all zero"):
            drawn(values, draws, np.random.default_rng(seed))
        return
    found = np.bincount(drawn(values, draws, np.random.default_rng(seed)), minlength=len(values))
    assert found.sum() == draws
    assert (found[values == 0] == 0).all()
    assert (np.abs(found - draws * values / values.sum()) < 2 + 1e-6).all()


@pytest.mark.parametrize("weights", [[1.0, -1.0], [np.nan, 1.0], [np.inf, 1.0], []])
def test_weights_that_make_no_sense_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights must be finite"):
        drawn(np.array(weights), 3, np.random.default_rng(0))


# values


@pytest.mark.parametrize("kept", [None, np.arange(3, 300, 7)])
@pytest.mark.parametrize("features", [None, np.arange(0, 40, 3)])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_values_are_those_of_the_plain_way(
    store: Store, matrix: csr_matrix, kept: Any, features: Any, n_threads: int
) -> None:
    expected = normalised(matrix, kept, features)
    rows = store.rows(None, kept, features)
    assert rows.genes == expected.shape[1]
    for loader in (
        Loader(rows, batch_size=32, threads=n_threads),
        Loader(rows, batch_size=32, threads=n_threads, memory_mb=rows.nbytes / 2e6),
    ):
        for batch in loader.epoch():
            assert np.abs(batch.dense() - expected[batch.rows]).max() < 1e-5
            for a, b in zip(batch.indptr[:-1], batch.indptr[1:], strict=True):
                assert (np.diff(batch.indices[a:b]) > 0).all()
        for dense in loader.dense_epoch():
            assert np.abs(dense.values - expected[dense.rows]).max() < 1e-5


def test_memory_and_store_are_the_same_to_a_loader(store: Store, matrix: csr_matrix) -> None:
    cells = AnnData(matrix, obs=obs(500), var=genes().set_index("feature_id", drop=False).rename_axis(None))
    cells.uns["annobench"] = {"matrix": "counts"}
    features = np.arange(1, GENES, 2)
    stored = StoredCells(store, np.arange(500), store.obs())
    assert is_stored(stored)
    assert not is_stored(cells)
    plain = log_normalised(cells)[:, features]
    kinds = [rows_of(cells, features), rows_of(stored, features), MemoryRows(plain)]
    for batches in zip(*(Loader(rows, batch_size=100, seed=4).epoch(1) for rows in kinds), strict=True):
        assert all(np.array_equal(batch.rows, batches[0].rows) for batch in batches)
        assert all(np.array_equal(batch.indices, batches[0].indices) for batch in batches)
        assert all(np.allclose(batch.values, batches[0].values, rtol=2e-6) for batch in batches)
    cells.X, cells.uns["annobench"]["matrix"] = log_normalised(cells), "log1p_cp10k"
    batch = next(Loader(rows_of(cells, features), batch_size=500, shuffle=False).epoch())
    assert np.allclose(batch.dense(), plain.toarray(), rtol=2e-6)


def test_stored_cells_look_like_cells(store: Store, matrix: csr_matrix) -> None:
    positions = np.array([5, 60, 200, 499])
    kept = np.array([0, 5, 299])
    cells = StoredCells(store, positions, store.obs(positions=positions), kept)
    assert (cells.n_obs, cells.n_vars) == (4, 3)
    assert list(cells.obs_names) == ["c5", "c60", "c200", "c499"]
    assert list(cells.var["feature_name"]) == ["G0", "G5", "G299"]
    found = cells[1:3].to_memory()
    assert (matrix[positions[1:3]][:, kept] != found.X).nnz == 0
    assert list(found.obs_names) == ["c60", "c200"]
    assert found.uns["annobench"] == {"matrix": "counts"}
    with pytest.raises(ValueError, match="1 rows of obs for 4 cells"):
        StoredCells(store, positions, store.obs(positions=positions[:1]))


# epochs


def test_an_epoch_is_a_permutation_and_depends_on_the_seed_alone(store: Store) -> None:
    small = store.rows().nbytes / 1e6 / 2
    for memory in (1024, small):
        orders = {}
        for n in (1, 2, 4):
            loader = Loader(store.rows(), np.arange(500), batch_size=32, seed=3, threads=n, memory_mb=memory)
            assert loader.resident is (memory == 1024)
            orders[n] = visited(loader)
            assert sorted(orders[n]) == list(range(500))
            assert all((batch.codes == batch.rows).all() for batch in loader.epoch(1))
        assert np.array_equal(orders[1], orders[2])
        assert np.array_equal(orders[1], orders[4])
        assert not np.array_equal(visited(loader, 0), visited(loader, 1))
        other = Loader(store.rows(), batch_size=32, seed=4, memory_mb=memory)
        assert not np.array_equal(visited(other), orders[1])


@pytest.mark.parametrize("share", [1, 2, 5])
def test_an_epoch_can_be_taken_up_at_any_batch(store: Store, share: int) -> None:
    loader = Loader(store.rows(), batch_size=16, seed=1, memory_mb=store.rows().nbytes / 1e6 / share)
    whole = [batch.rows for batch in loader.epoch(2)]
    assert len(whole) == len(loader)
    for start in range(0, len(whole) + 1, 3):
        rest = [batch.rows for batch in loader.epoch(2, start)]
        assert len(rest) == len(whole) - start
        assert all(np.array_equal(a, b) for a, b in zip(rest, whole[start:], strict=True))


def test_windows_before_the_start_are_not_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = store.rows()
    loader = Loader(rows, batch_size=16, seed=1, memory_mb=rows.nbytes / 1e6 / 5)
    read: list[int] = []
    plain = rows.window
    monkeypatch.setattr(rows, "window", lambda positions: read.append(len(positions)) or plain(positions))
    list(loader.epoch(0))
    everything = len(read)
    read.clear()
    list(loader.epoch(0, len(loader) - 1))
    assert len(read) == 1 < everything


def test_a_single_last_cell_joins_the_batch_before_it(store: Store) -> None:
    rows = store.rows(np.arange(321))
    for memory in (1024, rows.nbytes / 1e6 / 3):
        loader = Loader(rows, batch_size=16, memory_mb=memory)
        sizes = [batch.n for batch in loader.epoch()]
        assert sizes == [16] * 19 + [17]
        assert sorted(visited(loader)) == list(range(321))
        assert [b.n for b in Loader(rows, batch_size=16, memory_mb=memory, drop_last=True).epoch()] == [16] * 20


def test_without_shuffling_cells_come_in_their_order(store: Store) -> None:
    for memory in (1024, store.rows().nbytes / 1e6 / 4):
        loader = Loader(store.rows(), batch_size=48, shuffle=False, memory_mb=memory)
        assert visited(loader).tolist() == list(range(500))


def test_classes_can_be_balanced(store: Store) -> None:
    codes = np.r_[np.zeros(450, dtype=int), np.ones(50, dtype=int)]
    for memory in (1024, store.rows().nbytes / 1e6 / 2):
        # the numbers of the classes have gaps: a class without cells is never drawn
        loader = Loader(store.rows(), 3 * codes, batch_size=50, weights="balanced", memory_mb=memory)
        found = np.concatenate([batch.codes for batch in loader.epoch()])
        assert len(found) == 500
        assert set(found) == {0, 3}
        assert abs(found.mean() - 1.5) < 0.03
    for wrong in ({"weights": "even", "codes": codes}, {"weights": "balanced"}):
        with pytest.raises(ValueError, match="expected numbers, or balanced together with codes"):
            Loader(store.rows(), batch_size=50, **wrong)
    # cells that are never drawn
    none = Loader(store.rows(), codes, batch_size=50, weights=(codes == 1).astype(float))
    assert set(visited(none)) == set(range(450, 500))


def test_ranks_share_an_epoch(store: Store) -> None:
    for memory in (1024, store.rows().nbytes / 1e6 / 2):
        parts = [
            visited(Loader(store.rows(), batch_size=32, seed=1, rank=rank, world=3, memory_mb=memory))
            for rank in range(3)
        ]
        assert {len(part) for part in parts} == {166}
        assert len(set(np.concatenate(parts))) == 498


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"codes": np.zeros(3)}, "3 codes for 500 cells"),
        ({"weights": np.ones(3)}, "3 weights for 500 cells"),
        ({"weights": np.ones(500), "shuffle": False}, "weights need shuffle"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(store: Store, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Loader(store.rows(), **({"batch_size": 10} | arguments))


@pytest.mark.parametrize("positions", [[3, 2], [1, 1], [-1, 4], [400, 500]])
def test_positions_must_rise_and_be_there(store: Store, positions: list[int]) -> None:
    with pytest.raises(DataError, match="positions must rise and lie within its 500 cells"):
        store.rows(np.array(positions))


@pytest.mark.parametrize("kept", [[3, 2], [-1, 4], [0, 300]])
def test_genes_must_rise_and_be_there(store: Store, kept: list[int]) -> None:
    with pytest.raises(DataError, match="rising positions below 300"):
        store.rows(None, np.array(kept))


def test_what_becomes_of_a_gene() -> None:
    assert gene_columns(4).tolist() == []
    assert gene_columns(4, np.array([True] * 4)).tolist() == []
    assert gene_columns(4, np.array([1, 3])).tolist() == [-1, 0, -1, 1]
    assert gene_columns(4, np.array([1, 2, 3]), np.array([0, 2])).tolist() == [-1, 0, -2, 1]
    assert gene_columns(4, None, np.array([2])).tolist() == [-2, -2, 0, -2]


def test_an_error_while_reading_reaches_the_loop(tmp_path: Path) -> None:
    write(tmp_path)
    store = Store.open(tmp_path)
    loader = Loader(store.rows(), batch_size=16, memory_mb=store.rows().nbytes / 1e6 / 4)
    batches = loader.epoch()
    next(batches)
    (tmp_path / "00003.records").unlink()
    with pytest.raises(DataError, match="is gone since the store was opened"):
        list(batches)


def test_empty_cells_and_a_store_of_one_cell(tmp_path: Path) -> None:
    with StoreWriter(tmp_path, genes()) as writer:
        writer.append(csr_matrix((1, GENES)), obs(1))
        writer.finish()
    batch = next(Loader(Store.open(tmp_path).rows(), batch_size=5).epoch())
    assert batch.n == 1
    assert len(batch.values) == 0
    rows = PackedRows(csr_matrix((3, GENES)))
    assert next(Loader(rows, batch_size=5).dense_epoch()).values.sum() == 0


def test_memory_is_used_again_only_when_nothing_refers_to_it() -> None:
    buffers = Buffers()
    first = buffers.take(1000, np.float32)
    address = first.ctypes.data
    second = buffers.take(1000, np.float32)
    assert second.ctypes.data != address
    view = first[10:20]
    del first
    assert buffers.take(1000, np.float32).ctypes.data not in (address, second.ctypes.data)
    del view
    assert buffers.take(900, np.float32).ctypes.data == address


def test_kernels_run_on_ranges_and_their_errors_are_raised() -> None:
    seen: list[tuple[int, int]] = []
    threads.run(lambda start, stop: seen.append((start, stop)), 10, 3, grain=4)
    assert sorted(seen) == [(0, 4), (4, 8), (8, 10)]

    def broken(start: int, stop: int) -> None:
        if start == 0:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        threads.run(broken, 10, 2)


def test_a_batch_as_a_matrix(matrix: csr_matrix) -> None:
    batch = Batch.from_csr(matrix[:7], np.arange(7))
    assert batch.n == 7
    assert batch.codes.tolist() == list(range(7))
    assert (batch.csr() != matrix[:7]).nnz == 0
    assert np.array_equal(batch.dense(), matrix[:7].toarray())


def test_memory_is_never_given_to_two_threads() -> None:
    buffers, clashes = Buffers(), []

    def take(mark: int) -> None:
        for _ in range(2000):
            found = buffers.take(64, np.int64)
            found[:] = mark
            if not (found == mark).all():
                clashes.append(mark)
            del found

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(take, range(4)))
    assert not clashes


def test_no_more_than_two_windows_are_alive(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that is used and the one that is read: that is what memory_mb stands for."""
    rows = store.rows()
    alive: list[weakref.ref[Any]] = []
    most = 0
    plain = rows.window

    def window(positions: np.ndarray) -> Any:
        nonlocal most
        found = plain(positions)
        alive.append(weakref.ref(found))
        most = max(most, sum(one() is not None for one in alive))
        return found

    monkeypatch.setattr(rows, "window", window)
    loader = Loader(rows, batch_size=16, memory_mb=rows.nbytes / 1e6 / 4)
    for epoch in (loader.epoch, loader.dense_epoch):
        for batch in epoch():
            time.sleep(0.01 if batch.n else 0)  # the next window is there before this one is used up
    assert len(alive) > 10
    assert most == 2
