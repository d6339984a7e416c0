"""Every gene at its mean in the cell's cluster, times the cell's size factor."""

from __future__ import annotations

import numpy as np

from countae.baselines import baseline
from countae.baselines._base import Learner, Predictor, Seen, averaged
from countae.baselines._log_space import LogSpace

AXES, STARTS = 20, 5


@baseline("cluster_mean")
class ClusterMean(Learner):
    """Expected count = size factor × the gene's mean in the nearest of k clusters.

    Clusters are found by k-means on 20 principal components of log1p counts of training cells,
    without labels; a cell joins the one that is nearest to where its visible genes put it. A
    cluster's mean is drawn towards the gene's overall mean as if one average cell had been added,
    so that no gene is impossible in a small cluster.
    """

    title = "Cluster mean × library size"
    settings = (2, 4, 8, 16, 32)  # clusters

    def learn(self, reference: Seen, setting: int) -> Predictor:
        from sklearn.cluster import KMeans

        space = LogSpace.of(reference, AXES)
        points = space.scores(reference)
        k = min(setting, len(np.unique(points, axis=0)))
        found = KMeans(k, n_init=STARTS, random_state=0).fit(points)
        member = found.labels_ == np.arange(k)[:, None]
        rate = averaged(member.astype(np.float64), reference)
        return lambda seen: seen.size_factor * rate[found.predict(space.scores(seen))]
