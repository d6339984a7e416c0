"""Library sizes that belong to other cells: a control of what is due to depth."""

from __future__ import annotations

from typing import Any

import numpy as np

from countae import split
from countae.counts import CountMatrix
from countae.stress import stress
from countae.stress._groups import some_of


@stress(level="share of the cells with another cell's library size", levels=(0.5, 1.0))
def library_size(
    matrix: CountMatrix, level: float, rng: np.random.Generator, settings: dict[str, Any]
) -> list[CountMatrix]:
    """Cells that pass their library sizes on in a ring, within each part of the split.

    A network is told the size of the visible counts of another cell, in training and in scoring,
    and so is the gene mean: what is left of their lead over a constant does not come from depth.
    Sizes never cross the border between training, validation and test.
    """
    order, ring = rng.permutation(len(matrix.obs)), np.arange(len(matrix.obs))
    for name in split.PARTS:
        chosen = some_of(order, matrix.part == name, level)
        ring[chosen] = np.roll(chosen, 1)
    made = matrix.with_own_tables()
    made.obs["sized_by"] = ring
    return [made]
