"""What every peer answers."""

from __future__ import annotations

import importlib
import logging
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any, ClassVar

import numpy as np

from countae.baselines._file import Predictions
from countae.counts import CountMatrix
from countae.errors import ConfigError
from countae.fit import peak_memory
from countae.noise import noise_cells


class Peer(ABC):
    """Another program's network, trained by its own code at its own defaults.

    ``package`` is the distribution that brings it, in the extra `peers` and in envs/peers.yaml;
    ``module`` is what it is called in Python.
    """

    title: ClassVar[str]
    package: ClassVar[str]
    module: ClassVar[str]

    @abstractmethod
    def train(self, matrix: CountMatrix, cells: np.ndarray, *, seed: int) -> dict[str, Any]:
        """Train on the whole counts of ``cells``; what is worth a note, such as epochs."""

    @abstractmethod
    def predict(self, matrix: CountMatrix, cells: np.ndarray) -> Predictions:
        """What it says of every entry of ``cells`` while that entry is hidden from it."""

    def run(self, matrix: CountMatrix, *, seed: int) -> tuple[Predictions, dict[str, Any]]:
        """Train on the training cells and predict all that scoring asks for, with a record."""
        version = version_of(self.package)
        with quiet():
            importlib.import_module(self.module)  # not part of the time
        began, used = time.perf_counter(), time.process_time()
        notes = self.train(matrix, np.flatnonzero(matrix.part == "train"), seed=seed)
        record = {
            "title": self.title, "seed": seed, "versions": {self.package: version},
            "seconds": time.perf_counter() - began, "processor": time.process_time() - used,
            "peak_memory_mb": peak_memory(), "counts": matrix.info["checksum"],
        }  # fmt: skip
        return self.predict(matrix, scored_cells(matrix)), record | notes


def scored_cells(matrix: CountMatrix) -> np.ndarray:
    """Cells of which scoring needs predictions: test cells, and those on which noise is fitted."""
    return np.concatenate([np.flatnonzero(matrix.part == "test"), noise_cells(matrix)])


def version_of(package: str) -> str:
    """Version of an installed distribution.

    Raises
    ------
    ConfigError
        When it is not installed.
    """
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError as error:
        raise ConfigError(
            f"This peer needs {package}, which is not installed here. Fix: `pip install "
            "'countae[peers]'`, best into an environment of its own, or let Snakemake make one "
            "with `--software-deployment-method conda`."
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps warnings and notes of another program from a user who can do nothing about them."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
