"""Every metric has a file of tests with an oracle, and keeps to what it says of itself."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from countae import metrics
from countae.score import FOR_THE_VERDICT
from countae.verdict import AXES

NAMES = metrics.names()


@pytest.mark.parametrize("name", NAMES)
def test_has_an_oracle_file(name):
    """A metric without tests of its own against an independent value fails here."""
    path = Path(__file__).with_name(f"test_{name}.py")
    assert path.is_file(), f"write {path.name} with an independent oracle"
    text = path.read_text()
    assert "Oracle:" in text
    assert f'metrics.get("{name}")' in text


@pytest.mark.parametrize("name", NAMES)
def test_describes_itself(name):
    """Tables and figures print the direction, the unit and the first line."""
    member = metrics.get(name)
    assert member.name == name
    assert member.better in ("lower", "higher", "zero", "one", "nominal")
    assert member.level in ("entry", "gene", "gene histogram", "dataset")
    assert member.summary in ("mean", "median", "pooled")
    assert member.unit.strip()
    assert member.bounds[0] < member.bounds[1]
    assert re.match(r"[A-Z].*[^.]\.?$", member.meaning)
    if member.better == "zero":
        assert member.bounds[0] < 0 < member.bounds[1]


@pytest.mark.parametrize("name", NAMES)
def test_takes_keywords_only(name):
    """Two matrices of one shape get swapped, and the numbers still look plausible."""
    with pytest.raises(TypeError):
        metrics.get(name).function(*([np.ones((3, 2))] * len(metrics.get(name).needs)))


@pytest.mark.parametrize("name", NAMES)
def test_shape_bounds_and_inputs(name, truth, callables):
    """The level's shape, values within the bounds, and inputs left as they were."""
    member, rows = metrics.get(name), slice(0, 50)
    given = {
        "observed": truth.observed[rows], "mean": truth.mean[rows], "true_mean": truth.mean[rows],
        "null_mean": truth.size[rows] * np.ones(6), "variance": truth.variance[rows],
        "prob_zero": truth.prob_zero[rows], "pit": truth.pit[rows], "n_fitted": 500,
        "log_prob": -np.ones((50, 6)), "library_size": 1e3 * truth.size[rows, 0],
        "inverse_dispersion": truth.inverse_dispersion, "identifiable": np.arange(6) > 0,
        "true_inverse_dispersion": 2 * truth.inverse_dispersion,
        "latent": truth.mean[rows], "labels": np.repeat(["a", "b"], 25),
        "clusterings": np.arange(100).reshape(2, 50) % 3,
        "zero_probability": truth.prob_zero[rows] / 2, "extra_zero": truth.observed[rows] == 0,
    }  # fmt: skip
    given |= callables(truth.mean[rows], truth.inverse_dispersion)
    given = {key: given[key] for key in member.needs}
    before = {k: np.array(v) for k, v in given.items() if isinstance(v, np.ndarray)}
    value = member(**given)
    if isinstance(value, float):
        assert member.level == "dataset"
        assert member.bounds[0] <= value <= member.bounds[1]
    elif member.level == "dataset":
        assert value
        assert all(isinstance(key, str) and np.isfinite(v) for key, v in value.items())
    elif member.level == "gene histogram":
        assert all(shares.shape == (6,) for shares in value.values())
        assert all(((0 <= shares) & (shares <= 1)).all() for shares in value.values())
    else:
        assert value.shape == ((50, 6) if member.level == "entry" else (6,))
        known = value[~np.isnan(value)]
        assert known.size
        assert ((known >= member.bounds[0]) & (known <= member.bounds[1])).all()
    for key, array in before.items():
        np.testing.assert_array_equal(array, given[key])


def test_secondary_metrics_decide_nothing():
    """Measures of clustering are shown, but neither the verdict nor its noise fits read them."""
    secondary = {name for name in NAMES if metrics.get(name).secondary}
    assert secondary == {"ari", "knn_purity", "nmi", "silhouette"}
    assert not secondary & {*FOR_THE_VERDICT, *(axis.metric for axis in AXES.values())}
