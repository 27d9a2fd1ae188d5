"""What the rules of report.smk ask for."""

from annobench.config.figures import figure_facts
from annobench.config.metrics import metric_facts
from annobench.config.tables import table_facts, tables
from annobench.core.codehash import code_hash
from annobench.core.files import sha256_of
from annobench.report.settings import DatasetEntry, FigureEntry, MethodEntry, Provenance, ReportSettings, TableEntry
from annobench.workflow.common import Chapter, Wildcards
from annobench.workflow.figures import FigureRules


class ReportRules(Chapter):
    """Inputs, params and resources as functions of wildcards."""

    def tables(self, wildcards: Wildcards) -> dict[str, str]:
        """All tables by name."""
        return self.targets.tables()

    def provenance(self, wildcards: Wildcards) -> dict[str, object]:
        """The whole configuration, as resolved."""
        study = self.study
        return Provenance(study.settings, study.datasets, study.methods, study.checkpoints).to_params()

    def settings(self, wildcards: Wildcards) -> ReportSettings:
        """What the page uses of the study."""
        settings = self.study.settings
        figures = FigureRules(self.study, self.root, self.results)
        methods = ((name, method) for name, method in self.study.methods.items())
        described = ("label", "summary", "citation", "licence")
        return ReportSettings(
            study=settings["study"],
            title=settings["title"],
            question=settings["question"],
            primary=metric_facts()[settings["scoring"]["primary"]].label,
            level=settings["statistics"]["confidence"],
            min_units=settings["statistics"]["min_units"],
            ontology=settings["ontology"]["release"],
            partial=settings["partial"],
            methods=tuple(
                MethodEntry(method=name, kind=method["kind"], **{key: method[key] for key in described})
                for name, method in methods
            ),
            tables=tuple(_table_entry(name) for name in sorted(tables())),
            datasets={
                name: DatasetEntry(run_here=dataset["run_here"], **{key: dataset[key] for key in described})
                for name, dataset in self.study.datasets.items()
            },
            evaluations=self.evaluation_names(),
            figures={
                name: FigureEntry(figure_facts(name).title, figures.caption_of(name))
                for name in self.targets.figure_names
            },
        )

    def params(self, wildcards: Wildcards) -> dict[str, object]:
        """The settings, as the driver reads them."""
        return self.settings(wildcards).to_params()

    def code(self, wildcards: Wildcards) -> str:
        """Hash of the code of the pages, of their templates, and of the works that are cited."""
        templates = sorted((self.root / "scripts" / "annobench" / "report").glob("*.jinja"))
        files = [*templates, self.root / "config" / "references.yaml"]
        return code_hash("annobench.report.page") + "".join(sha256_of(file)[:12] for file in files)


def _table_entry(name: str) -> TableEntry:
    facts = table_facts(name)
    return TableEntry(name, facts.meaning, tuple(facts.columns.items()))
