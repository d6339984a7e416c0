"""Principal components of log1p counts, and where a cell lies of which some counts are hidden."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from countae.baselines._base import Seen

TINY = 1e-10  # of the largest eigenvalue: below, an axis is not seen


@dataclass(frozen=True)
class LogSpace:
    """The first principal axes of log1p(count / size factor) of reference cells.

    ``centre`` is (gene,), ``axes`` (gene, axis) with orthonormal columns.
    """

    centre: np.ndarray
    axes: np.ndarray

    @classmethod
    def of(cls, reference: Seen, n_axes: int) -> LogSpace:
        """The space of cells of which nothing is hidden; fewer axes where they span fewer."""
        from sklearn.decomposition import PCA

        logged = reference.logged
        n = min(n_axes, min(logged.shape) - 1)
        if n < 1:
            return cls(logged.mean(axis=0), np.zeros((logged.shape[1], 0)))
        found = PCA(n, svd_solver="arpack", random_state=0).fit(logged)
        return cls(found.mean_, found.components_.T)

    def scores(self, seen: Seen) -> np.ndarray:
        r"""Coordinates of cells, (cell, axis): least squares over their visible genes.

        With nothing hidden this is the projection :math:`(y - c)^T A`; otherwise
        :math:`(A^T V A)^{+} A^T V (y - c)`, V being 1 at visible genes.
        """
        visible = ~seen.hidden
        n = self.axes.shape[1]
        target = ((seen.logged - self.centre) * visible) @ self.axes
        outer = (self.axes[:, :, None] * self.axes[:, None, :]).reshape(len(self.axes), n * n)
        gram = (visible.astype(np.float64) @ outer).reshape(-1, n, n)
        inverse = np.linalg.pinv(gram, rcond=TINY, hermitian=True)
        return np.einsum("cab,cb->ca", inverse, target)

    def location(self, seen: Seen) -> np.ndarray:
        """Reconstructed log1p counts, (cell, gene)."""
        return self.centre + self.scores(seen) @ self.axes.T
