"""Predictions that another program made and left in a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from countae import likelihoods
from countae.baselines._base import Baseline
from countae.counts import CountMatrix
from countae.errors import ScoreError
from countae.files import array_names, read_array, written_aside
from countae.predict import Prediction

FIX = "Fix: make it again with `countae peer`, or see docs/howto-peers.md."


@dataclass(frozen=True)
class Predictions(Baseline):
    """What another program says of cells' counts while they are hidden.

    ``cell_id``, (row,), names the cells; ``expected``, (row, gene), are expected raw counts.
    ``likelihood`` and ``parameters``, (row, gene), are its own distribution; an empty name says
    that it has none. ``points``, (row, axis), are coordinates of the cells with nothing hidden.
    """

    cell_id: np.ndarray
    expected: np.ndarray
    likelihood: str = ""
    parameters: dict[str, np.ndarray] = field(default_factory=dict)
    points: np.ndarray | None = None

    title = "Another program"

    @property
    def native(self) -> bool:  # type: ignore[override]
        """Whether the file holds a distribution."""
        return bool(self.likelihood)

    def mean(self, matrix: CountMatrix, cells: np.ndarray) -> np.ndarray:
        return self.expected[self._rows(matrix, cells)].astype(np.float64)

    def prediction(self, matrix: CountMatrix, cells: np.ndarray) -> Prediction:
        member, rows = likelihoods.get(self.likelihood)(), self._rows(matrix, cells)
        of_cells = {n: torch.as_tensor(self.parameters[n][rows]) for n in member.parameters}
        return Prediction.of(member, of_cells)

    def latent(self, matrix: CountMatrix, cells: np.ndarray) -> np.ndarray | None:
        return None if self.points is None else self.points[self._rows(matrix, cells)]

    def _rows(self, matrix: CountMatrix, cells: np.ndarray) -> np.ndarray:
        place = {name: row for row, name in enumerate(self.cell_id)}
        return np.array([place[name] for name in matrix.cell_id[cells]], dtype=np.int64)

    def save(self, path: str | Path, counts: str) -> None:
        """Write an .npz file; ``counts`` is the checksum of the counts that are predicted."""
        arrays = {f"parameter_{name}": value for name, value in self.parameters.items()}
        if self.points is not None:
            arrays["latent"] = self.points
        with written_aside(path) as aside:
            np.savez(
                aside, allow_pickle=False, cell_id=self.cell_id.astype(str), mean=self.expected,
                likelihood=np.array(self.likelihood), counts=np.array(counts), **arrays,
            )  # fmt: skip


def read_predictions(path: str | Path, matrix: CountMatrix, cells: np.ndarray) -> Predictions:
    """Predictions of ``cells`` from a file, checked.

    Raises
    ------
    ScoreError
        When the file is damaged, or does not hold finite values for each entry of these cells.
    """
    held = array_names(path)
    missing = {"cell_id", "mean"} - held
    if missing:
        raise ScoreError(
            f"{path}: must hold arrays `cell_id` and `mean`, but has no {sorted(missing)[0]!r}. "
            + FIX
        )
    made_of = str(read_array(path, "counts")) if "counts" in held else ""
    if made_of and made_of != matrix.info["checksum"]:
        raise ScoreError(
            f"{path}: predicts other counts (checksum {made_of}) than {matrix.source} has now "
            f"(checksum {matrix.info['checksum']}). {FIX}"
        )
    name = str(read_array(path, "likelihood")) if "likelihood" in held else ""
    own = likelihoods.get(name).parameters if name else ()
    absent = [parameter for parameter in own if f"parameter_{parameter}" not in held]
    if absent:
        raise ScoreError(
            f"{path}: names the distribution {name!r}, but has no array "
            f"`parameter_{absent[0]}`. {FIX}"
        )
    found = Predictions(
        read_array(path, "cell_id"), read_array(path, "mean"), name,
        {parameter: read_array(path, f"parameter_{parameter}") for parameter in own},
        read_array(path, "latent") if "latent" in held else None,
    )  # fmt: skip
    _check(found, path, matrix, cells)
    return found


def _check(found: Predictions, path: str | Path, matrix: CountMatrix, cells: np.ndarray) -> None:
    """Raise ScoreError unless every entry of ``cells`` has finite values of the right shape."""
    unknown = sorted(set(matrix.cell_id[cells]) - {*found.cell_id.tolist()})
    if unknown:
        raise ScoreError(
            f"{path}: must predict all test cells and those on which noise is fitted, "
            f"{len(cells):,} in all, but {len(unknown):,} are not there; first: {unknown[0]!r}. "
            + FIX
        )
    shape = len(found.cell_id), len(matrix.gene_id)
    arrays = {"mean": found.expected} | {
        f"parameter_{name}": value for name, value in found.parameters.items()
    }
    for name, value in arrays.items():
        if value.shape != shape:
            raise ScoreError(
                f"{path}: `{name}` must be (cell, gene), {shape}, but is {value.shape}. {FIX}"
            )
        if not np.isfinite(value).all():
            raise ScoreError(
                f"{path}: `{name}` must be finite, but {(~np.isfinite(value)).sum():,} of "
                f"{value.size:,} values are not. {FIX}"
            )
