"""What the rules of report.smk ask for."""

from typing import Any

from annobench.core.codehash import code_hash
from annobench.core.files import sha256_of
from annobench.workflow.common import Chapter, canonical
from annobench.workflow.figures import FigureRules


class ReportRules(Chapter):
    """Inputs, params and resources as functions of wildcards."""

    def tables(self, wildcards: Any) -> dict[str, str]:
        """All tables by name."""
        return self.targets.tables()

    def settings(self, wildcards: Any) -> str:
        """What the page uses of the study."""
        settings = self.study.settings
        figures = FigureRules(self.study, self.root, self.results)
        methods = {
            name: {k: m[k] for k in ("label", "summary", "citation", "licence", "kind")}
            for name, m in self.study.methods.items()
        }
        datasets = {
            name: {k: d[k] for k in ("label", "summary", "citation", "licence", "run_here")}
            for name, d in self.study.datasets.items()
        }
        return canonical(
            {
                **{
                    k: settings[k]
                    for k in ("study", "title", "question", "scoring", "statistics", "ontology", "partial")
                },
                "methods": methods,
                "datasets": datasets,
                "evaluations": self.evaluation_names(),
                "captions": {name: figures.caption_of(name) for name in self.targets.figure_names},
            }
        )

    def code(self, wildcards: Any) -> str:
        """Hash of the page's code and template."""
        return (
            code_hash("annobench.report.page")
            + sha256_of(self.root / "scripts" / "annobench" / "report" / "page.html.jinja")[:12]
        )
