"""Diffusion of counts over a graph of similar cells, after MAGIC."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix, diags, eye_array

from countae.baselines import baseline
from countae.baselines._base import Learner, Predictor, Seen
from countae.baselines._log_space import LogSpace

AXES = 20
NEAREST = 5  # sets the width of a cell's kernel
MOST = 3 * NEAREST  # neighbours that a kernel reaches


@baseline("magic")
class Magic(Learner):
    r"""Counts per unit of size factor after t steps of a random walk between similar cells.

    .. math:: K_{ij} = \exp(-d_{ij}/ε_i), \quad P = D^{-1}(K + K^T)/2, \quad
              \hat x_i = s_i\, k_i P^{t-1} (x/s)

    with :math:`ε_i` the distance to the fifth neighbour, 15 neighbours at most, and :math:`k_i`
    the normalised kernel from the cell that is asked about to training cells. Distances are those
    of 20 principal components of log1p counts. The walk begins at the place where a cell's visible
    genes put it and goes over training cells only: with the cell itself on the graph its hidden
    zeros would be averaged in. The original diffuses square roots of counts per cell, on 100
    components; counts themselves have means that need no back-transform.
    Reference: van Dijk et al. 2018, doi:10.1016/j.cell.2018.05.061.
    """

    title = "Diffusion over similar cells (MAGIC)"
    settings = (1, 2, 3, 5)  # steps

    def learn(self, reference: Seen, setting: int) -> Predictor:
        from sklearn.neighbors import NearestNeighbors

        space = LogSpace.of(reference, AXES)
        points = space.scores(reference)
        index = NearestNeighbors(n_neighbors=min(MOST, len(points) - 1)).fit(points)
        walked = reference.counts / reference.size_factor
        step = walk(kernel(index.kneighbors_graph(mode="distance")))
        for _ in range(setting - 1):
            walked = step @ walked

        def predict(seen: Seen) -> np.ndarray:
            near = kernel(index.kneighbors_graph(space.scores(seen), mode="distance"))
            return seen.size_factor * (normalised(near) @ walked)

        return predict


def kernel(distance: csr_matrix) -> csr_matrix:
    """exp(−d/ε) of each stored distance, ε being its row's fifth smallest, or the largest."""
    values = np.sort(distance.data.reshape(distance.shape[0], -1), axis=1)
    width = values[:, min(NEAREST, values.shape[1]) - 1]
    # neighbours that all lie on the same point are all alike
    scale = np.repeat(np.where(width > 0, width, 1.0), values.shape[1])
    return csr_matrix(
        (np.exp(-distance.data / scale), distance.indices, distance.indptr), distance.shape
    )


def walk(near: csr_matrix) -> csr_matrix:
    """Probabilities of a step between cells: symmetric kernel, 1 from a cell to itself."""
    return normalised(csr_matrix((near + near.T) / 2 + eye_array(near.shape[0])))


def normalised(near: csr_matrix) -> csr_matrix:
    """The same with rows that add up to 1."""
    return csr_matrix(diags(1.0 / near.sum(axis=1).A1) @ near)
