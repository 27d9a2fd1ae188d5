"""What wrong labels of the test cells do to a ranking, and which labels the methods dispute.

`label_noise`: a share of the true labels is flipped along the edges of the ontology: to a parent, a child or a sibling
among the true classes of the evaluation, each with the same chance. The same cells are flipped for all methods. Cells
of a class without such a neighbour keep their label, and are not counted as flipped.

`disputed`: test cells for which all good methods give the same answer in all fits, and it is not the label. A method is
good where it scores better than every control without information.

`misplaced`: for every method the test cells that it gets wrong most often, then those with the highest confidence.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from annobench.core.parquet import Categorical
from annobench.ontology import UNKNOWN, Ontology
from annobench.ontology.tree import class_tree
from annobench.score import statistics as stats
from annobench.score.audit.controls import NO_INFORMATION
from annobench.score.counts import Classes, UnitCounts
from annobench.score.metric import COUNTS, Metric
from annobench.score.registry import METRICS
from annobench.score.samples import evaluate
from annobench.score.scored import Scored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Codes = NDArray[np.int32]

SHARES = (0.05, 0.1, 0.2)
DRAWS = 20
_FEWEST = 2  # good methods that can dispute a label
MISPLACED = 50  # cells of a method that are listed
_STREAM = 0x1A
Labelling = tuple[str, str]  # kind and name
Split = tuple[str, int]  # split and seed


def neighbours(classes: Sequence[str], ontology: Ontology) -> dict[str, list[str]]:
    """Parents, children and siblings of every class among the classes.

    A parent is the nearest class above, whatever lies between; siblings have a parent in the tree of classes in common.
    """
    real = sorted(set(classes) - {UNKNOWN})
    near: dict[str, set[str]] = {label: set() for label in real}
    for above, below in ontology.reduced_edges(real):
        near[above].add(below)
        near[below].add(above)
    parents = {node["label_id"]: node["parent"] for node in class_tree(real, ontology)}
    for label in real:
        near[label] |= {other for other in real if parents.get(label) and parents.get(other) == parents[label]}
    return {label: sorted(of - {label}) for label, of in near.items()}


class Answers:
    """The answers of all labellings of an evaluation, cell by cell.

    Parameters
    ----------
    ontology
        Relates the labels.
    primary
        The metric that ranks. Macro F1 stands for one that does not come from counts by class.
    """

    def __init__(self, ontology: Ontology, primary: str) -> None:
        metric = METRICS[primary]
        self.metric: Metric = metric if metric.basis == COUNTS and metric.level == "overall" else METRICS["macro_f1"]
        self.ontology = ontology
        self._names: list[str] = []
        self._number: dict[str, int] = {}
        self._cells: dict[Split, tuple[list[str], Codes, Categorical, Categorical]] = {}
        self._answers: dict[Labelling, dict[Split, Codes]] = {}
        self._confidence: dict[tuple[str, Split], NDArray[np.floating]] = {}  # of methods

    def add_cells(
        self, split: Split, ids: Sequence[str], truth: Categorical, study: Categorical, donor: Categorical
    ) -> None:
        """The tested cells of one split with one seed: id, true label, study and donor, (n,) each."""
        self._cells[split] = (list(ids), self._coded(truth), study, donor)

    def add(self, labelling: Labelling, split: Split, scored: Scored) -> None:
        """The first labels of a labelling, of the cells of `add_cells`."""
        answer = Categorical(scored.predicted_codes, list(scored.names))
        self._answers.setdefault(labelling, {})[split] = self._coded(answer)
        if labelling[0] == "method" and scored.confidence is not None:
            self._confidence[labelling[1], split] = scored.confidence

    def _coded(self, values: Categorical) -> "Codes":
        """Numbers of labels, the same for all labellings."""
        for name in sorted(values.counts()):
            if name not in self._number:
                self._number[name] = len(self._names)
                self._names.append(name)
        return np.asarray(values.recode(self._names), dtype=np.int32)

    @property
    def methods(self) -> list[str]:
        """Methods that answer."""
        return [name for kind, name in self._answers if kind == "method"]

    def _score(self, labelling: Labelling, truths: "dict[Split, Codes]", classes: Classes) -> float:
        """The metric, mean over splits of the mean over seeds."""
        samples: dict[stats.Key, UnitCounts] = {}
        size = len(self._names)
        for split, answers in self._answers[labelling].items():
            places, cells = np.unique(truths[split].astype(np.int64) * size + answers, return_counts=True)
            unit = np.zeros(len(places), dtype=np.intp)
            samples[split] = UnitCounts(["all"], unit, places // size, places % size, cells=cells, classes=classes)
        by_split: dict[str, list[float]] = {}
        for (name, _), one in samples.items():
            by_split.setdefault(name, []).append(float(evaluate(self.metric, one.observed())))
        return float(np.mean([np.mean(of) for of in by_split.values()]))

    def noise_rows(self) -> Iterator[tuple[str, float, int, str, float, float]]:
        """Metric, share, draw, method, share of cells that were flipped, and value; first of the labels as they are."""
        if not self.methods:
            return
        classes = Classes(self._names, self.ontology)
        truths = {split: truth for split, (_, truth, _, _) in self._cells.items()}
        for name in self.methods:
            yield self.metric.name, 0.0, 0, name, 0.0, self._score(("method", name), truths, classes)
        tested = sorted({self._names[code] for truth in truths.values() for code in np.unique(truth)})
        near = neighbours(tested, self.ontology)
        for share in SHARES:
            for draw in range(DRAWS):
                flipped = {
                    split: self._flipped(truth, near, share, [draw, crc32(split[0].encode())])
                    for split, truth in truths.items()
                }
                changed = sum(int((flipped[split] != truths[split]).sum()) for split in truths)
                moved = changed / max(1, sum(map(len, truths.values())))
                for name in self.methods:
                    yield self.metric.name, share, draw, name, moved, self._score(("method", name), flipped, classes)

    def _flipped(self, truth: "Codes", near: dict[str, list[str]], share: float, seed: list[int]) -> "Codes":
        """True labels of which a share is flipped; the same cells of a split for the same seed."""
        rng = np.random.default_rng([_STREAM, round(1000 * share), *seed])
        cells = rng.permutation(len(truth))[: round(share * len(truth))]
        drawn = rng.random(len(truth))  # by cell, so that it does not depend on the others
        flipped = truth.copy()
        for code in np.unique(truth[cells]):
            choices = np.array([self._number[label] for label in near.get(self._names[code], [])], dtype=np.int32)
            mine = cells[truth[cells] == code]
            if len(choices):
                flipped[mine] = choices[(drawn[mine] * len(choices)).astype(int)]
        return flipped

    def good(self) -> list[str]:
        """Methods that score better than every control without information."""
        classes = Classes(self._names, self.ontology)
        truths = {split: truth for split, (_, truth, _, _) in self._cells.items()}
        loss = {one: self.metric.loss(self._score(one, truths, classes)) for one in self._answers}
        blind = [loss["control", name] for name in NO_INFORMATION if ("control", name) in loss]
        return [name for name in self.methods if all(loss["method", name] < one for one in blind)]

    def disputed_rows(self) -> Iterator[tuple[str, str, str, int, int, str, str]]:
        """Cell, label, answer, number of methods, number of fits, study and donor of every disputed cell."""
        good = self.good()
        if len(good) < _FEWEST:
            return
        said: dict[str, tuple[int, int, int, str, str]] = {}  # cell -> truth, answer or -1, fits, study, donor
        for split, (ids, truth, study, donor) in self._cells.items():
            answers = [self._answers["method", name][split] for name in good if split in self._answers["method", name]]
            if not answers:
                continue
            same = np.all([one == answers[0] for one in answers], axis=0) & (answers[0] != truth)
            agreed = np.where(same, answers[0], -1)
            for cell, true, answer, of, by in zip(
                ids, truth.tolist(), agreed.tolist(), study.to_text(), donor.to_text(), strict=True
            ):
                before = said.get(cell)
                fits = len(answers) + (before[2] if before else 0)
                answer = answer if before is None or before[1] == answer else -1
                said[cell] = (true, answer, fits, str(of), str(by))
        for cell, (true, answer, fits, of, by) in said.items():
            if answer >= 0 and self._names[answer] != UNKNOWN:
                yield cell, self._names[true], self._names[answer], len(good), fits, of, by

    def misplaced_rows(self) -> Iterator[tuple[str, str, str, str, float, int, int, str, str]]:
        """Method, cell, label, most frequent wrong answer, mean confidence in the wrong answers, number of fits that
        are wrong and that tested the cell, study and donor; of every method the cells that it misplaces worst.
        """
        for method in self.methods:
            yield from self._misplaced(method)

    def _misplaced(self, method: str) -> Iterator[tuple[str, str, str, str, float, int, int, str, str]]:
        wrong: dict[str, list[tuple[int, float]]] = {}  # cell -> answers and confidences
        n_fits: Counter[str] = Counter()
        about: dict[str, tuple[int, str, str]] = {}  # cell -> truth, study, donor
        for split, answers in self._answers["method", method].items():
            ids, truth, study, donor = self._cells[split]
            n_fits.update(ids)
            confidence = self._confidence.get((method, split), np.full(len(ids), np.nan))
            places = np.flatnonzero(answers != truth)
            of, by = study[places].to_text(), donor[places].to_text()
            for i, one, other in zip(places.tolist(), of, by, strict=True):
                wrong.setdefault(ids[i], []).append((int(answers[i]), float(confidence[i])))
                about[ids[i]] = (int(truth[i]), str(one), str(other))
        rows = []
        for cell, given in wrong.items():
            (answer, _), *_ = Counter(code for code, _ in given).most_common(1)
            rows.append((len(given), float(np.mean([one for _, one in given])), cell, answer))
        # a method without confidences has NaN throughout: then the id decides
        rows.sort(key=lambda row: (-row[0] / n_fits[row[2]], -row[1] if row[1] == row[1] else 0.0, row[2]))
        for n_wrong, mean, cell, answer in rows[:MISPLACED]:
            true, of_study, of_donor = about[cell]
            names = (self._names[true], self._names[answer])
            yield method, cell, *names, mean, n_wrong, n_fits[cell], of_study, of_donor
