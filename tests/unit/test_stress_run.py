"""A network under stress: paired with clean scores, trained again only where that is needed."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SETTINGS, prepared
from typer.testing import CliRunner

from countae import stress, stress_run
from countae.baselines.oracle import Oracle
from countae.cli import app, main
from countae.config import Source
from countae.errors import ConfigError, FitDivergedError, ScoreError
from countae.fit import fit, save
from countae.prepare import prepare
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
    assert found["tests"]["depth"]["sentence"].startswith("At 0.5 the lead of NB over")


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


def test_each_case_has_the_name_of_the_group_that_it_leaves_out(matrix, fitted, record):
    table = under(matrix, fitted, record, cell_type_shift=[1.0], depth=[0.5])
    label = dict(zip(matrix.cell_id, matrix.labels, strict=True))
    of_group = table[table["test"] == "cell_type_shift"]
    assert (of_group["cell"].map(label) == of_group["group"]).all()
    assert set(table.loc[table["test"] == "depth", "group"]) == {""}
    assert table.attrs["left_out"] == []


@pytest.fixture
def one_batch(matrix):
    """The same counts with a column of batches that holds one."""
    made = matrix.with_own_tables()
    made.obs["plate"], made.info["batch_key"] = "a", "plate"
    return made


def test_a_test_that_the_counts_cannot_have_is_left_out_with_its_reason(one_batch, fitted, record):
    table = under(one_batch, fitted, record, batch_shift=[1.0], depth=[0.5])
    assert set(table["test"]) == {"depth"}
    (entry,) = table.attrs["left_out"]
    assert entry | {"reason": ""} == {
        "test": "batch_shift", "level": 1.0, "group": "", "likelihood": None, "seed": None,
        "reason": "",
    }  # fmt: skip
    assert entry["reason"].startswith("leaving a group out needs two groups or more")
    alone = under(one_batch, fitted, record, batch_shift=[1.0])
    assert len(alone) == 0
    assert set(alone) == set(table)


@pytest.mark.parametrize(
    ("column", "test", "level"),
    [("cell_type", "cell_type_shift", 1.0), ("cell_type", "composition_shift", 1.0)],
)
def test_a_network_that_is_told_groups_is_not_shown_one_that_it_never_saw(
    matrix, fitted, record, monkeypatch, column, test, level
):
    """With the right advice; where some cells of each group are left it is tested."""
    monkeypatch.setattr("countae.stress_run.fit", lambda *_, **__: fitted)
    told = record | {"network": record["network"] | {"conditions": [column]}}
    table = under(matrix, fitted, told, **{test: [level]})
    assert len(table) == 0
    for entry in table.attrs["left_out"]:
        assert f"leave {column!r} out of network.conditions" in entry["reason"]
        assert "batch_key" not in entry["reason"]
    groups = {entry["group"] for entry in table.attrs["left_out"]}
    assert ("" in groups) == (test == "composition_shift")
    assert len(under(matrix, fitted, told, **{test: [0.5]}))
    assert len(under(matrix, fitted, told, depth=[0.5]))


@pytest.mark.parametrize("loss", ["nb_batch"])
def test_a_batch_without_training_cells_can_be_predicted_by_a_loss_with_a_spread_per_batch(loss):
    """What the advice rests on: θ of a new batch is where training starts."""
    size = {"n_cells": 200, "n_genes": 30, "n_batches": 2}
    row = {"batch_key": "batch"}
    source = Source("simulate:nb", genes="all", **row)
    matrix = prepare(
        source, simulate=SETTINGS["simulate"] | size, quality=SETTINGS["quality"],
        genes=SETTINGS["genes"], held_out=SETTINGS["split"],
    )[0]  # fmt: skip
    fitted = fit(matrix, loss, seed=0, network=NETWORK, training=TRAINING)
    table = endure(matrix, fitted[0], vars(fitted[1]), tests={"batch_shift": [1.0]}, settings=HARD)
    assert set(table["group"]) == set(matrix.obs["batch"])
    assert np.isfinite(table["own"]).all()


def test_a_fit_that_diverges_under_stress_is_left_out_and_the_others_go_on(
    matrix, fitted, record, monkeypatch
):
    def diverging(made, *_, **__):
        if made.info.get("left_out_group") == first:
            raise FitDivergedError("epoch 3: not finite")
        return fitted

    names, size = np.unique(matrix.labels, return_counts=True)
    first = str(names[np.lexsort((names, -size))][0])
    monkeypatch.setattr("countae.stress_run.fit", diverging)
    table = under(matrix, fitted, record, cell_type_shift=[1.0], depth=[0.5])
    assert table.attrs["left_out"] == [
        {"test": "cell_type_shift", "level": 1.0, "group": first, "likelihood": "nb", "seed": 1,
         "reason": "epoch 3: not finite"}
    ]  # fmt: skip
    rows = table[table["test"] == "cell_type_shift"]
    assert set(rows["case"]) == {1}
    assert first not in set(rows["group"])


def test_reasons_go_through_the_files(tmp_path, one_batch):
    """`countae stress` succeeds with them, and `stress-table` writes and says them."""
    files = tmp_path
    one_batch.save(files / "counts.h5ad")
    fitted = fit(one_batch, "nb", seed=1, network=NETWORK, training=TRAINING)
    save(*fitted, files / "model.safetensors")
    fitted[1].to_json(files / "fit.json")
    done = CliRunner().invoke(app, words(files, "batch_shift"))
    assert done.exit_code == 0, done.output
    assert "Left out, batch_shift at 1: leaving a group out needs two" in done.output
    assert "0 of 1 stress tests written" in done.output
    end = ["--output", str(files / "stress.json"), "--counts", str(files / "counts.h5ad")]
    asked = ["--tests", "batch_shift,donor_shift"]
    done = CliRunner().invoke(app, ["stress-table", str(files / "out.parquet"), *end, *asked])
    assert done.exit_code == 0, done.output
    found = json.loads((files / "stress.json").read_text())
    assert found["tests"] == {}
    assert [entry["test"] for entry in found["left_out"]] == ["batch_shift", "donor_shift"]
    assert "no `donor_key` was named" in found["left_out"][1]["reason"]
    assert "donor_shift left out" in done.output


def test_a_data_set_that_can_have_no_test_still_has_a_file_that_says_why(files):
    end = ["--output", str(files / "stress.json"), "--counts", str(files / "counts.h5ad")]
    done = CliRunner().invoke(app, ["stress-table", *end, "--tests", "donor_shift"])
    assert done.exit_code == 0, done.output
    (entry,) = json.loads((files / "stress.json").read_text())["left_out"]
    assert entry["test"] == "donor_shift"
    assert str(files) not in entry["reason"]
    done = CliRunner().invoke(app, ["stress-table", *end])
    assert isinstance(done.exception, ConfigError)
    assert "--tests with --counts" in str(done.exception)


def test_a_column_that_was_not_named_is_told_before_anything_is_done(
    matrix, fitted, record, monkeypatch
):
    monkeypatch.setattr(stress_run, "scored", lambda *args, **more: pytest.fail("work was done"))
    with pytest.raises(ConfigError, match="no `batch_key` was named"):
        under(matrix, fitted, record, depth=[0.5], batch_shift=[1.0])
