"""Outliers in what a network is shown of test cells; what it must predict is clean."""

from __future__ import annotations

from typing import Any

import numpy as np

from countae.counts import CountMatrix
from countae.stress import stress
from countae.stress._outliers import magnified


@stress(
    level="share of the shown counts that are outliers",
    levels=(0.001, 0.01, 0.05),
    retrains=False,
)
def outliers_input(
    matrix: CountMatrix, level: float, rng: np.random.Generator, settings: dict[str, Any]
) -> list[CountMatrix]:
    """Some counts many times too large in what is shown of test cells, none in what is predicted.

    Networks are those trained on clean counts. The library size is that of the shown counts, so
    outliers move it, for the gene mean as for a network.
    """
    counts, library = magnified(matrix, matrix.part == "test", level, rng, settings)
    made = matrix.with_own_tables()
    made.adata.layers["shown"] = counts
    made.obs["shown_library_size"] = library
    return [made]
