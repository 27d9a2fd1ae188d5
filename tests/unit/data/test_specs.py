"""What is promised: every study gives the specs of its data jobs, and they reach the driver unchanged."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from annobench.config.entities import available
from annobench.config.schema import load_schema, load_yaml
from annobench.config.study import Study, load_study
from annobench.core import codehash
from annobench.core.paths import LIBRARY, ROOT, SCRIPTS
from annobench.core.spec import Spec
from annobench.data.census.spec import CensusSpec, ChunkSpec, ReleaseSpec
from annobench.data.prepare.spec import DatasetSpec
from annobench.data.spec import DownloadSpec, OntologySpec, PanelSpec, SourceSpec
from annobench.workflow.census import CensusRules
from annobench.workflow.data import DataRules
from helpers import annobench, clone, source_h5ad

KINDS = sorted(path.stem for path in (LIBRARY / "data" / "sources").glob("*.py") if path.stem != "__init__")
STUDIES = [None, *available("studies", ROOT)]


@cache
def study(name: str | None) -> Study:
    text = load_yaml(ROOT / "config" / "config.yaml")
    if name:
        text |= load_yaml(ROOT / "config" / "studies" / f"{name}.yaml")
    return load_study(text, ROOT, f"{name}.yaml")


def travels(kind: type[Spec], params: dict[str, Any]) -> Any:
    """Read params as a driver does; they must be plain, sorted and complete."""
    text = json.dumps(params)
    assert text == json.dumps(params, sort_keys=True)
    read = kind.from_params(json.loads(text))
    assert read.to_params() == params
    return read


@pytest.mark.parametrize("name", STUDIES)
def test_every_dataset_of_a_study_has_its_specs(name: str | None) -> None:
    found = study(name)
    rules, census = DataRules(found), CensusRules(found)
    assert travels(OntologySpec, rules.ontology_spec(SimpleNamespace())) == rules.ontology()
    for dataset, text in found.datasets.items():
        where = SimpleNamespace(dataset=dataset)
        spec = travels(DatasetSpec, rules.dataset_spec(where))
        assert (spec.parts == ()) == ("source" in text)
        assert (spec.pair is None, spec.combined is None) == ("pair" not in text, "combined" not in text)
        if "source" not in text:
            continue
        source = travels(SourceSpec, rules.source_spec(where))
        assert source == rules.source(where)
        assert type(source).__module__ == f"annobench.data.sources.{text['source']['kind']}"
        assert len(rules.fetch_code(where)) == 12
        assert rules.fetch_memory_mb(where, 1) > 0
        assert all(isinstance(paths, list) for paths in rules.fetch_inputs(where).values())
        if isinstance(source, CensusSpec):
            assert travels(CensusSpec, census.select_spec(where)).release == source.release
            assert travels(ChunkSpec, census.chunk_spec(where)) == source.chunk()


@pytest.mark.parametrize("name", STUDIES)
def test_panels_downloads_and_releases_of_a_study_have_their_specs(name: str | None) -> None:
    found = study(name)
    rules, census = DataRules(found), CensusRules(found)
    for panel in found.panels:
        spec = travels(PanelSpec, rules.panel_spec(SimpleNamespace(panel=panel)))
        assert spec.source.kind in ("url", "local")
        assert len(rules.panel_code(SimpleNamespace(panel=panel))) == 12
    for method, text in found.methods.items():
        for download in text["downloads"]:
            params = rules.download_spec(SimpleNamespace(method=method, download=download))
            assert travels(DownloadSpec, params).file == text["downloads"][download]["file"]
    for built, release in found.releases.items():
        for date, parts in release["releases"].items():
            spec = travels(ReleaseSpec, census.built_spec(SimpleNamespace(built=built, date=date)))
            assert sorted(spec.parts) == sorted(parts)
            assert set(parts) <= set(spec.family)


@pytest.mark.parametrize("name", available("datasets", ROOT))
def test_every_dataset_of_the_repository_has_its_specs(name: str) -> None:
    from annobench.config.entities import load_dataset

    dataset = load_dataset(name, ROOT, "test")
    travels(DatasetSpec, DatasetSpec.of(dataset).to_params())
    if "source" in dataset:
        travels(SourceSpec, SourceSpec.from_params(dataset["source"]).to_params())


# kinds of sources


def test_every_kind_is_one_module_and_one_schema() -> None:
    variants = load_schema("dataset")["properties"]["source"]["oneOf"]
    assert sorted(variant["properties"]["kind"]["const"] for variant in variants) == KINDS
    assert sorted(path.stem for path in (ROOT / "workflow" / "schemas" / "sources").glob("*.yaml")) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_a_spec_has_the_keys_and_defaults_of_its_schema(kind: str) -> None:
    from dataclasses import MISSING, fields
    from importlib import import_module

    source = import_module(f"annobench.data.sources.{kind}").Source
    (schema,) = (
        variant
        for variant in load_schema("dataset")["properties"]["source"]["oneOf"]
        if variant["properties"]["kind"]["const"] == kind
    )
    assert {field.name for field in fields(source)} == set(schema["properties"])
    for field in fields(source):
        stated = schema["properties"][field.name].get("default")
        if stated is not None and field.default is not MISSING:
            assert field.default == stated, field.name
    needed = {field.name for field in fields(source) if field.default is MISSING}
    assert set(schema["required"]) <= needed


def test_what_the_rules_of_data_import_is_light() -> None:
    code = (
        "import sys, annobench.workflow.data, annobench.workflow.census; from importlib import import_module; "
        f"[import_module(f'annobench.data.sources.{{kind}}') for kind in {KINDS}]; "
        "print(sorted({'numpy', 'pandas', 'scipy', 'anndata', 'requests', 'pyarrow'} & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def reached(*modules: str) -> set[str]:
    """Modules whose code counts for a rule that begins with `modules`."""
    seen: set[str] = set()
    queue = list(modules)
    while queue:
        module = queue.pop()
        if module not in seen:
            seen.add(module)
            queue.extend(codehash._imports(module))
    return seen


@pytest.mark.parametrize("kind", KINDS)
def test_the_code_of_a_kind_counts_for_that_kind_alone(kind: str) -> None:
    seen = reached("annobench.data.fetch", f"annobench.data.sources.{kind}")
    assert {m for m in seen if m.startswith("annobench.data.sources.")} >= {f"annobench.data.sources.{kind}"}
    assert not {f"annobench.data.sources.{other}" for other in KINDS if other != kind} & seen
    assert ("annobench.ontology" in seen) == (kind == "simulate")


def test_preparing_depends_on_no_source() -> None:
    assert not [
        m for m in reached("prepare_dataset") if "sources" in m or "download" in m or m == "annobench.data.spec"
    ]


MODULE = '''"""Cells that a colleague left in a folder."""

from dataclasses import dataclass
from pathlib import Path

from annobench.core.progress import Report
from annobench.data.sources.shared.paths import stated_path
from annobench.data.spec import Fetched, Given, SourceSpec


@dataclass(frozen=True)
class Source(SourceSpec):
    """`place` is the folder."""

    place: str

    def files(self) -> list[Path]:
        """The one file in it."""
        return sorted(Path(self.place).glob("*.h5ad"))

    def memory_mb(self, stated: int) -> int:
        """Half of what preparing takes."""
        return stated // 2

    def fetch(self, folder: Path, given: Given, report: Report) -> Fetched:
        """Copy the file."""
        from shutil import copyfile

        (file,) = stated_path(self.place).glob("*.h5ad")
        copyfile(file, folder / file.name)
        report(f"{file.name}: copied")
        return Fetched(folder / file.name, [{"step": "folder", "place": self.place}])
'''
SCHEMA = """title: folder
type: object
additionalProperties: false
required: [kind, place]
properties:
  kind: {description: Cells that a colleague left in a folder., const: folder}
  place: {description: The folder., type: string}
"""
DATASET = """label: Mine
summary: Six cells.
citation: None.
licence: None.
source: {kind: folder, place: %s}
cells: {label_id: cl, study: lab}
resources: {memory_mb: 500}
"""
STUDY = """study: mine
methods: [majority]
controls: []
evaluations: [{dataset: mine, regime: holdout}]
"""


def test_a_kind_is_added_by_its_module_and_its_schema_alone(tmp_path: Path) -> None:
    repo = clone(tmp_path)
    (repo / "scripts/annobench/data/sources/folder.py").write_text(MODULE)
    (repo / "workflow/schemas/sources/folder.yaml").write_text(SCHEMA)
    (tmp_path / "place").mkdir()
    source_h5ad(tmp_path / "place" / "theirs.h5ad", cl=["CL:0000236", "CL:0000084"] * 3, lab=["x"] * 6)
    (repo / "config/datasets/mine.yaml").write_text(DATASET % (tmp_path / "place"))
    (repo / "config/studies/mine.yaml").write_text(STUDY)
    run = ["run", "--study", "mine", "--", "--quiet", "--cores", "1", "results/data/mine/card.json"]
    done = annobench(repo, *run)
    assert done.returncode == 0, done.stdout + done.stderr
    card = json.loads((repo / "results/data/mine/card.json").read_text())
    assert card["source"]["steps"] == [{"step": "folder", "place": str(tmp_path / "place")}]
    assert (card["cells"], card["studies"]) == (6, {"x": 6})
    assert "nothing to be done" in annobench(repo, *run).stderr
    wrong = (repo / "config/datasets/mine.yaml").read_text().replace("place:", "plaec:")
    (repo / "config/datasets/mine.yaml").write_text(wrong)
    done = annobench(repo, *run)
    assert done.returncode != 0
    assert "source: unknown key 'plaec'; did you mean 'place'?" in done.stdout + done.stderr
