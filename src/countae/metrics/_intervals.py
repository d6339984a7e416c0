"""What the coverage metrics share."""

from __future__ import annotations

import numpy as np


def central_coverage(*, pit: np.ndarray, level: float) -> np.ndarray:
    """Share of each gene's PIT values within ``level``/2 of one half, (gene,)."""
    return (np.abs(pit - 0.5) <= level / 2).mean(axis=0)
