"""The mean of the nearest training cells: smoothing by neighbours."""

from __future__ import annotations

import numpy as np

from countae.baselines import baseline
from countae.baselines._base import Learner, Predictor, Seen, averaged
from countae.baselines._log_space import LogSpace

AXES = 20


@baseline("knn_smoothing")
class KNNSmoothing(Learner):
    r"""Expected count = size factor × counts of the k nearest training cells ÷ their sizes.

    As in k-nearest-neighbour smoothing (Wagner et al. 2017, doi:10.1101/217737) the counts of
    neighbours are added up, not averaged after normalisation, so that deep cells count more. Here
    neighbours are training cells, near on 20 principal components of log1p counts, at the place
    where a cell's visible genes put it; the cell's own count is what is asked for and no part of
    the sum, and one average cell is added, so that no mean is 0. The original takes neighbours in
    several steps; here it is one.
    """

    title = "k-nearest-neighbour smoothing"
    settings = (5, 10, 20, 40, 80)  # neighbours

    def learn(self, reference: Seen, setting: int) -> Predictor:
        from sklearn.neighbors import NearestNeighbors

        space = LogSpace.of(reference, AXES)
        k = min(setting, len(reference.counts))
        index = NearestNeighbors(n_neighbors=k).fit(space.scores(reference))

        def predict(seen: Seen) -> np.ndarray:
            near = index.kneighbors_graph(space.scores(seen))
            return seen.size_factor * averaged(near, reference)

        return predict
