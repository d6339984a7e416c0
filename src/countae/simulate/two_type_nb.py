"""Negative binomial counts of cells that fall into two types nobody labelled."""

from __future__ import annotations

import numpy as np

from countae.simulate import simulator
from countae.simulate._design import Design
from countae.simulate._drawn import Drawn, negative_binomial

SHARE = 0.3  # of the cells that are of the second type
LOG_FOLD = 1.5  # standard deviation of a gene's log fold change between the types


@simulator(likelihood="nb")
def two_type_nb(plan: Design, rng: np.random.Generator) -> Drawn:
    r"""Counts NB(μ f_k, θ) of two hidden types; the negative control of zero inflation.

    .. math:: f_{1j} = \frac{1}{1 - p + p e^{d_j}},\quad f_{2j} = e^{d_j} f_{1j},\quad
              d_j \sim N(0, 1.5^2)

    A share p = 0.3 of the cells, drawn at random and not told by the labels, is of type 2. Over
    the types a gene's expected count is the design's μ. Zeros exceed those of one NB with this
    mean, yet none is an extra zero: given the type, counts are NB. The truth knows the type
    (``obs["hidden_type"]``, ``true_mean``); p is the share among the cells at hand.
    Reference: zeros that come from cell types, Choi et al. 2020, doi:10.1186/s13059-020-02103-2.
    """
    cells, genes = plan.mean.shape
    theta = plan.inverse_dispersions(rng)
    fold = np.exp(rng.normal(0, LOG_FOLD, genes))
    second = rng.permutation(cells) < round(SHARE * cells)
    share = second.mean()
    mean = plan.mean * np.where(second[:, None], fold, 1.0) / (1 - share + share * fold)
    return Drawn(
        negative_binomial(mean, theta, rng),
        mean,
        {"inverse_dispersion": theta, "log_fold_change": np.log(fold)},
        cells={"hidden_type": np.where(second, "hidden 2", "hidden 1")},
    )
