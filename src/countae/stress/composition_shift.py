"""Cell types in other proportions in training than in the test cells."""

from __future__ import annotations

from typing import Any

import numpy as np

from countae.counts import CountMatrix
from countae.errors import UnsuitableError
from countae.stress import stress
from countae.stress._change import LEFT_OUT, with_parts
from countae.stress._groups import some_of


@stress(
    level="share of every second cell type that is not trained on", levels=(0.5, 0.9, 1.0),
    key="label_key",
)  # fmt: skip
def composition_shift(
    matrix: CountMatrix, level: float, rng: np.random.Generator, settings: dict[str, Any]
) -> list[CountMatrix]:
    """Every second cell type rare in training and validation, all test cells scored.

    Types are taken by size: the second largest, the fourth and so on lose a share of their cells.
    Training has fewer cells then, so part of the change is theirs; the null has as few.
    """
    label, part = matrix.obs[matrix.info["label_key"]].to_numpy(str), matrix.part
    names, size = np.unique(label, return_counts=True)
    if len(names) < 2:
        raise UnsuitableError(
            f"{matrix.source}: a shift of composition needs two cell types or more, but there is "
            f"{len(names)}. Fix: name another column in `label_key`, or leave the test out."
        )
    order, now = rng.permutation(len(label)), part.astype(object)
    for name in names[np.lexsort((names, -size))][1::2]:
        for of in ("train", "validation"):
            now[some_of(order, (label == name) & (part == of), level)] = LEFT_OUT
    return [with_parts(matrix, now.astype(str))]
