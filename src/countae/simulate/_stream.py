"""Simulated counts of more cells than fit into memory: drawn and written block by block."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_matrix

from countae.counts._store import RowWriter, stored
from countae.errors import ConfigError
from countae.progress import working
from countae.simulate._design import Design, numbered

if TYPE_CHECKING:
    import pandas as pd

    from countae.simulate import Simulator

MOST_WITH_TRUTH = 100_000_000  # entries (cell, gene) up to which the truth of each is kept
BLOCK = 256  # cells per random stream, so that no draw depends on how many cells there are
PILOT, GENES = 2**40, 2**40 + 1  # streams beside those of the blocks


@dataclass(frozen=True)
class Population:
    """What all cells of a simulation share; see :func:`countae.simulate.random_design`.

    The means are of the same form as there, from other random numbers, with the one constant that
    sets the depth averaged over 256 further cells.

    ``level`` is (gene,), ``of_type`` (type, gene), ``loading`` (2, gene), ``of_batch`` (batch,
    gene), all on the log scale; ``theta`` and ``zero`` are (gene,).
    """

    family: Simulator
    seed: int
    depth: float
    level: np.ndarray
    of_type: np.ndarray
    loading: np.ndarray
    of_batch: np.ndarray
    theta: np.ndarray
    zero: np.ndarray
    expected: float = 1.0

    @classmethod
    def drawn(cls, family: Simulator, settings: dict[str, Any]) -> Population:
        """A population from the configuration's section ``simulate``."""
        seed, genes = settings["simulation_seed"], settings["n_genes"]
        rng, types = _stream(seed, GENES), settings["n_types"]
        gene = Design(np.ones((1, genes)))
        shared = {
            "level": rng.normal(0, 1.2, genes),
            "of_type": rng.normal(0, 1.0, (types, genes)) * (rng.random((types, genes)) < 0.25),
            "loading": rng.normal(0, 1.0, (2, genes)),
            "of_batch": rng.normal(0, 0.3, (settings["n_batches"], genes)),
            "theta": gene.inverse_dispersions(rng),
            "zero": gene.zero_probabilities(rng),
        }
        if settings["n_batches"] == 1:
            shared["of_batch"][:] = 0
        made = cls(family, seed, settings["depth"], **shared)
        pilot, *_ = made._levels(BLOCK, _stream(seed, PILOT))
        return cls(family, seed, settings["depth"], **shared, expected=pilot.sum(axis=1).mean())

    def block(self, number: int, cells: int) -> tuple[csr_matrix, pd.DataFrame]:
        """Counts of the first ``cells`` cells of a block, (cell, gene), and their table."""
        import pandas as pd

        rng = _stream(self.seed, number)
        level, label, batch, library = self._levels(BLOCK, rng)
        mean = library[:, None] * level / self.expected
        drawn = self.family(self.plan(mean), rng)
        table = {"cell_type": label, "batch": batch, "true_library_size": drawn.mean.sum(axis=1)}
        counts = csr_matrix(drawn.counts[:cells].astype(np.int32))
        return counts, pd.DataFrame(table)[:cells]

    def plan(self, mean: np.ndarray) -> Design:
        """Cells with some means and the noise of this population."""
        return Design(mean, inverse_dispersion=self.theta, zero_probability=self.zero)

    def blocks(self, cells: int, threads: int) -> Iterator[tuple[csr_matrix, pd.DataFrame]]:
        """All blocks in order, drawn by some threads; few are waiting at a time."""
        sizes = [min(BLOCK, cells - start) for start in range(0, cells, BLOCK)]
        waiting: deque[Any] = deque()
        with ThreadPoolExecutor(threads) as pool:
            for number, size in enumerate(sizes):
                waiting.append(pool.submit(self.block, number, size))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _levels(self, cells: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Level of each entry, (cell, gene), and type, batch and library size of each cell."""
        label = rng.integers(len(self.of_type), size=cells)
        batch = rng.integers(len(self.of_batch), size=cells)
        log_level = self.level + self.of_type[label] + self.of_batch[batch]
        log_level += rng.normal(0, 0.3, (cells, 2)) @ self.loading
        library = self.depth * rng.lognormal(-0.5 * 0.35**2, 0.35, cells)
        return np.exp(log_level), label, batch, library


def write(family: Simulator, settings: dict[str, Any], path: str | Path, *, threads: int) -> None:
    """Write simulated counts as .h5ad; without the truth of single entries, which is too large.

    Parameters
    ----------
    family : Simulator
    settings : dict
        The configuration's section ``simulate``.
    path : str or Path
    threads : int
        The counts do not depend on their number.

    Raises
    ------
    ConfigError
        When the family draws all cells together.
    """
    if not family.by_cell:
        raise ConfigError(
            f"{family.name}: {settings['n_cells']:,} cells × {settings['n_genes']:,} genes are "
            f"drawn in blocks (above {MOST_WITH_TRUTH:,} entries), but this family draws all "
            "cells together. Fix: ask for fewer, or for another family, such as zinb."
        )
    population, cells = Population.drawn(family, settings), settings["n_cells"]
    tables = []
    with stored(path) as file:
        shape = (cells, settings["n_genes"])
        writer = RowWriter(file, "X", shape=shape, stored=None, dtype=np.int32)
        with working(f"simulating {family.name}", cells, "cells") as work:
            for counts, table in population.blocks(cells, threads):
                writer.append(counts)
                tables.append(table)
                work.advance(len(table))
        writer.close()
        _write_tables(file, population, tables)


def _write_tables(file: Any, population: Population, tables: list[pd.DataFrame]) -> None:
    """Tables of cells and genes, and what made the counts."""
    import pandas as pd
    from anndata.io import write_elem

    obs = pd.concat(tables, ignore_index=True)
    obs["cell_type"] = pd.Categorical(numbered("type", obs["cell_type"].to_numpy()))
    if len(population.of_batch) > 1:
        obs["batch"] = pd.Categorical(numbered("batch", obs["batch"].to_numpy()))
    else:
        del obs["batch"]
    obs.index = [f"cell{i}" for i in range(len(obs))]
    genes = [f"gene{j}" for j in range(len(population.level))]
    family, gene = population.family, population.plan(np.ones((1, len(genes))))
    drawn = family(gene, _stream(population.seed, PILOT))
    var = pd.DataFrame({f"true_{k}": v for k, v in drawn.parameters.items()}, index=genes)
    truth = {"family": family.name, "likelihood": family.likelihood, "seed": population.seed}
    for name, value in {"obs": obs, "var": var, "uns": {"truth": truth}}.items():
        file.pop(name, None)
        write_elem(file, name, value)


def _stream(seed: int, number: int) -> np.random.Generator:
    """Random numbers of one block."""
    return np.random.Generator(np.random.Philox(key=[seed, number]))
