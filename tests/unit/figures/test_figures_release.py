"""What is promised: every figure of the release study draws from tables alone, says what it shows, hides no text."""

import csv
import importlib
import io
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.text import Text

from annobench.config.contrasts import Contrast
from annobench.config.figures import figure_facts, figures
from annobench.config.losses import losses
from annobench.figures.shared.settings import (
    FigureSettings,
    ReleaseMethod,
    ReleaseSettings,
    ReleaseView,
)
from annobench.figures.shared.style import THEME, draw_figure
from annobench.score.statistics import holm, paired_t

FIGURES = sorted(name for name in figures() if "release" in figure_facts(name).regimes)
MODELS = ("linear", "mlp", "tabnet")
BASES = {"linear": 0.55, "mlp": 0.57, "tabnet": 0.52}
SHIFT = {"ce": 0.0, "hce": 0.13, "hce_logsumexp": 0.14, "label_updating": 0.02}
PROPERTIES = ("train_cells", "train_studies", "train_donors", "train_tissues", "train_assays")
Tables = dict[str, pd.DataFrame]


class Study:
    """Tables of a release study of any size: classes, runs, studies and contrasts are made up, their form is not."""

    def __init__(
        self,
        nodes: list[dict[str, Any]],
        edges: list[tuple[str, str]],
        *,
        models: tuple[str, ...] = MODELS,
        losses: tuple[str, ...] = ("ce", "hce"),
        seeds: int = 4,
        studies: int = 21,
        dataset: str = "lung_release",
        with_published: bool = True,
    ) -> None:
        self.nodes, self.edges, self.dataset, self.seeds = nodes, edges, dataset, range(1, seeds + 1)
        self.models, self.losses, self.studies = models, losses, studies
        self.random = np.random.default_rng(7)
        self.views = {"id": "release_id", "ood": "release_ood"}
        self.methods = {f"{m}_{loss}": (m, loss) for m in models for loss in losses}
        self.contrasts = [
            {"name": m if loss == "hce" else f"{m}_{loss}", "base": f"{m}_ce", "method": f"{m}_{loss}"}
            for m in models
            for loss in losses
            if loss != "ce"
        ]
        self.with_published = with_published
        self.classes = {"id": [n["label_id"] for n in nodes], "ood": [n["label_id"] for n in nodes if n["ood_cells"]]}
        self.per_class = {part: self._per_class(part) for part in self.views}

    def _per_class(self, part: str) -> dict[str, np.ndarray]:
        """method -> (runs, classes)."""
        ids = self.classes[part]
        hard = self.random.normal(0, 0.15, len(ids))
        gain = np.clip(self.random.normal(1, 1.2, len(ids)), -1, 5)
        found = {}
        for method, (model, loss) in self.methods.items():
            centre = BASES[model] + hard + (SHIFT[loss] * gain if part == "ood" else 0.25 - 0.05 * SHIFT[loss] * gain)
            found[method] = np.clip(centre + self.random.normal(0, 0.015, (len(self.seeds), len(ids))), 0, 1)
        return found

    def scores(self) -> pd.DataFrame:
        rows = []
        for part, split in self.views.items():
            ood = np.isin(self.classes[part], self.classes["ood"])
            for method, values in self.per_class[part].items():
                for decoding, plus in (("", 0.0), (".leaf", 0.06), (".top_down", -0.04)):
                    for seed, of_class in zip(self.seeds, values, strict=True):
                        at = {"dataset": self.dataset, "split": split, "method": method + decoding, "seed": seed}
                        more = plus * (0.4 if self.methods[method][1] != "ce" else 1)
                        for metric, family, label_set, value in (
                            ("ontology_macro_f1", "ontology_aware", "truth", of_class.mean() + more),
                            ("ontology_macro_f1", "ontology_aware", "ood", of_class[ood].mean() + more),
                            ("macro_f1", "flat", "truth", of_class.mean() - 0.12 - more),
                            ("leaf_share", "ontology_aware", "-", 0.55 + 6 * abs(more)),
                        ):
                            row = at | {"status": "ok", "family": family, "metric": metric, "label_set": label_set}
                            rows.append(row | {"level": "overall", "group": "all", "value": value, "n": 9})
                        if decoding:
                            continue
                        for label_id, value in zip(self.classes[part], of_class, strict=True):
                            row = at | {"status": "ok", "family": "per_class", "metric": "ontology_f1"}
                            row |= {"label_set": "-", "level": "class", "group": label_id, "value": value, "n": 3}
                            rows.append(row)
        return pd.DataFrame(rows)

    def comparisons(self) -> pd.DataFrame:
        rows = []
        for (part, evaluation), contrast in itertools.product(self.views.items(), self.contrasts):
            at = {"dataset": self.dataset, "evaluation": evaluation, "contrast": contrast["name"]}
            at |= {"base": contrast["base"], "method": contrast["method"]}
            base, value = (self.per_class[part][contrast[key]] for key in ("base", "method"))
            names = {n["label_id"]: n["label"] for n in self.nodes}
            ids = self.classes[part]
            rows += self._level(at, "ontology_f1", "-", "class", [(i, names[i]) for i in ids], base, value)
            kinds = {n["label_id"]: n["node_class"] for n in self.nodes}
            mine = np.array([kinds[i] for i in ids])
            sets = {
                kind: mine == kind for kind in ("internal", "leaf_connected", "leaf_isolated") if (mine == kind).any()
            }
            of_sets = [np.stack([v[:, m].mean(1) for m in sets.values()], 1) for v in (base, value)]
            rows += self._level(at, "ontology_f1", "-", "node_class", [(k, k) for k in sets], *of_sets)
            overall = [v.mean(1, keepdims=True) for v in (base, value)]
            rows += self._level(at, "ontology_macro_f1", "truth", "overall", [("all", "all")], *overall)
            exact = [v - 0.1 for v in overall]
            rows += self._level(at, "macro_f1", "truth", "overall", [("all", "all")], *exact)
            ood = np.isin(ids, self.classes["ood"])
            of_ood = [v[:, ood].mean(1, keepdims=True) for v in (base, value)]
            if part == "id":
                rows += self._level(at, "ontology_macro_f1", "ood", "overall", [("all", "all")], *of_ood)
                continue
            groups = {
                "study": [f"A study of some tissue, number {i}" for i in range(self.studies)],
                "seen_tissue": ["seen", "unseen"],
                "seen_disease": ["seen", "unseen"],
                "republished": ["true", "false"],
                "tissue": ["lung", "blood"],
            }
            for level, found in groups.items():
                shift = self.random.normal(0, 0.08, len(found))
                lift = self.random.normal(0.0, 0.05, len(found))
                noise = [self.random.normal(0, 0.01, (len(base), len(found))) for _ in range(2)]
                of_group = [overall[0] + shift + noise[0], overall[1] + shift + lift + noise[1]]
                rows += self._level(at, "ontology_macro_f1", "truth", level, [(g, g) for g in found], *of_group)
        return pd.DataFrame(rows)

    def _level(
        self, at: dict[str, Any], metric: str, label_set: str, level: str, groups: list[Any], base: Any, value: Any
    ) -> list[dict[str, Any]]:
        gap = value - base
        mean = gap.mean(0)
        runs, t, p = paired_t(gap.T)
        corrected = np.where(np.isnan(p), np.nan, holm(np.nan_to_num(p, nan=1.0)))
        rows = []
        for i, (group, label) in enumerate(groups):
            row = at | {"metric": metric, "label_set": label_set, "level": level, "group": group, "group_label": label}
            row |= {
                "base_value": base[:, i].mean(),
                "value": value[:, i].mean(),
                "difference": mean[i],
                "n_runs": runs[i],
            }
            row |= {"t": t[i], "p_value": p[i], "p_holm": corrected[i], "family_size": len(groups)}
            low, high = mean[i] - 0.03 - abs(mean[i]) / 4, mean[i] + 0.03 + abs(mean[i]) / 4
            row |= {"low": low, "high": high, "n_units": self.studies, "unit_kind": "study", "n_cells": 100 + i}
            rows.append(row | {"note": ""})
        return rows

    def tables(self) -> Tables:
        nodes = pd.DataFrame([{"dataset": self.dataset, "split": "release"} | node for node in self.nodes])
        edges = pd.DataFrame(self.edges, columns=["parent", "child"])
        edges.insert(0, "dataset", self.dataset)
        edges.insert(1, "split", "release")
        return {
            "scores": self.scores(),
            "contrasts": self.comparisons(),
            "nodes": nodes,
            "edges": edges,
            "published_values": self.published_values(),
        }

    def published_values(self) -> pd.DataFrame:
        columns = ["dataset", "set", "label_set", "model", "loss", "metric", "level", "group", "value", "low", "high"]
        columns += ["kind", "source"]
        rows = []
        if self.with_published:
            for model, (inside, outside) in {
                "linear": (0.80, 0.55),
                "mlp": (0.82, 0.57),
                "tabnet": (0.84, 0.52),
            }.items():
                at = {"dataset": "hce_release", "model": model, "metric": "ontology_macro_f1", "level": "overall"}
                at |= {"group": "all", "kind": "printed", "source": "the paper", "label_set": 80}
                rows.append(at | {"set": "id", "loss": "ce", "value": inside})
                rows.append(at | {"set": "ood", "loss": "ce", "value": outside})
                low, high = outside + 0.12, outside + 0.15
                rows.append(at | {"set": "ood", "loss": "hce", "low": low, "high": high, "kind": "inferred"})
                rows.append(at | {"set": "id", "loss": "ce", "value": inside - 0.02, "label_set": 164})
                for label_id in self.classes["id"]:
                    value = float(np.clip(0.8 + self.random.normal(0, 0.1), 0, 1))
                    of_class = {"set": "id", "loss": "ce", "value": value, "label_set": 164, "kind": "digitised"}
                    of_class |= {"level": "class", "group": label_id, "metric": "ontology_f1"}
                    rows.append(at | of_class)
            rows.append(at | {"model": "all", "set": "ood", "loss": "hce-ce", "low": 0.12, "high": 0.15})
        return pd.DataFrame(rows, columns=columns)

    def settings(self) -> FigureSettings:
        labels = {"linear": "Linear", "mlp": "MLP", "tabnet": "TabNet"}
        methods = []
        for name, (model, loss) in self.methods.items():
            label = f"{labels[model]}, {loss}"
            of_loss = {"loss": loss, "loss_label": losses()[loss].label, "loss_order": losses()[loss].order}
            methods.append(ReleaseMethod(name, label, model=model, **of_loss))
            for decoding in ("leaf", "top_down"):
                more = {"kind": "decoding", "decoding": decoding}
                methods.append(ReleaseMethod(f"{name}.{decoding}", label, model=model, **of_loss, **more))
        methods.append(ReleaseMethod("oracle", "Oracle", kind="control", model="oracle"))
        release = ReleaseSettings(
            views=tuple(ReleaseView(self.dataset, evaluation, part) for part, evaluation in self.views.items()),
            methods=tuple(methods),
            contrasts=tuple(Contrast(**contrast) for contrast in self.contrasts),
            level=0.95,
            published_datasets=("hce_release",) if self.with_published else (),
            simulated=(),
        )
        return FigureSettings(
            title="A title",
            primary="ontology_macro_f1",
            metrics={},
            datasets={self.dataset: "Lung: Travaglini, then Tabula Sapiens and Maynard"},
            evaluations={f"{view.dataset}/{view.evaluation}": view.evaluation for view in release.views},
            release=release,
        )


def small(**more: Any) -> Study:
    """Ten classes: a tree of seven, one of them below two others, and three without relatives."""
    labels = {
        "CL:1": "leukocyte",
        "CL:2": "T cell",
        "CL:3": "B cell",
        "CL:4": "CD4-positive, alpha-beta T cell",
        "CL:5": "CD8-positive, alpha-beta T cell",
        "CL:6": "memory T cell",
        "CL:7": "CD8-positive, alpha-beta memory T cell",
        "CL:8": "club cell",
        "CL:9": "mast cell",
        "CL:10": "endothelial cell of lymphatic vessel",
    }
    edges = [("CL:1", "CL:2"), ("CL:1", "CL:3"), ("CL:2", "CL:4"), ("CL:2", "CL:5"), ("CL:2", "CL:6")]
    edges += [("CL:5", "CL:7"), ("CL:6", "CL:7")]
    parents = {p for p, _ in edges}
    related = parents | {c for _, c in edges}
    nodes = []
    for i, (label_id, label) in enumerate(labels.items()):
        kind = "internal" if label_id in parents else "leaf_connected" if label_id in related else "leaf_isolated"
        nodes.append(node(label_id, label, kind, 40 * 3**i, 0 if i in (3, 8) else 5 + i))
    return Study(nodes, edges, **({"studies": 2} | more))


def node(label_id: str, label: str, kind: str, cells: int, ood: int) -> dict[str, Any]:
    few = {name: 1 + (cells * (k + 3)) % (17 + k) for k, name in enumerate(PROPERTIES[1:])}
    counts = {"train_cells": cells, **few, "id_cells": cells // 5, "ood_cells": ood}
    return {"label_id": label_id, "label": label, "node_class": kind, "n_ancestors": 0, "n_descendants": 0} | counts


def paper(folder: Path, **more: Any) -> Study:
    """The 164 classes of the paper with their 124 edges."""
    with (folder / "hce" / "cell_types_164.csv").open() as file:
        rows = list(csv.DictReader(file))
    kinds = {"internal": "internal", "connected_leaf": "leaf_connected", "isolated_leaf": "leaf_isolated"}
    with (folder / "hce" / "dag_edges_reduced.csv").open() as file:
        pairs = [(int(row["parent_index"]), int(row["child_index"])) for row in csv.DictReader(file)]
    random = np.random.default_rng(1)
    nodes = []
    for row in rows:
        cells = int(10 ** random.uniform(3.5, 6.1))
        ood = 50 if row["in_ood_80"] == "1" else 0
        nodes.append(node(row["cl_id"], row["label"], kinds[row["node_class"]], cells, ood))
    return Study(nodes, [(rows[p]["cl_id"], rows[c]["cl_id"]) for p, c in pairs], **more)


def read(tables: Tables, name: str) -> Tables:
    """The tables of a figure, as they are read from files."""
    return {table: pd.read_csv(io.StringIO(tables[table].to_csv(index=False))) for table in figure_facts(name).tables}


def drawn(name: str, tables: Tables, settings: FigureSettings) -> Figure | None:
    """A figure with everything laid out."""
    with plt.rc_context(THEME):
        figure: Figure | None = importlib.import_module(f"annobench.figures.{name}").draw(read(tables, name), settings)
        if figure is not None:
            figure.canvas.draw()
    return figure


def texts(figure: Figure) -> str:
    """Everything that is written on a figure."""
    return "\n".join(text.get_text() for text in figure.findobj(Text) if text.get_visible())


@pytest.fixture(autouse=True)
def closed() -> Any:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def ten() -> Study:
    return small()


@pytest.fixture(scope="module")
def of_ten(ten: Study) -> Tables:
    return ten.tables()


MINUS = "\N{MINUS SIGN}"
EXPECTED = {
    "release_scores": ["Linear", "TabNet", "In distribution", "published, all classes", "published, as a range", ".7"],
    "loss_contrast": [f"MLP: HCE {MINUS} CE", "published: +0.12 to +0.15", "Difference, in distribution", "one run"],
    "decoders": ["macro F1, exact match", "share of leaves among the answers", "top-down decoding", "TabNet"],
    "class_contrast": ["memory T cell", "CD8+, αβ memory T cell", "significant over runs", "better: ", "of 8"],
    "class_graph": ["CD8+, αβ\nmemory T cell", "endoth. cell of\nlymphatic vessel", "3 without relatives", "leukocyte"],
    "node_class_contrast": ["internal (4)", "connected leaf (2)", "isolated leaf (2)", "mean, significant (Holm)"],
    "class_properties": ["training cells", "studies", "tissues", "ρ = ", "n = 8"],
    "study_contrast": ["A study of some tissue, number 1", f"Linear: HCE {MINUS} CE", "difference in macro F1"],
    "unseen_contrast": ["tissue seen (100 cells)", "disease unseen (101 cells)", "not published before (101 cells)"],
    "class_published_values": ["published F1", "F1 here", "10 classes", "r = ", "1  "],
}


def test_all_figures_of_the_regime_are_tested() -> None:
    assert sorted(EXPECTED) == FIGURES


@pytest.mark.parametrize("name", FIGURES)
def test_figures_say_what_they_show_and_hide_no_label(name: str, ten: Study, of_ten: Tables) -> None:
    figure = drawn(name, of_ten, ten.settings())
    assert figure is not None
    said = texts(figure)
    assert not [text for text in EXPECTED[name] if text not in said]
    assert "Lung: Travaglini, then Tabula Sapiens and Maynard" in said.replace("\n", " ")
    assert "not the data of the paper" in said.replace("\n", " ")  # the published values are of other data
    assert not hidden(figure)


def hidden(figure: Figure) -> list[str]:
    """Labels of rows and columns that overlap."""
    found = []
    for axes in figure.axes:
        for ticks in (axes.get_yticklabels(), axes.get_xticklabels()):
            shown = [tick for tick in ticks if tick.get_visible() and tick.get_text()]
            boxes = [(tick.get_text(), tick.get_window_extent().shrunk(1, 0.8)) for tick in shown]
            found += [f"{a}/{b}" for (a, one), (b, two) in itertools.combinations(boxes, 2) if one.overlaps(two)]
    return found


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_claimed_of_the_paper_without_its_marks_or_on_its_own_data(name: str) -> None:
    own = small(models=("mlp",), dataset="hce_release", seeds=2)
    figure = drawn(name, own.tables(), own.settings())
    assert figure is not None
    assert "not the data of the paper" not in texts(figure)


@pytest.mark.parametrize("name", FIGURES)
def test_one_run_without_tests_and_intervals_is_drawn_as_not_significant(name: str) -> None:
    study = small(models=("linear",), seeds=1, with_published=name == "class_published_values")
    tables = study.tables()
    tables["contrasts"][["low", "high", "t", "p_value", "p_holm"]] = np.nan
    figure = drawn(name, tables, study.settings())
    assert figure is not None
    if name == "class_contrast":
        assert "(0 significant)" in texts(figure)
    if name in ("study_contrast", "node_class_contrast"):
        means = [line for axes in figure.axes for line in axes.lines if line.get_marker() in ("o", "D")]
        assert means
        assert {line.get_markerfacecolor() for line in means} == {"white"}


@pytest.mark.parametrize("name", FIGURES)
def test_tables_without_rows_leave_nothing_to_draw(name: str, ten: Study, of_ten: Tables) -> None:
    empty = {key: table.head(0) for key, table in of_ten.items()}
    assert drawn(name, empty, ten.settings()) is None
    settings = ten.settings()
    other = replace(settings, release=replace(settings.of_release, views=()))  # rows of no evaluation of the study
    assert drawn(name, of_ten, other) is None


@pytest.mark.parametrize("name", FIGURES)
def test_several_datasets_and_losses_stand_below_each_other(name: str, ten: Study, of_ten: Tables) -> None:
    losses = ("ce", "hce", "hce_logsumexp", "label_updating")
    other = small(models=("mlp",), losses=losses, seeds=2, studies=3, dataset="simulated")
    settings, more = ten.settings(), other.settings()
    one, two = settings.of_release, more.of_release
    settings = replace(
        settings,
        datasets={**settings.datasets, "simulated": "A simulated world"},
        release=replace(
            one,
            views=one.views + two.views,
            methods=tuple(dict.fromkeys(one.methods + two.methods)),
            contrasts=tuple(dict.fromkeys(one.contrasts + two.contrasts)),
        ),
    )
    tables = {key: pd.concat([table, other.tables()[key]]) for key, table in of_ten.items()}
    figure = drawn(name, tables, settings)
    assert figure is not None
    said = texts(figure)
    assert "Lung: Travaglini" in said
    assert "A simulated world" in said
    if name == "loss_contrast":
        assert f"MLP: label updating {MINUS} CE" in said.replace("\n", " ")
    assert not hidden(figure)


def test_the_same_tables_give_the_same_file(ten: Study, of_ten: Tables, tmp_path: Path) -> None:
    paths = {}
    for table in figure_facts("class_graph").tables:
        paths[table] = str(tmp_path / f"{table}.csv")
        of_ten[table].to_csv(paths[table], index=False)
    files = []
    for i in range(2):
        pdf, png = tmp_path / f"{i}.pdf", tmp_path / f"{i}.png"
        draw_figure("class_graph", paths, ten.settings(), pdf=str(pdf), png=str(png))
        files.append((pdf.read_bytes(), png.read_bytes()))
    assert files[0] == files[1]
    assert files[0][1][:4] == b"\x89PNG"


def test_published_values_stand_where_they_were_printed(ten: Study, of_ten: Tables) -> None:
    published = of_ten["published_values"]
    digitised = {"set": "id", "loss": "ce", "model": "mlp", "metric": "ontology_macro_f1", "level": "overall"}
    digitised |= {"label_set": 80, "kind": "digitised", "value": 0.111, "dataset": "hce_release", "group": "all"}
    more = of_ten | {"published_values": pd.concat([published, pd.DataFrame([digitised])])}
    figure = drawn("release_scores", more, ten.settings())
    assert figure is not None
    inside, outside = figure.axes

    def hollow(axes: Any) -> set[float]:
        return {float(line.get_ydata()[0]) for line in axes.lines if line.get_markerfacecolor() == "white"}

    assert hollow(inside) == {0.80, 0.82, 0.84, 0.78, 0.82 - 0.02, 0.84 - 0.02}  # printed goes before digitised
    assert hollow(outside) == {0.55, 0.57, 0.52}


@pytest.mark.parametrize("name", ["release_scores", "loss_contrast", "class_published_values"])
def test_simulated_cells_stand_beside_no_published_value(name: str, ten: Study, of_ten: Tables) -> None:
    settings = ten.settings()
    settings = replace(settings, release=replace(settings.of_release, simulated=(ten.dataset,)))
    figure = drawn(name, of_ten, settings)
    if name == "class_published_values":
        assert figure is None
        return
    assert figure is not None
    assert not [line for axes in figure.axes for line in axes.lines if line.get_color() == "black" and
                line.get_markerfacecolor() == "white"]  # fmt: skip
    assert "published" not in texts(figure)


def test_the_dashed_reference_is_the_value_on_the_classes_of_the_newer_release(ten: Study, of_ten: Tables) -> None:
    scores = of_ten["scores"]
    chosen = scores[(scores["label_set"] == "ood") & (scores["split"] == "release_id") & (scores["method"] == "mlp_ce")]
    figure = drawn("release_scores", of_ten, ten.settings())
    assert figure is not None
    for axes in figure.axes:
        heights = {round(float(path.vertices[0, 1]), 6) for c in axes.collections for path in c.get_paths()}
        assert round(float(chosen["value"].mean()), 6) in heights


def test_names_of_a_large_graph_never_overlap(real_data: Path) -> None:
    study = paper(real_data, models=("mlp",), seeds=2)
    nodes = study.tables()
    figure = drawn("class_graph", nodes, study.settings())
    assert figure is not None
    axes = max(figure.axes, key=lambda one: len(one.texts))
    names = [text for text in axes.texts if text.get_fontstyle() == "normal"]
    assert len(names) == 164
    boxes = [(text.get_text(), text.get_window_extent()) for text in names]
    assert not [
        (a, b) for (a, one), (b, two) in itertools.combinations(boxes, 2) if one.shrunk(0.97, 0.9).overlaps(two)
    ]
    spots = np.concatenate([c.get_offsets() for c in axes.collections])
    sizes = np.concatenate([np.sqrt(c.get_sizes()) / 72 for c in axes.collections])
    apart = np.linalg.norm(spots[:, None] - spots[None], axis=-1) + np.eye(len(spots)) * 9
    assert (apart >= (sizes[:, None] + sizes[None]) / 2 - 1e-6).all()  # circles do not touch either
    width, height = figure.get_size_inches()
    assert width < 14
    assert height < 13
    page = figure.bbox
    assert all(page.contains(box.x0, box.y0) and page.contains(box.x1, box.y1) for _, box in boxes)


def test_rows_of_eighty_classes_never_overlap(real_data: Path) -> None:
    study = paper(real_data, seeds=2)
    figure = drawn("class_contrast", study.tables(), study.settings())
    assert figure is not None
    assert not hidden(figure)
    assert "of 80" in texts(figure)
