"""Controls: proper scores must put the truth first and a constant last, and never all zeros first.

The compatibility columns (``mse_log1p``, ``poisson_loss``) promise no such thing.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from countae import likelihoods, metrics
from countae.noise import fit_noise
from countae.predict import Prediction

NAMES = ("log_score", "ranked_probability_score", "brier_zero")
ORDER = ("oracle", "conditional mean|nb", "gene mean|nb", "one constant")
CELLS, GENES, TYPES = 900, 40, 3


@pytest.fixture(scope="module")
def contestants():
    """Distributions for the last 300 of 900 NB cells of three types, and their counts."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(20)
    label = rng.integers(TYPES, size=CELLS)
    level = np.exp(rng.normal(-0.3, 1.2, GENES) + rng.normal(0, 0.9, (TYPES, GENES)))[label]
    size = rng.lognormal(0, 0.35, CELLS)
    within = np.exp(rng.normal(0, 0.35, (CELLS, GENES)))  # what no type mean can know
    mean, theta = size[:, None] * level * within, rng.lognormal(np.log(2), 0.5, GENES)
    counts = rng.poisson(rng.gamma(np.broadcast_to(theta, mean.shape), mean / theta)).astype(float)
    train, test = slice(0, 600), slice(600, CELLS)

    per_type = np.stack(
        [counts[train][label[train] == k].sum(axis=0) / size[train][label[train] == k].sum()
         for k in range(TYPES)]
    )  # fmt: skip
    per_gene = counts[train].sum(axis=0) / size[train].sum()
    nb = likelihoods.get("nb")()

    def around(made):
        noise = fit_noise("nb", counts=counts[train], mean=made[train], size_factor=size[train])
        return noise.around(made[test], size[test])

    def alike(value, inverse_dispersion):
        wide = torch.full((300, GENES), value, dtype=torch.float64)
        theta = torch.full_like(wide, inverse_dispersion)
        return Prediction.of(nb, {"mean": wide, "inverse_dispersion": theta})

    overall, spread = counts[train].mean(), counts[train].var()
    return counts[test], {
        "oracle": Prediction.of(
            nb, {"mean": torch.as_tensor(mean[test]), "inverse_dispersion": torch.as_tensor(theta)}
        ),
        "conditional mean|nb": around(size[:, None] * per_type[label]),
        "gene mean|nb": around(size[:, None] * per_gene),
        "one constant": alike(overall, overall**2 / (spread - overall)),
        "all zeros": alike(1e-9, 1.0),
    }


def scored(name, observed, prediction):
    """Score per cell, with the inputs that ``score.py`` builds."""
    inputs = {
        "observed": observed,
        "mean": prediction.mean,
        "variance": prediction.variance,
        "prob_zero": prediction.prob_zero,
        "log_prob": prediction.log_pmf(observed),
        "step_score": prediction.step_score,
        "cdf": lambda k, i: prediction.at(i).cdf(k),
    }
    member = metrics.get(name)
    return member(**{key: inputs[key] for key in member.needs}).mean(axis=1)


@pytest.mark.parametrize("name", NAMES)
def test_controls_are_ranked(name, contestants):
    """Oracle: propriety. Each step is worse by four standard errors; all zeros never win."""
    observed, predictions = contestants
    scores = {key: scored(name, observed, value) for key, value in predictions.items()}
    for better, worse in zip(ORDER[:-1], ORDER[1:], strict=True):
        gap = scores[worse] - scores[better]
        assert gap.mean() > 4 * gap.std() / np.sqrt(len(gap)), (better, worse)
    for key in ORDER:
        assert scores["all zeros"].mean() > scores[key].mean(), key


def test_every_entry_level_score_is_controlled():
    """A new proper score must be ranked here too."""
    entry = {name for name in metrics.names() if metrics.get(name).level == "entry"}
    assert entry == set(NAMES)
