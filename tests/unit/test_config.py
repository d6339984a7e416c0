from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from countae import config
from countae.errors import ConfigError

ROOT = Path(__file__).parents[2]


def test_an_empty_configuration_has_every_default():
    full = config.validated({})
    assert full["likelihoods"] == ["mse_counts", "mse_log1p", "poisson", "nb", "zinb"]
    assert full["network"] == {
        "hidden": [128], "latent": 10, "dropout": 0.3, "norm": "layer", "activation": "relu",
        "weights": "free", "bottleneck": "plain", "kl_weight": 1.0, "kl_warm_up": 20,
        "conditions": [], "library": "observed", "latent_steps": 0,
    }  # fmt: skip
    assert set(full) == set(config.schema()["properties"])


def test_every_key_has_a_description_and_a_default():
    def keys(rules):
        for key, rule in rules["properties"].items():
            yield key, rule
            if rule["type"] == "object":
                yield from keys(rule)

    for key, rule in keys(config.schema()):
        assert rule["description"], key
        assert "default" in rule, key
        assert rule["type"] != "object" or rule["additionalProperties"] is False, key


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"likelihood": ["nb"]}, "unknown key 'likelihood'. Did you mean 'likelihoods'?"),
        ({"network": {"latnt": 3}}, "unknown key 'latnt' in network. Did you mean 'latent'?"),
        ({"network": {"latent": 0}}, "network.latent: 0 is less than the minimum of 1"),
        ({"seeds": [0, 0]}, "seeds: [0, 0] has non-unique elements"),
        ({"seeds": ["a"]}, "seeds.0: 'a' is not of type 'integer'"),
        ({"likelihoods": ["nb", "zimb"]}, "no likelihood called 'zimb'. Did you mean 'zinb'?"),
        ({"metrics": ["log_scor"]}, "no metric called 'log_scor'. Did you mean 'log_score'?"),
        ({"baselines": ["gene_men"]}, "no baseline called 'gene_men'. Did you mean 'gene_mean'?"),
        ({"likelihoods": ["poisson", "zinb"]}, "verdict.control must be one of the likelihoods"),
        ({"device": "gpu"}, "device: 'gpu' is not one of"),
        ({"seeds": [0, 10**20]}, f"seeds.1: {10**20} is greater than the maximum of 4294967295"),
        ({"split": {"split_seed": 2**32}}, "split.split_seed: 4294967296 is greater"),
        ({"simulate": {"simulation_seed": 2**32}}, "simulation_seed: 4294967296 is greater"),
        ({"tuning": {"tuning_seed": 2**32}}, "tuning_seed: 4294967296 is greater"),
    ],
)
def test_a_wrong_configuration_is_told_with_its_place_and_a_proposal(given, words):
    with pytest.raises(ConfigError) as error:
        config.validated(given, where="config.yaml")
    assert words in str(error.value)


@pytest.mark.parametrize("text", [".nan", ".inf", "-.inf"])
@pytest.mark.parametrize(
    ("section", "key", "form"),
    [
        ("split", "test_fraction", "{}"),
        ("training", "learning_rate", "{}"),
        ("verdict", "level", "{}"),
        ("tuning", "learning_rates", "[0.1, {}]"),
    ],
)
def test_a_number_that_is_not_finite_is_told_with_its_place(tmp_path, text, section, key, form):
    path = tmp_path / "config.yaml"
    path.write_text(f"{section}:\n  {key}: {form.format(text)}\n")
    with pytest.raises(ConfigError, match=rf"config.yaml: {section}\.{key}(\.1)?: "):
        config.read_config(path)
    if text == ".nan":
        with pytest.raises(ConfigError, match=r"must be a finite number, but is nan\. Fix:"):
            config.read_config(path)


def test_a_missing_or_broken_file_is_told(tmp_path):
    (tmp_path / "config.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="not readable as YAML"):
        config.read_config(tmp_path / "config.yaml")
    with pytest.raises(ConfigError, match=r"nothing there.*Did you mean 'config.yaml'\?"):
        config.read_config(tmp_path / "configg.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(ConfigError, match="found list"):
        config.read_config(tmp_path / "list.yaml")


HEADER = "id\tsource\tgenes\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEADER, "found no data set"),
        ("", "found no data set"),
        ("id\tsorce\nx\ty\n", "unknown key 'sorce'. Did you mean 'source'?"),
        (HEADER + "x\ty\tall\nx\tz\tall\n", "id 'x' stands in the table twice"),
        (HEADER + "x\ty\t0\n", "line 2: genes: '0' does not match"),
        (HEADER + "../x\ty\tall\n", "line 2: id: '../x' does not match"),
        (HEADER + "x\ty\tall\textra\n", "more cells than the header"),
        (HEADER + "x\t\tall\n", "'source' is a required property"),
        (HEADER + "x\tsimulate:znb\tall\n", "no simulator called 'znb'. Did you mean"),
    ],
)
def test_a_wrong_table_of_data_sets_is_told_with_its_line(tmp_path, text, words):
    path = tmp_path / "datasets.tsv"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        config.read_datasets(path)
    assert words in str(error.value)


def test_a_row_gets_the_defaults_of_its_empty_cells(tmp_path):
    path = tmp_path / "datasets.tsv"
    path.write_text("id\tsource\tlayer\nx\tcounts.h5ad\t\n")
    row = config.read_datasets(path)["x"]
    assert row["protocol"] == "auto"
    assert row["genes"] == "2000"
    assert row["layer"] == ""


def test_a_gpu_is_asked_for_where_there_is_one_or_it_is_wanted(monkeypatch):
    assert config.gpus_per_fit("cuda") == 1
    assert config.gpus_per_fit("cpu") == 0
    monkeypatch.setattr(config.shutil, "which", lambda name: None)
    assert config.gpus_per_fit("auto") == 0
    monkeypatch.setattr(config.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(Path, "exists", lambda path: True)
    assert config.gpus_per_fit("auto") == 1


def test_the_shipped_configurations_are_valid():
    chosen = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    assert config.validated(chosen)["seeds"] == [0, 1, 2]
    assert len(config.read_datasets(ROOT / "config" / "datasets.tsv")) == 2


def test_the_page_of_keys_is_up_to_date():
    made = subprocess.run(
        [sys.executable, ROOT / "docs" / "config_table.py"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (ROOT / "config" / "README.md").read_text() == made.stdout, "run `make docs`"
