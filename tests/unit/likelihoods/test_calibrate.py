"""Scales of losses of a residual, and of normal noise, against SciPy's maximum of likelihood."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from countae import likelihoods
from countae.noise import fit_noise

N = 4_000
# With one gene the prior is centred where the likelihood alone ends; its width, and the flat top
# of a likelihood of 4,000 counts, leave a tenth of a standard error.
TOLERANCE = 0.01
DENSITIES = {
    "mse_counts": (stats.norm, lambda x, size: x, 1.0),
    "mse_log1p": (stats.norm, lambda x, size: np.log1p(x / size), 1.0),
    "l1": (stats.laplace, lambda x, size: x, 1.0),
    "weighted_mse": (stats.norm, lambda x, size: x, 2.0),
}


def masses(density, transform, counts, location, spread, size):
    """P(count) of a density cut into integers, all mass below one half at zero."""
    upper = (transform(counts + 0.5, size) - location) / spread
    lower = (transform(np.maximum(counts - 0.5, 0), size) - location) / spread
    lower = np.where(counts > 0, lower, -np.inf)
    right = density.sf(lower) - density.sf(upper)  # keeps its digits above the location
    return np.where(lower > 0, right, density.cdf(upper) - density.cdf(lower))


@pytest.mark.parametrize("mean", [0.02, 0.3, 4.0, 60.0])
@pytest.mark.parametrize("name", DENSITIES)
def test_the_scale_is_the_most_likely_one(name, mean, t64):
    """Oracle: scipy.optimize over sums of log differences of SciPy's distribution functions."""
    rng = np.random.default_rng(3)
    density, transform, weight = DENSITIES[name]
    size = rng.uniform(0.5, 2.0, (N, 1))
    counts = rng.poisson(rng.gamma(2.0, size * mean / 2.0))
    location = transform(size * mean, size)
    of_scale = np.sqrt(size / weight) if name == "weighted_mse" else 1.0

    def negative(log_scale):
        spread = np.exp(log_scale) * of_scale
        mass = masses(density, transform, counts, location, spread, size)
        return -np.log(np.maximum(mass, 1e-300)).sum()

    best = optimize.minimize_scalar(negative, bounds=(-4, 6), method="bounded").x
    parameters = {"location": t64(location), "scale": t64([1.0]), "size_factor": t64(size)}
    if name == "weighted_mse":
        parameters["weight"] = t64([weight])
    found = likelihoods.get(name)().calibrate(t64(counts), parameters)["log_scale"]
    assert float(found) == pytest.approx(best, abs=TOLERANCE)


def test_a_gene_without_counts_is_given_the_scale_of_its_level(t64):
    """Thirty genes of one level, one of them all zero: its scale is near the others'."""
    rng = np.random.default_rng(2)
    counts = rng.poisson(0.3, (100, 30)).astype(float)
    counts[:, 7] = 0
    at = {"location": t64(np.full(counts.shape, 0.3)), "size_factor": t64(np.ones((100, 1)))}
    mse = likelihoods.get("mse_counts")()
    found = mse.calibrate(t64(counts), at | {"scale": t64(np.ones(30))})["log_scale"].numpy()
    others = np.delete(found, 7)
    assert others.min() - 0.5 < found[7] < others.max()


def test_deep_genes_say_nothing_of_shallow_ones(t64):
    """A gene's scale does not move when a thousandfold deeper one stands beside it."""
    rng = np.random.default_rng(1)
    shallow = np.rint(rng.normal(3.0, 1.2, (200, 30))).clip(min=0)
    deep = np.rint(rng.normal(3_000.0, 900.0, (200, 30)))
    mse = likelihoods.get("mse_counts")()

    def scales(counts, location):
        at = {"location": t64(np.broadcast_to(location, counts.shape).copy())}
        at |= {"scale": t64(np.ones(counts.shape[1])), "size_factor": t64(np.ones((200, 1)))}
        return mse.calibrate(t64(counts), at)["log_scale"].numpy()

    both = np.concatenate([shallow, deep], axis=1)
    together = scales(both, np.repeat([3.0, 3_000.0], 30))[:30]
    np.testing.assert_allclose(together, scales(shallow, 3.0), atol=0.05)  # through the trend
    noise = [
        fit_noise("mse_counts", counts=x, mean=np.maximum(m, 1e-3), size_factor=np.ones(200))
        for x, m in (
            (both, np.tile(both.mean(axis=0), (200, 1))),
            (shallow, np.tile(shallow.mean(axis=0), (200, 1))),
        )
    ]
    first, second = (n.raw["log_scale"][:30] for n in noise)
    torch.testing.assert_close(first, second, atol=0.05, rtol=0)


@pytest.mark.parametrize("spread_of_depth", [0.0, 1.0, 2.0])
def test_normal_noise_is_best_on_normal_counts_whatever_their_depths(spread_of_depth):
    """Oracle: the generator. Around its own means no other noise may win, however deep genes are;
    its spreads come back to a twentieth in half of the genes.
    """
    rng = np.random.default_rng(0)
    level = 3 * np.exp(rng.normal(0, spread_of_depth, 60))
    spread = 0.4 * level + 0.6
    centre = level * np.exp(rng.normal(0, 0.5, (400, 60)))
    counts = np.rint(rng.normal(centre, spread)).clip(min=0)
    k = np.arange(1, int(centre.max() + 8 * spread.max()))[:, None]
    genes = zip(centre.T, spread, strict=True)
    mean = np.stack([stats.norm.sf((k - 0.5 - m) / s).sum(axis=0) for m, s in genes], axis=1)
    fitted, test = slice(0, 300), slice(300, None)
    scores = {}
    for family in ("poisson", "nb", "zinb", "mse_counts"):
        noise = fit_noise(
            family, counts=counts[fitted], mean=mean[fitted], size_factor=np.ones(300)
        )
        around = noise.around(mean[test], np.ones(100))
        scores[family] = -around.log_pmf(counts[test]).mean()
    assert min(scores, key=scores.get) == "mse_counts"
    gap = noise.raw["log_scale"].numpy() - np.log(spread)
    assert np.median(np.abs(gap)) < 0.05


@pytest.mark.parametrize(
    ("location", "spread"), [(-1.2, 0.9), (0.1, 1.2), (3.0, 2.5), (60.0, 9.0)]
)
def test_normal_noise_is_the_most_likely_one(location, spread):
    """Oracle: SciPy's optimum over the spread, the location solved for by brentq at each."""
    rng = np.random.default_rng(4)
    counts = np.rint(rng.normal(location, spread, (20_000, 1))).clip(min=0)
    mean, top = counts.mean(), int(counts.max() + 30 * spread) + 3
    k = np.arange(top)
    seen = np.bincount(counts[:, 0].astype(int), minlength=top)

    def mass(at, log_spread):
        ends = stats.norm.cdf((k + 0.5 - at) / np.exp(log_spread))
        return np.diff(ends, prepend=0.0)

    def negative(log_spread):
        far = 12 * np.exp(log_spread) + 1
        at = optimize.brentq(lambda a: (mass(a, log_spread) * k).sum() - mean, -far, mean + 1)
        return -(seen * np.log(np.maximum(mass(at, log_spread), 1e-300))).sum()

    bounds = (np.log(spread) - 0.7, np.log(spread) + 0.7)
    best = optimize.minimize_scalar(negative, bounds=bounds, method="bounded").x
    noise = fit_noise(
        "mse_counts", counts=counts, mean=np.full(counts.shape, mean), size_factor=np.ones(20_000)
    )
    assert float(noise.raw["log_scale"]) == pytest.approx(best, abs=0.02)  # the table's reading
