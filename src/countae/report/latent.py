"""Latent coordinates from the exported .h5ad, as two-dimensional maps."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from countae.counts.readers._base import readable
from countae.errors import ScoreError

MOST_CELLS = 5_000
MOST_LABELS = 24  # as many pairs of colour and shape as an eye may tell
OTHERS = "other labels"


@dataclass(frozen=True)
class Latents:
    """Maps of the cells, (cell, 2) by loss, and the label of each cell where there is one.

    ``explained`` is the share of each latent's variance on the two axes; ``n_cells`` counts all
    cells, ``maps`` and ``labels`` hold those that are shown.
    """

    label_key: str = ""
    n_cells: int = 0
    labels: list[str] | None = None
    maps: dict[str, np.ndarray] = field(default_factory=dict)
    explained: dict[str, float] = field(default_factory=dict)

    @property
    def n_shown(self) -> int:
        """Cells on each map."""
        return max((len(points) for points in self.maps.values()), default=0)

    def thinned(self, most: int) -> Latents:
        """The same with at most so many cells, each label in proportion."""
        if self.n_shown <= most:
            return self
        labels = None if self.labels is None else np.array(self.labels)
        shown = chosen_cells(labels, self.n_shown, most)
        return replace(
            self,
            labels=None if labels is None else labels[shown].tolist(),
            maps={loss: points[shown] for loss, points in self.maps.items()},
        )


def read_latents(path: Path, losses: list[str]) -> Latents:
    """First two principal components of each loss' latent, of at most 5,000 cells.

    Raises
    ------
    ScoreError
        When the file is missing or is not one that ``countae export`` wrote.
    CountMatrixError
        When it is damaged.
    """
    import h5py
    from anndata.io import read_elem

    if not path.is_file():
        raise ScoreError(
            f"{path}: the report takes the latent maps from this file, but it does not exist. "
            "Fix: make it with `countae export`, or run the workflow for this data set again."
        )
    with readable(path, ".h5ad"), h5py.File(path) as file:
        if "uns/countae" not in file:
            raise ScoreError(
                f"{path}: must be a file made by `countae export`, but it has no uns['countae']. "
                "Fix: make it again."
            )
        key = str(read_elem(file["uns/countae"]).get("label_key") or "")
        obs = read_elem(file["obs"])
        latents = {
            loss: np.asarray(read_elem(file[f"obsm/X_{loss}"]), dtype=np.float64)
            for loss in losses
            if f"obsm/X_{loss}" in file
        }
    labels = obs[key].astype(str).to_numpy() if key in obs else None
    shown = chosen_cells(labels, len(obs))
    pairs = {loss: principal_components(latent, shown) for loss, latent in latents.items()}
    return Latents(
        key if labels is not None else "",
        len(obs),
        None if labels is None else _frequent(labels)[shown].tolist(),
        {loss: points for loss, (points, _) in pairs.items()},
        {loss: share for loss, (_, share) in pairs.items()},
    )


def chosen_cells(labels: np.ndarray | None, n_cells: int, most: int = MOST_CELLS) -> np.ndarray:
    """Indices of at most ``most`` cells, each label in proportion and with one cell at least."""
    if n_cells <= most:
        return np.arange(n_cells)
    rng = np.random.default_rng(0)
    groups = np.zeros(n_cells, dtype=int)
    if labels is not None:
        groups = np.unique(labels, return_inverse=True)[1]
    members = [rng.permutation(np.flatnonzero(groups == group)) for group in np.unique(groups)]
    share = most / n_cells
    taken = np.concatenate([cells[: max(1, int(share * len(cells)))] for cells in members])
    return np.sort(rng.permutation(taken)[:most])


def principal_components(latent: np.ndarray, shown: np.ndarray) -> tuple[np.ndarray, float]:
    """Coordinates of the shown cells on the latent's first two axes, and their variance share."""
    centred = latent - latent.mean(axis=0)
    _, size, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    points = np.zeros((len(shown), 2))
    points[:, : min(2, len(axes))] = centred[shown] @ axes[:2].T
    total = float(np.square(size).sum())
    return points, float(np.square(size[:2]).sum()) / total if total > 0 else 0.0


def _frequent(labels: np.ndarray) -> np.ndarray:
    """Labels with all but the most frequent ones merged, where there are too many to draw."""
    names, number = np.unique(labels, return_counts=True)
    if len(names) <= MOST_LABELS:
        return labels
    kept = names[np.argsort(-number, kind="stable")[: MOST_LABELS - 1]]
    return np.where(np.isin(labels, kept), labels, OTHERS)
