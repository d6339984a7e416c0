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
from countae.likelihoods._distribution import WANTED, CountDistribution
from countae.predict import Prediction
from countae.registry import shown

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
        When the file is damaged, does not name each of these cells once, or holds values that are
        not finite or outside their range.
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
    """Raise ScoreError unless each of ``cells`` has one row, and every value can be scored."""
    _check_cells(found.cell_id, path, matrix.cell_id[cells])
    shape = len(found.cell_id), len(matrix.gene_id)
    mean = found.expected
    _check_array("mean", mean, path, shape)
    _check_values("mean", mean, mean >= 0, "not negative", path)
    if not mean.any():
        raise ScoreError(
            f"{path}: `mean` must be expected raw counts, but all {mean.size:,} values are zero. "
            + FIX
        )
    ranges = CountDistribution.ranges(likelihoods.get(found.likelihood)()) if found.native else {}
    for name, wanted in ranges.items():
        value, label = found.parameters[name], f"parameter_{name}"
        _check_array(label, value, path, shape)
        good = wanted.check(torch.as_tensor(value)).numpy()
        _check_values(label, value, good, WANTED[wanted], path)
    if found.points is not None:
        _check_array("latent", found.points, path, (len(found.cell_id), None))


def _check_cells(cell_id: np.ndarray, path: str | Path, wanted: np.ndarray) -> None:
    """Raise ScoreError unless each wanted cell is there, and no cell twice."""
    if cell_id.ndim != 1:
        raise ScoreError(f"{path}: `cell_id` must be (row,), but is {cell_id.shape}. {FIX}")
    names, times = np.unique(cell_id, return_counts=True)
    if (times > 1).any():
        raise ScoreError(
            f"{path}: `cell_id` must name each cell once, but {(times > 1).sum():,} of "
            f"{len(names):,} cells stand there more often; first: "
            f"{shown(str(names[times > 1][0]))}. {FIX}"
        )
    unknown = sorted({*wanted} - {*cell_id.tolist()})
    if unknown:
        raise ScoreError(
            f"{path}: must predict all test cells and those on which noise is fitted, "
            f"{len(wanted):,} in all, but {len(unknown):,} are not there; first: "
            f"{shown(unknown[0])}. {FIX}"
        )


def _check_array(
    name: str, value: np.ndarray, path: str | Path, shape: tuple[int, int | None]
) -> None:
    """Raise ScoreError unless an array holds finite numbers in a shape; None is any width."""
    rows, width = shape
    fits = value.ndim == 2 and len(value) == rows and value.shape[1] == (width or value.shape[1])
    if not fits or not value.size:
        wanted = f"(row, gene), {shape}" if width else f"(row, axis), {rows} rows"
        raise ScoreError(f"{path}: `{name}` must be {wanted}, but is {value.shape}. {FIX}")
    if value.dtype.kind not in "fiu":
        raise ScoreError(f"{path}: `{name}` must hold numbers, but holds {value.dtype}. {FIX}")
    _check_values(name, value, np.isfinite(value), "finite", path)


def _check_values(
    name: str, value: np.ndarray, good: np.ndarray, wanted: str, path: str | Path
) -> None:
    """Raise ScoreError with the first value that is not as wanted."""
    if good.all():
        return
    row, column = np.argwhere(~good)[0]
    raise ScoreError(
        f"{path}: `{name}` must be {wanted}, but {(~good).sum():,} of {value.size:,} values are "
        f"not; first: {value[row, column]:.4g} in row {row}, column {column}. {FIX}"
    )
