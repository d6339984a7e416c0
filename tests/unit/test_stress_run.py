"""A network under stress: paired with clean scores, trained again only where that is needed."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SETTINGS, prepared
from typer.testing import CliRunner

from countae import stress
from countae.baselines.oracle import Oracle
from countae.cli import app, main
from countae.errors import ScoreError
from countae.fit import fit, save
from countae.score import score_baseline, score_network
from countae.stress_run import endure, scored

NETWORK = SETTINGS["network"] | {"hidden": [8], "latent": 3}
TRAINING = SETTINGS["training"] | {"max_epochs": 6, "patience": 3}
HARD = SETTINGS["stress"] | {"most_groups": 2}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """With two, a product of ten rows is split otherwise than one of 32: other last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def matrix():
    return prepared("simulate:nb", cells=160, genes=30, label_key="cell_type")[0]


@pytest.fixture(scope="module")
def fitted(matrix):
    return fit(matrix, "nb", seed=1, network=NETWORK, training=TRAINING)


@pytest.fixture(scope="module")
def record(fitted):
    return json.loads(json.dumps(vars(fitted[1])))


def under(matrix, fitted, record, **tests):
    return endure(matrix, fitted[0], record, tests=tests, settings=HARD)


def test_scores_are_those_of_the_ordinary_scoring(matrix, fitted):
    """Own, refitted and null per cell as `countae score` says, and the oracle."""
    found = scored(fitted[0], matrix)
    ordinary = score_network(fitted[0], matrix, wanted=["log_score"]).cells
    null = score_baseline("gene_mean", matrix, wanted=["log_score"]).cells
    oracle = score_baseline("oracle", matrix, wanted=["log_score"]).cells
    for name, table, column in [
        ("own", ordinary, "native"), ("refitted", ordinary, "nb"), ("null", null, "nb"),
        ("oracle", oracle, "native"),
    ]:  # fmt: skip
        expected = table[(table["metric"] == "log_score") & (table["noise"] == column)]
        assert expected["id"].tolist() == found.cell_id.tolist()
        value = getattr(found, name).mean(axis=1)
        np.testing.assert_allclose(value, expected["value"], rtol=1e-12)


@pytest.mark.parametrize("name", sorted({*stress.names()} - {"batch_shift", "donor_shift"}))
def test_the_clean_level_gives_the_clean_scores_to_the_last_bit(matrix, fitted, record, name):
    """Also where the network is trained again: same counts, same seed, same network."""
    table = under(matrix, fitted, record, **{name: [stress.get(name).clean]})
    for column in ("own", "refitted", "null", "oracle"):
        np.testing.assert_array_equal(table[column], table[f"clean_{column}"])


def test_networks_are_trained_again_only_where_training_changes(
    matrix, fitted, record, monkeypatch
):
    trained = []
    monkeypatch.setattr(
        "countae.stress_run.fit", lambda made, *_, **__: (trained.append(made), fitted)[1]
    )
    under(matrix, fitted, record, depth=[0.5, 0.1], outliers_input=[0.1])
    assert not trained
    under(matrix, fitted, record, outliers=[0.1], cell_type_shift=[1.0])
    assert len(trained) == 1 + 2


def test_a_network_is_trained_again_with_the_settings_of_its_record(
    matrix, fitted, record, monkeypatch
):
    asked = {}
    monkeypatch.setattr(
        "countae.stress_run.fit",
        lambda made, name, **given: (asked.update(given, likelihood=name), fitted)[1],
    )
    under(matrix, fitted, record, outliers=[0.1])
    assert asked.pop("device") == "auto"
    assert asked == {
        "likelihood": "nb", "seed": 1, "network": NETWORK, "training": TRAINING,
    }  # fmt: skip


def test_the_truth_follows_the_depth(matrix, fitted, record):
    """At a tenth of the depth no network beats the thinned truth, on average."""
    table = under(matrix, fitted, record, depth=[0.1])
    (made,) = stress.get("depth")(matrix, 0.1, settings=HARD)
    test = np.flatnonzero(made.part == "test")
    expected = -Oracle().prediction(made, test).log_pmf(made.counts[test].toarray())
    np.testing.assert_allclose(table["oracle"], expected.mean(axis=1))
    assert table["oracle"].mean() < table["own"].mean()
    assert table["oracle"].mean() < table["null"].mean()


def test_only_the_left_out_group_is_scored_and_paired_with_its_own_clean_scores(
    matrix, fitted, record
):
    table = under(matrix, fitted, record, cell_type_shift=[1.0])
    label = dict(zip(matrix.cell_id, matrix.labels, strict=True))
    clean = scored(fitted[0], matrix)
    of_cell = dict(zip(clean.cell_id, clean.own.mean(axis=1), strict=True))
    for _, rows in table.groupby("case"):
        assert rows["cell"].map(label).nunique() == 1
        np.testing.assert_allclose(rows["clean_own"], rows["cell"].map(of_cell), rtol=1e-12)
    assert table["case"].nunique() == 2


def test_the_record_of_another_network_is_refused(matrix, fitted, record):
    with pytest.raises(ScoreError, match=r"trained with 'nb'.*is of 'zinb'"):
        under(matrix, fitted, record | {"likelihood": "zinb"}, depth=[0.5])
    with pytest.raises(ScoreError, match="has no network, training"):
        short = {"likelihood": "nb", "seed": 1}
        under(matrix, fitted, short, depth=[0.5])


@pytest.fixture(scope="module")
def files(tmp_path_factory, matrix, fitted):
    folder = tmp_path_factory.mktemp("stress")
    matrix.save(folder / "counts.h5ad")
    save(*fitted, folder / "model.safetensors")
    fitted[1].to_json(folder / "fit.json")
    return folder


def words(folder, *tests):
    return [
        "stress", str(folder / "counts.h5ad"), str(folder / "out.parquet"), "--model",
        str(folder / "model.safetensors"), "--record", str(folder / "fit.json"), "--tests",
        ",".join(tests),
    ]  # fmt: skip


def test_the_verbs_write_a_table_and_sum_it_up(files):
    done = CliRunner().invoke(app, words(files, "depth=0.5", "outliers_input=0.1"))
    assert done.exit_code == 0, done.output
    table = pd.read_parquet(files / "out.parquet")
    assert set(table["test"]) == {"depth", "outliers_input"}
    done = CliRunner().invoke(
        app,
        ["stress-table", str(files / "out.parquet"), "--output", str(files / "stress.json"),
         "--counts", str(files / "counts.h5ad")],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads((files / "stress.json").read_text())
    assert found["tests"]["depth"]["rows"][0]["level"] == 1.0
    assert "at 0.5" in found["tests"]["depth"]["sentence"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda words: [*words[:-1], "dept"], "Did you mean 'depth'?"),
        (lambda words: words[:-2], "--tests must name a stress test"),
        (lambda words: [*words[:-1], "batch_shift"], "`batch_key`"),
        (lambda words: [*words, "--outlier-factor", "1"], "outlier_factor: 1 is less than"),
        (lambda words: [w.replace("fit.json", "fit.jsn") for w in words], "Did you mean"),
    ],
)
def test_wrong_words_end_in_one_message(files, monkeypatch, capsys, change, message):
    (files / "out.parquet").unlink(missing_ok=True)
    monkeypatch.setattr("sys.argv", ["countae", *change(words(files, "depth"))])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    told = capsys.readouterr().err
    assert message in " ".join(told.split())
    assert "Traceback" not in told
    assert not (files / "out.parquet").exists()
