"""Low-rank approximation of log1p counts, cut off at what may be zero: ALRA."""

from __future__ import annotations

import numpy as np

from countae.baselines import baseline
from countae.baselines._base import Learner, Predictor, Seen, hold_out
from countae.counts import CountMatrix

MOST_RANK, NOISE_FROM, DEVIATIONS = 100, 0.8, 6.0


@baseline("alra")
class ALRA(Learner):
    r"""Adaptively-thresholded low-rank approximation of log1p(count / size factor).

    The matrix is approximated by its first k singular vectors; values of a gene that are not above
    the size of its most negative one are set to zero; the others get the mean and the spread of
    the gene's observed non-zero values. k is the last rank whose gap to the next singular value is
    more than six standard deviations above the mean gap of those that are taken for noise.

    Vectors, thresholds and means are those of training cells with nothing hidden. A cell that is
    asked about is projected on the vectors with its hidden entries at zero, as ALRA takes every
    zero for one that may be missing. Its expected count is size factor × (e^value − 1), which is
    0 where ALRA says that a gene is not expressed.
    Reference: Linderman et al. 2022, doi:10.1038/s41467-021-27729-z.
    """

    title = "Thresholded low rank (ALRA)"
    settings = (None,)

    def learn(self, reference: Seen, setting: None) -> Predictor:
        logged = reference.logged
        _, values, vectors = np.linalg.svd(logged, full_matrices=False)
        axes = vectors[: rank(values)].T
        low = logged @ axes @ axes.T
        threshold = np.abs(low.min(axis=0))
        kept = np.where(low > threshold, low, 0.0)
        shift, scale = matched(kept, logged)

        def predict(seen: Seen) -> np.ndarray:
            low = seen.logged @ axes @ axes.T
            return np.where(low > threshold, np.maximum(low * scale + shift, 0.0), 0.0)

        return predict

    def to_mean(self, matrix: CountMatrix, cells: np.ndarray, values: np.ndarray) -> np.ndarray:
        return hold_out(matrix).size_factor(cells) * np.expm1(values)


def rank(values: np.ndarray) -> int:
    """Number of singular values, sorted, that stand out from the gaps of the noise; 1 or more."""
    gaps = -np.diff(values[:MOST_RANK])
    noise = gaps[int(NOISE_FROM * len(gaps)) :]
    if len(noise) < 2:
        return 1
    clear = np.flatnonzero(gaps > noise.mean() + DEVIATIONS * noise.std(ddof=1))
    return int(clear[-1]) + 1 if clear.size else 1


def matched(low: np.ndarray, observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shift and scale per gene that give positive values the observed ones' mean and deviation.

    A gene is left as it is where either has no deviation, as ALRA does.
    """
    (mean, deviation), (wanted, spread) = positive_moments(low), positive_moments(observed)
    known = (deviation > 0) & (spread > 0)
    scale = np.divide(spread, deviation, out=np.ones_like(spread), where=known)
    return np.where(known, wanted - mean * scale, 0.0), scale


def positive_moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (n − 1) of the positive values of each gene; 0 without any."""
    positive = values > 0
    n = positive.sum(axis=0)
    mean = np.where(positive, values, 0.0).sum(axis=0) / np.maximum(n, 1)
    square = np.where(positive, values - mean, 0.0) ** 2
    return mean, np.sqrt(square.sum(axis=0) / np.maximum(n - 1, 1))
