"""Predictions of other programs: scored like our own, and refused with a reason."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import SETTINGS

from countae.baselines._file import Predictions, read_predictions
from countae.errors import ScoreError
from countae.fit import fit
from countae.peers._base import scored_cells
from countae.predict import predict_hidden
from countae.score import score_network, score_predictions


@pytest.fixture(scope="module")
def exported(small_nb):
    """A network, and what it predicts as if it were another program's."""
    training = SETTINGS["training"] | {"max_epochs": 2}
    network, _ = fit(small_nb, "zinb", seed=0, network=SETTINGS["network"], training=training)
    cells = scored_cells(small_nb)
    found = predict_hidden(network, small_nb, cells)
    parameters = {name: value.numpy() for name, value in found.parameters.items()}
    order = np.random.default_rng(0).permutation(len(cells))
    shuffled = {name: value[order] for name, value in parameters.items()}
    points = np.random.default_rng(1).normal(size=(len(cells), 4))
    made = Predictions(small_nb.cell_id[cells][order], found.mean[order], "zinb", shuffled, points)
    return network, made


def test_the_same_predictions_have_the_same_scores(exported, small_nb, tmp_path):
    """Oracle: the network itself. The order of the file's rows does not matter."""
    network, made = exported
    small_nb.info.setdefault("checksum", "made here")
    made.save(tmp_path / "p.npz", small_nb.info["checksum"])
    wanted = ["log_score", "ranked_probability_score", "zero_fraction_error"]
    found = score_predictions(tmp_path / "p.npz", small_nb, wanted=wanted)
    expected = score_network(network, small_nb, wanted=wanted)
    pd.testing.assert_frame_equal(found.table, expected.table, rtol=1e-9)
    pd.testing.assert_frame_equal(found.cells, expected.cells, rtol=1e-9)


def test_means_alone_are_scored_with_the_noise_families(exported, small_nb, tmp_path):
    made = exported[1]
    np.savez(tmp_path / "p.npz", cell_id=made.cell_id.astype(str), mean=made.expected)
    found = score_predictions(tmp_path / "p.npz", small_nb, wanted=["log_score"])
    assert set(found.table["noise"]) == {"mse_counts", "nb", "poisson", "zinb"}


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"no file of arrays"])
def test_a_file_that_is_none_is_told(small_nb, tmp_path, content):
    (tmp_path / "p.npz").write_bytes(content)
    with pytest.raises(ScoreError, match=r"p\.npz: must be an \.npz file .* Fix"):
        read_predictions(tmp_path / "p.npz", small_nb, scored_cells(small_nb))


def changed(value):
    """An edit of one entry."""

    def edit(array):
        array = array.copy()
        array[2, 3] = value
        return array

    return edit


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mean": None}, "has no 'mean'"),
        ({"cell_id": lambda at: np.array([f"x{i}" for i in range(len(at))])}, "are not there"),
        (
            {"cell_id": lambda at: at[[0, *range(len(at) - 1)]]},
            r"each cell once, but 1 of .* first: '",
        ),
        ({"cell_id": lambda at: at[:, None]}, r"`cell_id` must be \(row,\)"),
        ({"mean": lambda at: at[:, :-1]}, r"`mean` must be \(row, gene\)"),
        ({"mean": lambda at: at.astype(str)}, "`mean` must hold numbers, but holds <U"),
        ({"mean": changed(-1e-9)}, r"`mean` must be not negative, but 1 of .*: -1e-09 in row 2"),
        ({"mean": lambda at: 0 * at}, "`mean` must be expected raw counts, but all .* are zero"),
        ({"parameter_mean": changed(-1.0)}, "`parameter_mean` must be a finite number > 0, but 1"),
        ({"parameter_inverse_dispersion": changed(0.0)}, "`parameter_inverse_dispersion` must be"),
        ({"parameter_inverse_dispersion": lambda at: -at}, "dispersion` must be a finite number"),
        ({"parameter_zero_logit": changed(np.nan)}, "`parameter_zero_logit` must be finite"),
        ({"latent": lambda at: at[:-1]}, r"`latent` must be \(row, axis\), \d+ rows, but is"),
        ({"latent": lambda at: at[:, 0]}, r"`latent` must be \(row, axis\)"),
        ({"latent": lambda at: at[:, :0]}, r"`latent` must be \(row, axis\)"),
        ({"latent": changed(np.nan)}, "`latent` must be finite, but 1 of"),
        ({"latent": changed(-np.inf)}, "`latent` must be finite, but 1 of"),
        ({"mean": lambda at: np.where(at == at[2, 3], np.nan, at)}, "must be finite, but 1 of"),
        ({"parameter_zero_logit": None}, "has no array `parameter_zero_logit`"),
        ({"counts": lambda at: np.array("0ld")}, "predicts other counts"),
    ],
)
def test_a_wrong_file_is_told(exported, small_nb, tmp_path, change, words):
    small_nb.info.setdefault("checksum", "made here")
    exported[1].save(tmp_path / "p.npz", small_nb.info["checksum"])
    with np.load(tmp_path / "p.npz") as file:
        arrays = dict(file)
    for name, edit in change.items():
        arrays[name] = edit(arrays[name]) if edit else None
    np.savez(tmp_path / "p.npz", **{k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(ScoreError, match=words) as told:
        read_predictions(tmp_path / "p.npz", small_nb, scored_cells(small_nb))
    assert "Fix: " in str(told.value)


def test_a_mean_of_zero_here_and_there_is_scored(exported, small_nb, tmp_path):
    """Noise is put around means that are lifted off zero: every score is finite."""
    made = exported[1]
    mean = made.expected.copy()
    mean[:, 5] = mean[3] = 0.0
    np.savez(tmp_path / "p.npz", cell_id=made.cell_id.astype(str), mean=mean)
    found = score_predictions(tmp_path / "p.npz", small_nb, wanted=["log_score"])
    assert np.isfinite(found.cells["value"]).all()


def test_parameters_that_may_be_negative_are_taken(exported, small_nb, tmp_path):
    """A logit is any number, also far below zero."""
    made = exported[1]
    parameters = made.parameters | {"zero_logit": made.parameters["zero_logit"] - 500.0}
    Predictions(made.cell_id, made.expected, "zinb", parameters).save(tmp_path / "p.npz", "")
    found = score_predictions(tmp_path / "p.npz", small_nb, wanted=["log_score"])
    assert np.isfinite(found.cells["value"]).all()
