"""What the rules of data.smk ask for: see `annobench.workflow.common`."""

import math
from collections.abc import Mapping

from annobench.config.entities import config_file, parts_of
from annobench.core.paths import from_here
from annobench.core.spec import Params
from annobench.data.prepare.spec import DatasetSpec
from annobench.data.spec import DownloadSpec, OntologySpec, OrthologueSpec, PanelSpec, SourceSpec, Surroundings
from annobench.workflow.common import Chapter, Wildcards


class DataRules(Chapter):
    """Inputs, params and resources as functions of wildcards."""

    # sources

    def source(self, wildcards: Wildcards) -> SourceSpec:
        """The source of a dataset."""
        return SourceSpec.from_params(self.study.datasets[wildcards.dataset]["source"])

    def source_spec(self, wildcards: Wildcards) -> Params:
        """The same, for the driver."""
        return self.source(wildcards).to_params()

    def fetch_inputs(self, wildcards: Wildcards) -> dict[str, list[str]]:
        """What a source needs of other rules, and its files on this machine, so that a change is noticed."""
        source = self.source(wildcards)
        near = Surroundings(wildcards.dataset, self.targets.ontology, self.results)
        files = [str(path) for path in source.files()]
        return source.inputs(near) | ({"local": files} if files else {})

    def local_state(self, wildcards: Wildcards) -> list[list[int]]:
        """Size and time (ns) of the files on this machine: they may be replaced by older ones."""
        states = [path.stat() for path in self.source(wildcards).files()]
        return [[state.st_size, state.st_mtime_ns] for state in states]

    def fetch_code(self, wildcards: Wildcards) -> str:
        """Hash of the code that fetches a dataset: its kind of source counts, other kinds do not."""
        return self.code_of("annobench.data.fetch", self._module(self.source(wildcards)))

    def _module(self, source: SourceSpec) -> str:
        return type(source).__module__

    def fetch_memory_mb(self, wildcards: Wildcards, attempt: int) -> int:
        """Memory (MB) of fetching a dataset."""
        return self.source(wildcards).memory_mb(self.memory_mb(wildcards, attempt))

    # preparing

    def dataset_spec(self, wildcards: Wildcards) -> Params:
        """What prepare uses of a dataset file; `unrelated`, for one, is used by fits and the audit only."""
        return DatasetSpec.of(self.study.datasets[wildcards.dataset]).to_params()

    def prepare_inputs(self, wildcards: Wildcards) -> dict[str, str | list[str]]:
        """The source, and the label table if there is one; of a pair or a combined dataset the prepared parts."""
        dataset = self.study.datasets[wildcards.dataset]
        if parts := parts_of(dataset):
            return {
                "parts": [self.results.cells(part) for part in parts],
                "stores": [self.results.store(part) for part in parts],
                "cards": [self.results.card(part) for part in parts],
            }
        inputs: dict[str, str | list[str]] = {**self.results.source(wildcards.dataset)}
        table = dataset["cells"]["label_table"]
        if table:
            inputs["labels"] = from_here(config_file("labels", f"{table}.tsv", self.root, self.study.own))
        return inputs

    def memory_mb(self, wildcards: Wildcards, attempt: int) -> int:
        """Memory (MB) of preparing a dataset."""
        return int(self.study.datasets[wildcards.dataset]["resources"]["memory_mb"] * attempt)

    def minutes(self, wildcards: Wildcards, attempt: int) -> int:
        """Minutes for fetching or preparing a dataset."""
        return math.ceil(self.study.datasets[wildcards.dataset]["resources"]["minutes"] * attempt)

    # ontology, panels, orthologues, files of methods

    def ontology(self) -> OntologySpec:
        """The release of the study."""
        return OntologySpec.from_params(self.study.settings["ontology"])

    def ontology_spec(self, wildcards: Wildcards) -> Params:
        """The same, for the driver."""
        return self.ontology().to_params()

    def ontology_file(self, wildcards: Wildcards) -> list[str]:
        """The OBO or OWL file behind the ontology, so that a change is noticed; empty for the wheel."""
        return self.ontology().files()

    def panel(self, wildcards: Wildcards) -> PanelSpec:
        """What fetching a panel uses of its file."""
        file = self.study.panels[wildcards.panel]
        return PanelSpec.from_params({"source": file["source"], "columns": file["columns"]})

    def panel_spec(self, wildcards: Wildcards) -> Params:
        """The same, for the driver."""
        return self.panel(wildcards).to_params()

    def panel_files(self, wildcards: Wildcards) -> list[str]:
        """The files of this machine behind a panel, so that a change is noticed."""
        return [str(path) for path in self.panel(wildcards).source.files()]

    def panel_code(self, wildcards: Wildcards) -> str:
        """Hash of the code that fetches a panel."""
        return self.code_of("fetch_panel", self._module(self.panel(wildcards).source))

    def orthologue(self, wildcards: Wildcards) -> OrthologueSpec:
        """What fetching a table of orthologues uses of its file."""
        file = self.study.orthologues[wildcards.orthologue]
        return OrthologueSpec.from_params({"source": file["source"], "columns": file["columns"]})

    def orthologue_spec(self, wildcards: Wildcards) -> Mapping[str, object]:
        """The same, for the driver."""
        return self.orthologue(wildcards).to_params()

    def orthologue_files(self, wildcards: Wildcards) -> list[str]:
        """The files of this machine behind a table of orthologues, so that a change is noticed."""
        return [str(path) for path in self.orthologue(wildcards).source.files()]

    def orthologue_code(self, wildcards: Wildcards) -> str:
        """Hash of the code that fetches a table of orthologues."""
        return self.code_of("fetch_orthologues", self._module(self.orthologue(wildcards).source))

    def download_spec(self, wildcards: Wildcards) -> Params:
        """A file that a method declares."""
        download = self.study.methods[wildcards.method]["downloads"][wildcards.download]
        return DownloadSpec.from_params(download).to_params()
