"""What is promised: every marker metric is the formula it states; how types or cells are arranged has no part in it."""

import math

import numpy as np
import pytest
import scanpy as sc
from hypothesis import given, settings
from hypothesis import strategies as st

from annobench.ontology import UNKNOWN
from annobench.score.metrics import markers
from annobench.score.metrics.markers import Expression, MarkerSet, averages, marker_metrics, per_type, top_genes
from helpers import toy_ontology

METRICS = ("marker_cv", "marker_log2fc", "marker_purity", "contamination", "marker_recovery")


def example(seed: int = 0, cells: int = 60, genes: int = 12) -> tuple[np.ndarray, np.ndarray, MarkerSet]:
    """Values with many zeros; three types of different size, one of which has too few cells."""
    rng = np.random.default_rng(seed)
    values = np.log1p(rng.poisson(1.2, (cells, genes))).round(3)
    labels = np.array(["a"] * 25 + ["b"] * 26 + ["few"] * 9, dtype=object)
    genes_of = {"a": [0, 1, 2], "b": [2, 3, 4, 5], "few": [6, 7], "absent": [8, 9]}
    return values, labels, MarkerSet({t: np.array(g) for t, g in genes_of.items()})


def second(values: np.ndarray, labels: np.ndarray, genes_of: dict[str, list[int]]) -> dict[str, dict[str, float]]:
    """The definitions once more, cell by cell."""
    judged_types = [t for t in genes_of if list(labels).count(t) >= 10]
    found = {}
    for t in judged_types:
        inside, outside = [], []
        for row, label in zip(values.tolist(), labels, strict=True):
            (inside if label == t else outside).append(row)

        def score(row: list[float], t: str = t) -> float:
            return sum(row[g] for g in genes_of[t]) / len(genes_of[t])

        means = [score(row) for row in inside]
        mean = sum(means) / len(means)
        elsewhere = sum(score(row) for row in outside) / len(outside)
        deviation = math.sqrt(sum((m - mean) ** 2 for m in means) / len(means))
        others = {g for o in judged_types if o != t for g in genes_of[o]} - set(genes_of[t])
        share = [sum(row[g] > 0 for row in inside) / len(inside) for g in genes_of[t]]
        found[t] = {
            "marker_cv": deviation / mean,
            "marker_log2fc": math.log2(mean + 0.01) - math.log2(elsewhere + 0.01),
            "marker_purity": sum(share) / len(share),
            "contamination": sum(row[g] for row in inside for g in others) / (len(inside) * len(others)),
            "marker_recovery": sum(s > 0.1 for s in share) / len(share),
        }
    return found


@pytest.mark.parametrize("seed", range(4))
def test_every_metric_equals_a_second_implementation(seed: int) -> None:
    values, labels, sets = example(seed)
    found = per_type(Expression(values), labels, sets)
    expected = second(values, labels, {t: list(g) for t, g in sets.genes.items()})
    assert list(found) == list(expected) == ["a", "b"]
    for t in expected:
        assert {m: found[t][m] for m in METRICS} == pytest.approx(expected[t]), t
        assert found[t]["cells"] == (labels == t).sum()
    means = averages(found)
    assert means == pytest.approx({m: np.mean([expected[t][m] for t in expected]) for m in METRICS})


def test_by_hand() -> None:
    """Ten cells of each of two types with two markers each, all values 0 or 1."""
    values = np.zeros((20, 4))
    values[:10, 0] = 1  # all of a express its first marker
    values[:5, 1] = 1  # half of them its second
    values[10:, 2:] = 1  # all of b express both of theirs
    values[0, 2] = 1  # one of a expresses a marker of b
    labels = np.array(["a"] * 10 + ["b"] * 10, dtype=object)
    found = per_type(Expression(values), labels, MarkerSet({"a": np.array([0, 1]), "b": np.array([2, 3])}))
    # a: means of the markers are 1 (five cells) and 0.5 (five): mean 0.75, deviation 0.25
    assert found["a"]["marker_cv"] == pytest.approx(1 / 3)
    assert found["a"]["marker_log2fc"] == pytest.approx(np.log2(0.76 / 0.01))
    assert found["a"]["marker_purity"] == pytest.approx(0.75)
    assert found["a"]["contamination"] == pytest.approx(1 / 20)
    assert found["a"]["marker_recovery"] == 1
    assert found["b"]["marker_cv"] == 0
    assert found["b"]["marker_log2fc"] == pytest.approx(np.log2(1.01 / 0.06))
    assert found["b"]["contamination"] == 0


def test_a_tenth_of_the_cells_is_not_yet_recovery() -> None:
    values = np.zeros((20, 2))
    values[0, 0] = values[:2, 1] = 1
    labels = np.array(["a"] * 10 + ["b"] * 10, dtype=object)
    found = per_type(Expression(values), labels, MarkerSet({"a": np.array([0, 1])}))
    assert found["a"]["marker_recovery"] == 0.5  # 1 of 10 cells is not more than a tenth, 2 are
    assert math.isnan(found["a"]["contamination"])  # there are no markers of others


def test_a_type_whose_markers_are_silent_has_no_cv_and_is_left_out_of_that_mean() -> None:
    values, labels, sets = example()
    values[labels == "a", :3] = 0
    found = per_type(Expression(values), labels, sets)
    assert math.isnan(found["a"]["marker_cv"])
    assert averages(found)["marker_cv"] == pytest.approx(found["b"]["marker_cv"])
    assert averages({}) == {}


@pytest.mark.parametrize("cells", [9, 10])
def test_types_with_few_cells_are_left_out(cells: int) -> None:
    values, labels, sets = example()
    labels = labels.copy()
    labels[-10:] = "b"
    labels[-cells:] = "few"
    assert ("few" in per_type(Expression(values), labels, sets)) == (cells == 10)


def test_where_one_type_is_everything_there_is_no_contrast() -> None:
    values, _, sets = example()
    found, _ = marker_metrics(Expression(values), np.array(["a"] * 60, dtype=object), sets, ["a"])
    assert "marker_log2fc" not in found
    assert "deg_log2fc" not in found
    assert "marker_cv" in found


@settings(max_examples=25)
@given(st.permutations(range(60)), st.permutations(range(12)), st.permutations(["a", "b", "few", "absent"]))
def test_order_of_cells_and_genes_and_names_of_types_change_nothing(
    of_cells: list[int], of_genes: list[int], names: list[str]
) -> None:
    values, labels, sets = example()
    plain, plain_types = marker_metrics(Expression(values), labels, sets, ["a", "b"])
    renamed = dict(zip(["a", "b", "few", "absent"], names, strict=True))
    place = {gene: i for i, gene in enumerate(of_genes)}
    moved = MarkerSet({renamed[t]: np.array(sorted(place[int(g)] for g in genes)) for t, genes in sets.genes.items()})
    new_labels = np.array([renamed[labels[i]] for i in of_cells], dtype=object)
    found, types = marker_metrics(
        Expression(values[np.ix_(of_cells, of_genes)]), new_labels, moved, [renamed["a"], renamed["b"]]
    )
    assert {t: {m: types[renamed[t]][m] for m in METRICS} for t in plain_types} == {
        t: pytest.approx({m: plain_types[t][m] for m in METRICS}) for t in plain_types
    }
    assert {k: v for k, v in found.items() if k != "deg_log2fc"} == pytest.approx(
        {k: v for k, v in plain.items() if k != "deg_log2fc"}
    )
    # with 12 genes the ten top ones may be tied at the end, so only all of them are compared
    degs, moved_degs = (
        top_genes(Expression(v), x, [t], 12)[t][1].mean()
        for v, x, t in ((values, labels, "a"), (values[np.ix_(of_cells, of_genes)], new_labels, renamed["a"]))
    )
    assert moved_degs == pytest.approx(degs)


# differential expression, against scanpy


@pytest.fixture(scope="module")
def pbmc() -> sc.AnnData:
    data = sc.datasets.pbmc68k_reduced().raw.to_adata()
    data.obs["bulk_labels"] = data.obs["bulk_labels"].astype(str).astype("category")
    return data


def test_fold_changes_and_genes_are_those_of_scanpy(pbmc: sc.AnnData) -> None:
    pbmc.uns["log1p"] = {"base": None}
    sc.tl.rank_genes_groups(pbmc, "bulk_labels", method="wilcoxon", tie_correct=False, use_raw=False)
    labels = pbmc.obs["bulk_labels"].to_numpy().astype(object)
    types = sorted(t for t in set(labels) if (labels == t).sum() >= 10)
    assert len(types) >= 8
    found = top_genes(Expression(pbmc.X.toarray()), labels, types)
    assert list(found) == types
    theirs = pbmc.uns["rank_genes_groups"]
    for t in types:
        genes, change = found[t]
        assert [pbmc.var_names[g] for g in genes] == list(theirs["names"][t][:10]), t
        assert change == pytest.approx(theirs["logfoldchanges"][t][:10], rel=1e-3), t
    values, _ = marker_metrics(Expression(pbmc.X.toarray()), labels, MarkerSet({}), types)
    expected = np.mean([theirs["logfoldchanges"][t][:10].mean() for t in types])
    assert values == {"deg_log2fc": pytest.approx(expected, rel=1e-3)}


def test_chosen_genes_are_named_by_their_place_among_all(pbmc: sc.AnnData) -> None:
    labels = pbmc.obs["bulk_labels"].to_numpy().astype(object)
    chosen = np.arange(1, pbmc.n_vars, 3)
    values = pbmc.X.toarray()
    part = top_genes(Expression(values, chosen), labels, ["CD19+ B"])["CD19+ B"]
    alone = top_genes(Expression(values[:, chosen]), labels, ["CD19+ B"])["CD19+ B"]
    assert part[0].tolist() == chosen[alone[0]].tolist()
    assert part[1] == pytest.approx(alone[1])


# marker sets


def test_measured_markers_by_symbol_and_types_with_one_are_left_out() -> None:
    table = {"a": ["X", "Y", "nowhere"], "b": ["Z", "nowhere"], "c": ["Z", "X", "X"]}
    found = MarkerSet.measured(table, ["Z", "Y", "X"])
    assert {t: genes.tolist() for t, genes in found.genes.items()} == {"a": [1, 2], "c": [0, 2]}
    assert list(found.among(["c", "missing"]).genes) == ["c"]


SETS = st.dictionaries(st.sampled_from("abcdefgh"), st.sets(st.integers(0, 25), min_size=2, max_size=9), min_size=1)


@given(SETS)
def test_halves_share_no_gene_and_both_have_two_of_every_type(sets: dict[str, set[int]]) -> None:
    whole = MarkerSet({t: np.array(sorted(genes)) for t, genes in sets.items()})
    use, judge = whole.halves()
    assert list(use.genes) == list(judge.genes)
    of_use = {int(g) for genes in use.genes.values() for g in genes}
    of_judge = {int(g) for genes in judge.genes.values() for g in genes}
    assert not of_use & of_judge
    for t in use.genes:
        assert min(len(use.genes[t]), len(judge.genes[t])) >= 2
        assert set(map(int, [*use.genes[t], *judge.genes[t]])) == sets[t]


def test_halves_of_types_that_share_nothing_are_even() -> None:
    whole = MarkerSet(
        {t: np.arange(i * 10, i * 10 + size) for i, (t, size) in enumerate(zip("abc", (4, 5, 9), strict=True))}
    )
    use, judge = whole.halves()
    assert set(use.genes) == {"a", "b", "c"}
    for t in use.genes:
        assert abs(len(use.genes[t]) - len(judge.genes[t])) <= 1
    assert not MarkerSet({"a": np.arange(3)}).halves()[0].genes  # two and one


def test_halves_of_the_table_of_the_repository_keep_most_types(ontology: object) -> None:
    from annobench.core.paths import ROOT
    from annobench.score.marker_table import read_markers

    table = read_markers(ROOT / "config" / "markers" / "canonical.tsv", ontology)  # type: ignore[arg-type]
    symbols = sorted({gene for genes in table.values() for gene in genes})
    use, _ = MarkerSet.measured(table, symbols).halves()
    assert len(use.genes) >= 0.9 * len(table)


def test_nearest_is_the_type_itself_or_the_deepest_above_it() -> None:
    sets = MarkerSet({t: np.array([0, 1]) for t in ("A", "A2", "CL:0000000")})
    ontology = toy_ontology()
    assert [sets.nearest(label, ontology) for label in ("A", "A1", "A2x", "B", "CL:0000000")] == [
        "A",
        "A",
        "A2",
        "CL:0000000",
        "CL:0000000",
    ]
    assert sets.among(["A"]).nearest("B", ontology) == UNKNOWN
    assert sets.nearest(UNKNOWN, ontology) == UNKNOWN
    assert sets.nearest("not in the release", ontology) == UNKNOWN


def test_argmax_labels_by_hand() -> None:
    values = np.array([[5.0, 5, 0, 0], [0, 0, 1, 1], [5, 5, 1, 1], [0, 0, 0, 0]])
    values = np.hstack([values, np.full((4, 1), 3.0)])  # a gene that is the same everywhere says nothing
    sets = MarkerSet({"b": np.array([2, 3]), "a": np.array([0, 1, 4])})
    best, scores, types = Expression(values).argmax_labels(sets)
    assert types == ["a", "b"]
    # standardised, every other gene is +1 or -1
    assert scores == pytest.approx(np.array([[2 / 3, -1], [-2 / 3, 1], [2 / 3, 1], [-2 / 3, -1]]))
    assert best.tolist() == ["a", "b", "b", "a"]


def test_the_metrics_are_described_and_the_best_ends_are_right() -> None:
    better = {m.name: m.best > m.low for m in markers.METRICS if m.best is not None}
    assert better == {
        "marker_cv": False,
        "marker_log2fc": True,
        "marker_purity": True,
        "contamination": False,
        "deg_log2fc": True,
        "marker_recovery": True,
        "gene_overlap": True,
        "panel_use": True,
    }
