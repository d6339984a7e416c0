"""What analysts do next: clusters, neighbours and markers, by loss and without any network.

Secondary: it decides no verdict. Latent coordinates and denoised counts are those of networks with
nothing hidden, as users take them home; test cells are never trained on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats
from scipy.sparse import csr_matrix

from countae import metrics, stress
from countae.comparison import holm
from countae.counts import CountMatrix
from countae.errors import CountMatrixError
from countae.metrics._clusterings import clusterings
from countae.model import CountAutoencoder
from countae.predict import latent_of, reconstructed
from countae.proteins import Proteins, rna_protein
from countae.score import noise_cells, test_cells
from countae.stress._change import with_counts
from countae.wording import short

OF_SPACE = ("nmi", "ari", "silhouette", "knn_purity")
# all: higher is better; the last needs proteins
MEASURES = (*OF_SPACE, "knn_overlap", "marker_recovery", "rna_protein")
NEIGHBOURS = 15
MARKERS = 20  # of each label
FEWEST_CELLS = 10  # of a label, in test cells and in others, for markers
RAW, PCA = "no denoising", "log1p + PCA"


class Later:
    """What can be measured of one data set, for networks and for the two controls.

    ``proteins`` are those of the same cells, where they were counted.

    Raises
    ------
    CountMatrixError
        Without labels, or when all test cells have the same one.
    """

    def __init__(self, matrix: CountMatrix, proteins: Proteins | None = None) -> None:
        self.matrix, self.proteins = matrix, proteins
        self.test, self.fitted = test_cells(matrix), noise_cells(matrix)
        if matrix.labels is None or len(np.unique(matrix.labels[self.test])) < 2:
            raise CountMatrixError(
                f"{matrix.source}: later use is judged by labels of cells, but "
                + ("no `label_key` was named" if matrix.labels is None else "all test cells have "
                   "the same one")
                + ". Fix: name a column with cell types in `label_key` and prepare again."
            )  # fmt: skip
        self.labels = matrix.labels
        self.halves = halves(matrix)
        self.markers = self._markers_of(_log_normalised(matrix, self.test), self.test)

    def of_network(self, network: CountAutoencoder, *, device: str = "auto") -> dict[str, float]:
        """Every measure of a network: its latent space, and its denoised counts for markers."""
        latent = latent_of(network, self.matrix, self.test, device=device)
        parts = [latent_of(network, half, self.test, device=device) for half in self.halves]
        blocks = reconstructed(network, self.matrix, device=device)
        mean = np.concatenate([mean for _, mean, _ in blocks])
        return self._measured(latent, parts, np.log1p(mean))

    def of_controls(self, components: int) -> dict[str, dict[str, float]]:
        """The same of log-normalised counts, and of some of their principal components."""
        from sklearn.decomposition import PCA as Components

        train = np.flatnonzero(self.matrix.part == "train")
        whole = _log_normalised(self.matrix, np.arange(len(self.matrix.cell_id)))
        raw, parts = whole[self.test], [_log_normalised(m, self.test) for m in self.halves]
        number = min(components, len(train) - 1, raw.shape[1])
        pca = Components(number, random_state=0, svd_solver="full").fit(whole[train])
        back = pca.inverse_transform(pca.transform(whole))
        return {
            RAW: self._measured(raw, parts, whole),
            PCA: self._measured(pca.transform(raw), [*map(pca.transform, parts)], back),
        }

    def _measured(
        self, space: np.ndarray, parts: list[np.ndarray], expression: np.ndarray
    ) -> dict[str, float]:
        """Every measure; ``expression``, (cell, gene), is that of all cells."""
        labels = self.labels[self.test]
        given = {"latent": space, "labels": labels}
        given["clusterings"] = clusterings(latent=space)
        found = {}
        for name in OF_SPACE:
            member = metrics.get(name)
            found[name] = float(member(**{need: given[need] for need in member.needs}))
        found["knn_overlap"] = knn_overlap(*parts)
        markers = self._markers_of(expression[self.fitted], self.fitted)
        found["marker_recovery"] = recovered(self.markers, markers)
        if self.proteins is not None:
            own = expression[self.test][:, self.proteins.gene]
            found["rna_protein"] = rna_protein(own, self.proteins.level[self.test])
        return found

    def _markers_of(self, expression: np.ndarray, cells: np.ndarray) -> dict[str, np.ndarray]:
        """Markers of each label that enough test cells and enough others have."""
        enough = [
            name for name in np.unique(self.labels)
            if min((self.labels[part] == name).sum() for part in (self.test, self.fitted))
            >= FEWEST_CELLS
        ]  # fmt: skip
        number = min(MARKERS, max(1, expression.shape[1] // 10))
        return {
            str(name): markers(expression, self.labels[cells] == name, number) for name in enough
        }


def markers(expression: np.ndarray, inside: np.ndarray, number: int) -> np.ndarray:
    r"""Index of the genes that are highest in some cells against all others, best first.

    By Wilcoxon's rank sum, standardised with the variance for ties,

    .. math:: z = \frac{U - n_1 n_2/2}{\sqrt{\frac{n_1 n_2}{12}\left(N + 1 -
              \sum_t \frac{t^3 - t}{N (N - 1)}\right)}}

    Parameters
    ----------
    expression : ndarray, (cell, gene), of any increasing scale
    inside : ndarray, (cell,), bool
    number : int
        Genes at most; those that are not higher than elsewhere (z ≤ 0) are none.

    Returns
    -------
    ndarray of int. Reference: Lehmann 1975, Nonparametrics, section 1.4
    """
    z = rank_sum(expression, inside)
    first = np.argsort(-z, kind="stable")[:number]
    return first[z[first] > 0]


def rank_sum(expression: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Standardised rank sum of each gene, (gene,); 0 where all cells are equal."""
    n, first = len(inside), int(inside.sum())
    second = n - first
    ranks = stats.rankdata(expression, axis=0)
    u = ranks[inside].sum(axis=0) - first * (first + 1) / 2
    # mean ranks lose (t³ − t)/12 of their sum of squares to each group of t ties
    spread = ((ranks - (n + 1) / 2) ** 2).sum(axis=0)
    variance = first * second * spread / (n * (n - 1))
    return np.divide(
        u - first * second / 2, np.sqrt(variance), out=np.zeros_like(u), where=variance > 0
    )


def recovered(wanted: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> float:
    """Mean over labels of the share of their markers that were found; NaN without any."""
    shares = [
        len(np.intersect1d(genes, found[name])) / len(genes)
        for name, genes in wanted.items()
        if len(genes)
    ]
    return float(np.mean(shares)) if shares else float("nan")


def knn_overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Mean share of each cell's 15 nearest neighbours in one space that are so in the other.

    Here the two halves of every cell's molecules. Chance gives 15/(cells − 1).
    Reference: Ahlmann-Eltze and Huber 2023, doi:10.1038/s41592-023-01814-1 (consistency)
    """
    from sklearn.neighbors import NearestNeighbors

    number = min(NEIGHBOURS, len(one) - 1)
    near = []
    for space in (one, other):
        search = NearestNeighbors(n_neighbors=number).fit(space.astype(np.float64))
        near.append(search.kneighbors(return_distance=False))
    return float(
        np.mean([len(np.intersect1d(*pair)) / number for pair in zip(*near, strict=True)])
    )


def compared(
    losses: dict[str, list[dict[str, float]]],
    controls: dict[str, dict[str, float]],
    *,
    level: float,
) -> dict[str, Any]:
    """Content of downstream.json: values over seeds, and a sentence per measure.

    Parameters
    ----------
    losses : dict of list of dict
        Measures by loss, one per seed, in the same order of seeds.
    controls : dict of dict
        Measures of the two controls.
    level : float
        Error level of the intervals, and of the comparisons with the best after Holm's correction.
    """
    found = {}
    for name in [m for m in MEASURES if all(m in seed for own in losses.values() for seed in own)]:
        values = {loss: np.array([seed[name] for seed in seeds]) for loss, seeds in losses.items()}
        known = {loss: value for loss, value in values.items() if np.isfinite(value).all()}
        rows = {loss: _row(value, level) for loss, value in known.items()}
        of_controls = {
            control: value[name] for control, value in controls.items() if np.isfinite(value[name])
        }
        found[name] = {
            "losses": rows, "controls": of_controls,
            "sentence": _sentence(known, rows, of_controls, level),
        }  # fmt: skip
    return {"measures": found, "confidence": 1 - level}


def _row(value: np.ndarray, level: float) -> dict[str, Any]:
    """Mean over seeds, with Student's interval where there are several."""
    half = None
    if len(value) > 1:
        half = stats.t.ppf(1 - level / 2, len(value) - 1) * value.std(ddof=1) / len(value) ** 0.5
    mean = float(value.mean())
    return {
        "value": mean, "seeds": len(value),
        "interval": None if half is None else [mean - float(half), mean + float(half)],
    }  # fmt: skip


def behind(values: dict[str, np.ndarray], level: float) -> list[str]:
    """Losses worse than the best by a paired t-test over seeds, Holm-corrected; best by mean."""
    best = max(values, key=lambda loss: values[loss].mean())
    others = [loss for loss in values if loss != best]
    if not others or len(values[best]) < 2:
        return []
    gaps = np.array([values[best] - values[loss] for loss in others])
    error = gaps.std(axis=1, ddof=1) / np.sqrt(gaps.shape[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(gaps.mean(axis=1) == 0, 0.0, gaps.mean(axis=1) / error)
    p = holm(2 * stats.t.sf(statistic, gaps.shape[1] - 1))
    return [loss for loss, value in zip(others, p, strict=True) if value <= level]


def _sentence(
    values: dict[str, np.ndarray],
    rows: dict[str, dict[str, Any]],
    controls: dict[str, float],
    level: float,
) -> str:
    if not values:
        return "Not known for these cells."
    best, worse = max(rows, key=lambda loss: rows[loss]["value"]), behind(values, level)
    told = f"{short(best)} is highest, {rows[best]['value']:.3f}"
    seeds, interval = rows[best]["seeds"], rows[best]["interval"]
    if interval:
        told += f" ({interval[0]:.3f} to {interval[1]:.3f} over {seeds} seeds)"
    same = [short(loss) for loss in values if loss != best and loss not in worse]
    if seeds < 2:
        told += "; one seed says nothing of differences between losses"
    elif not worse:
        told += f"; {seeds} seeds do not tell the losses apart"
    else:
        told += f"; not told apart from it: {', '.join(same) or 'none'}"
        told += f"; lower: {', '.join(short(loss) for loss in worse)}"
    rest = ", ".join(f"{name} {value:.3f}" for name, value in controls.items())
    above = [name for name, value in controls.items() if value > rows[best]["value"]]
    told += f". Controls: {rest or 'none'}."
    return f"{told} No loss reaches {' or '.join(above)}." if above else told


def halves(matrix: CountMatrix) -> list[CountMatrix]:
    """The matrix twice, with one half of the molecules of its test cells each time."""
    (one,) = stress.get("depth")(matrix, 0.5, settings={})
    test = matrix.part == "test"
    rest = matrix.rows(slice(None)) - csr_matrix(one.counts.multiply(test[:, None]))
    library = np.where(test, matrix.library_size - one.library_size, matrix.library_size)
    return [one, with_counts(matrix, rest, library)]


def _log_normalised(matrix: CountMatrix, cells: np.ndarray) -> np.ndarray:
    """log1p of counts over the size factor, (cell, gene), float64."""
    return np.log1p(matrix.rows(cells).toarray() / matrix.size_factor[cells, None])
