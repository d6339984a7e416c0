"""Test cells sequenced less deeply than those that networks were trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from countae import simulate
from countae.counts import CountMatrix
from countae.stress import stress
from countae.stress._change import with_counts


@stress(
    level="share of the molecules that is kept", levels=(0.5, 0.25, 0.1), clean=1.0,
    retrains=False,
)  # fmt: skip
def depth(
    matrix: CountMatrix, level: float, rng: np.random.Generator, settings: dict[str, Any]
) -> list[CountMatrix]:
    r"""Test cells of which each molecule is kept with one probability p; networks are as trained.

    Given a count x the thinned one is Bin(x, p), over all genes of the library. Where x is
    Poisson, NB or ZINB with mean μ, it is of the same family with mean p μ; θ and π stay. Each
    count is drawn at one quantile of that distribution for all p, so that it never grows when
    fewer molecules are kept.
    """
    counts, test = matrix.rows(slice(None)).copy(), matrix.part == "test"
    thinned = np.repeat(test, np.diff(counts.indptr))
    rest = np.rint(np.maximum(matrix.library_size - counts.sum(axis=1).A1, 0)).astype(np.int64)
    before = counts.sum(axis=1).A1 + rest
    counts.data[thinned] = _kept(counts.data[thinned], level, rng)
    lost = before - counts.sum(axis=1).A1 - _kept(rest, level, rng)
    made = with_counts(matrix, counts, matrix.library_size - np.where(test, lost, 0))
    _scale_truth(made, test, level)
    return [made]


def _kept(counts: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Binomial draws at quantiles from ``rng``, which are the same whatever the share."""
    quantile = 1 - rng.random(len(counts))  # above 0, whose quantile would be −1
    return stats.binom.ppf(quantile, counts, share).astype(np.int64)


def _scale_truth(made: CountMatrix, test: np.ndarray, level: float) -> None:
    """True means of the thinned cells; no oracle for a family that thinning does not keep."""
    if "truth" not in made.adata.uns:
        return
    scale = np.where(test, level, 1.0)
    made.adata.layers["true_mean"] = made.adata.layers["true_mean"] * scale[:, None]
    if level < 1 and not simulate.get(made.adata.uns["truth"]["family"]).thins:
        made.adata.uns["truth"]["likelihood"] = ""
