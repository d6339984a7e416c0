"""Sums over large counts as integrals: where to put the nodes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

EXACT_TO = 256  # counts summed one by one; beyond, sums become integrals
NODES, WEIGHTS = np.polynomial.legendre.leggauss(8)
AROUND = np.array([-12, -8, -5, -3.5, -2.5, -1.5, -0.75, 0, 0.75, 1.5, 2.5, 3.5, 5, 8, 12, 20, 40])
TAIL_LENGTHS = 30  # a negative binomial's tail falls by e per variance/mean


def panel_nodes(
    first: float, centre: np.ndarray, spread: np.ndarray, extra: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Gauss–Legendre nodes on panels from ``first`` to beyond each distribution's tail.

    Panels lie around the mean in units of the standard deviation, double in width elsewhere, and
    are cut at ``extra``, where the integrand may jump.

    Parameters
    ----------
    first : float
        Where the integral begins.
    centre, spread, extra : ndarray, (entry,)

    Yields
    ------
    node, weight : ndarray, (used,)
    used : ndarray of int, (used,)
        Entries to which they belong.
    """
    tail = TAIL_LENGTHS * spread**2 / np.maximum(centre, 1.0)
    end = np.maximum(centre + AROUND[-1] * spread + tail, extra + 1)[:, None]
    doublings = np.arange(0, np.ceil(np.log2(np.maximum(end.max() / first, 1.0))) + 1)
    edges = np.concatenate(
        [
            np.broadcast_to(first * 2.0**doublings, (len(centre), len(doublings))),
            centre[:, None] + AROUND * spread[:, None],
            extra[:, None],
            end,
        ],
        axis=1,
    )
    edges = np.sort(np.clip(edges, first, end), axis=1)
    for left, right in zip(edges[:, :-1].T, edges[:, 1:].T, strict=True):
        used = np.flatnonzero(right > left)
        half = 0.5 * (right - left)[used]
        for node, weight in zip(NODES, WEIGHTS, strict=True):
            yield left[used] + half * (1 + node), weight * half, used
