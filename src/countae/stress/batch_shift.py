"""A batch that networks have never seen."""

from __future__ import annotations

from typing import Any

import numpy as np

from countae.counts import CountMatrix
from countae.stress import stress
from countae.stress._groups import without_each


@stress(level="share of the batch that is not trained on", levels=(1.0,), key="batch_key")
def batch_shift(
    matrix: CountMatrix, level: float, rng: np.random.Generator, settings: dict[str, Any]
) -> list[CountMatrix]:
    """One batch left out of training and validation, its test cells scored; each in turn.

    The ``most_groups`` largest are left out one after another, and genes that no other batch
    shows are not modelled.
    """
    group = matrix.obs[matrix.info["batch_key"]].to_numpy(str)
    return without_each(matrix, group, level, rng, settings)
