"""Binomial thinning, also called molecular cross-validation."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from countae.protocols import register
from countae.protocols._molecules import HiddenMolecules


@register("thinning")
class Thinning(HiddenMolecules):
    """Each molecule is seen with probability one half, whatever the others do.

    The halves of a Poisson count are independent, those of an overdispersed one are not: given
    its mean, both rise with the gene's own noise. A network that repeats that noise beats the
    truth here, so this protocol measures the denoising of means, not the story of the counts.
    """

    name = "thinning"
    title = "Binomial thinning"
    question = "Which loss denoises best: whose means predict the other half of the molecules?"
    reference = "10.1101/786269"

    def split(self, counts: csr_matrix, cells: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return rng.binomial(counts.data, 0.5).astype(counts.dtype)
