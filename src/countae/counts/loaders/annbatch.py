"""Rows by way of annbatch (https://annbatch.readthedocs.io), for Python 3.12 and later."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from countae.counts.loaders import register
from countae.counts.loaders._base import Loader
from countae.errors import ConfigError


@register("annbatch")
class Annbatch(Loader):
    """annbatch.Loader, asked for the cells of one step at a time, so that their order is ours.

    It takes counts that are in memory or mapped, and those of a zarr store
    (``anndata.io.sparse_dataset``).

    Raises
    ------
    ConfigError
        When annbatch is not installed.
    """

    def __init__(self, counts: Any) -> None:
        super().__init__(counts)
        self._asked: np.ndarray = np.empty(0, np.int64)
        self._loader = _loader_of(self._requests).add_dataset(counts)

    def rows(self, cells: np.ndarray) -> tuple[csr_matrix, np.ndarray]:
        """Counts of ``cells``, and all of them."""
        self._asked = cells
        (found,) = self._loader
        return found["X"], np.arange(len(cells))

    def _requests(self) -> Iterator[dict[str, Any]]:
        yield {"requests": self._asked, "splits": [np.arange(len(self._asked))]}


def _loader_of(requests: Any) -> Any:
    """An ``annbatch.Loader`` that loads what ``requests`` yields."""
    try:
        import annbatch
    except ImportError as error:
        raise ConfigError(
            f"training.loader is annbatch, which cannot be used here: {error}. Fix: with Python "
            "3.12 or later `pip install 'countae[annbatch]'`, or set training.loader to mapped, "
            "which gives the same numbers and is faster."
        ) from error

    class Asked(annbatch.abc.Sampler):  # type: ignore[misc, name-defined]
        """Load requests as they come."""

        batch_size, shuffle = None, False

        def n_batches(self, n_obs: int) -> int:
            return 1

        def validate(self, n_obs: int) -> None:
            """Cells are chosen from the very matrix."""

        def _sample(self, n_obs: int) -> Iterator[dict[str, Any]]:
            return requests()

    return annbatch.Loader(batch_sampler=Asked())
