"""The datasets of cz-benchmarks are declared with their public addresses, and say that they were not run here."""

import pytest
import yaml

from annobench.config.entities import available, load_dataset
from annobench.core.paths import ROOT

TISSUES = [name for name in available("datasets", ROOT) if name.startswith("tsv2_")]
SPECIES = [name for name in available("datasets", ROOT) if name.endswith("_spermatogenesis")]


def test_all_tissues_and_species_are_there() -> None:
    assert len(TISSUES) == 26
    assert len(SPECIES) == 9
    datasets = [load_dataset(name, ROOT, "") for name in [*TISSUES, *SPECIES]]
    assert len({dataset["source"]["urls"][0] for dataset in datasets}) == 35
    assert len({dataset["source"]["file"] for dataset in datasets}) == 35
    assert len({load_dataset(name, ROOT, "")["cells"]["columns"]["organism"] for name in SPECIES}) == 9


@pytest.mark.parametrize("name", [*TISSUES, *SPECIES])
def test_a_dataset_of_the_peer(name: str) -> None:
    dataset = load_dataset(name, ROOT, "")
    assert not dataset["run_here"]
    (url,) = dataset["source"]["urls"]
    assert url.startswith("https://cz-benchmarks-data.s3.amazonaws.com/datasets/v1/")
    assert url.endswith("_curated.h5ad")
    assert "organism" in dataset["cells"]["columns"]
    text = (ROOT / "config" / "datasets" / f"{name}.yaml").read_text()
    if "extends" in yaml.safe_load(text):
        assert len(text.splitlines()) < 10
