"""Files of a study: where everything lies that a run makes.

Imported while the Snakefile is parsed: the standard library and light modules only.
"""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from annobench.config.results import AUDIT, Results, View
from annobench.config.split import Split
from annobench.config.study import Study
from annobench.config.tables import tables
from annobench.figures.shared.needs import drawable


class Targets:
    """Files of the study."""

    def __init__(self, study: Study, results: Results | None = None) -> None:
        self.study, self.results = study, results or Results()

    @property
    def ontology(self) -> str:
        """JSON of the study's ontology release."""
        settings = self.study.settings["ontology"]
        return self.results.ontology(settings["release"], settings["source"])

    def panel(self, name: str) -> str:
        """Genes of a panel."""
        return self.results.panel(name)

    def tables(self, names: Iterable[str] | None = None) -> dict[str, str]:
        """Files of tables by name; of all tables where none is named."""
        return {name: self.results.table(self.study.name, name) for name in (tables() if names is None else names)}

    @cached_property
    def figure_names(self) -> list[str]:
        """Figures for which the study has data."""
        return drawable(self.study)

    def figures(self, *suffixes: str) -> list[str]:
        """Files of all figures, as PDF and PNG where no suffix is named."""
        return [
            self.results.figure(self.study.name, name, suffix)
            for name in self.figure_names
            for suffix in suffixes or (".pdf", ".png")
        ]

    def audit(self) -> dict[str, list[str]]:
        """Tables of the audits of all evaluations, by name; for a partial study of those that have a fit."""
        places = [
            self.results.audit(self.study.name, dataset, name)
            for (dataset, name), splits in self.study.evaluations().items()
            if not self.study.settings["partial"] or any(self._has_fit(split) for split in splits)
        ]
        return {table: [place[table] for place in places] for table in AUDIT}

    def _has_fit(self, split: Split) -> bool:
        """Whether a fit of a split has a record."""
        views = (View(split.dataset, split.name, m, seed) for m in split.methods for seed in split.seeds)
        return any(Path(self.results.run(self.study.fit_of(view))).is_file() for view in views)

    def report(self) -> str:
        """The page."""
        return self.results.report(self.study.name)

    def provenance(self) -> str:
        """The provenance record."""
        return self.results.provenance(self.study.name)

    def there(self, paths: list[str]) -> list[str]:
        """All paths; for a partial study those that exist, so that no missing fit is started for it."""
        return [path for path in paths if Path(path).is_file()] if self.study.settings["partial"] else paths

    def cards(self) -> list[str]:
        """Cards of all datasets, the components of pairs included."""
        return self.there([self.results.card(name) for name in self.study.datasets])

    def data(self) -> list[str]:
        """Prepared matrices of all datasets."""
        return [self.results.cells(name) for name in self.study.datasets]

    def downloads(self, *methods: str) -> list[str]:
        """Records of the files that methods declare; of all methods where none is named."""
        return [
            self.results.download(method, name)
            for method in methods or self.study.methods
            for name in self.study.methods[method]["downloads"]
            if self.study.methods[method]["fitted"] == method
        ]

    def checkpoints(self) -> list[str]:
        """Folders of all checkpoints."""
        return [self.results.checkpoint(name) for name in self.study.checkpoints]

    def tokens(self) -> list[str]:
        """Folders of the tokens that fits read, each once."""
        read = ((fit.dataset, self.study.methods[fit.method]["checkpoint"]) for fit in self.study.fits())
        return list(dict.fromkeys(self.results.tokens(dataset, name) for dataset, name in read if name))

    def obs(self) -> list[str]:
        """Observations of the datasets that are evaluated."""
        return self.there([self.results.obs(name) for name in self.study.scored_datasets()])

    def splits(self) -> list[str]:
        """Roles of all splits and seeds."""
        splits = self.study.splits.values()
        return self.there([self.results.roles(s.dataset, s.name, seed) for s in splits for seed in s.seeds])

    def train(self) -> list[str]:
        """Training selections of all splits that are fitted, and seeds."""
        fitted = dict.fromkeys((s.dataset, s.fitted, seed) for s in self.study.splits.values() for seed in s.seeds)
        return self.there([self.results.train(*one) for one in fitted])
