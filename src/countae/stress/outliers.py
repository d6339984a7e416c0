"""Outliers in what networks are trained on; the test cells are clean."""

from __future__ import annotations

from typing import Any

import numpy as np

from countae.counts import CountMatrix
from countae.stress import stress
from countae.stress._change import with_counts
from countae.stress._outliers import magnified


@stress(level="share of the counts that are outliers", levels=(0.001, 0.01, 0.05))
def outliers(
    matrix: CountMatrix, level: float, rng: np.random.Generator, settings: dict[str, Any]
) -> list[CountMatrix]:
    """Some counts many times too large in training and validation cells, none in test cells.

    ``outlier_factor`` says how many times, ``outlier_unit`` whether single counts or whole cells.
    Library sizes grow with the counts, as they do where nobody notices the outliers.
    """
    return [with_counts(matrix, *magnified(matrix, matrix.part != "test", level, rng, settings))]
