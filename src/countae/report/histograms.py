"""What the picture of one gene needs: its counts, and what each loss expected of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from countae.errors import ScoreError
from countae.files import read_table

METRIC = "count_histogram"
UNIT = 1e-5  # shares are whole numbers of it, as exact as they were computed


@dataclass(frozen=True)
class Histograms:
    """Shares of each gene's held-out counts in bins, observed and by loss.

    ``starts`` holds the first count of each bin, the last bin is open; ``observed`` and each of
    ``expected`` are (bin, gene), float32, and add up to 1 over bins.
    """

    genes: list[str]
    starts: list[int]
    observed: np.ndarray
    expected: dict[str, np.ndarray]

    @property
    def bins(self) -> list[str]:
        """Bins in words: 0, 1, … 5–6, … 1000+."""
        ends = [str(start) for start in self.starts]
        for k, (start, following) in enumerate(zip(self.starts, self.starts[1:], strict=False)):
            if following > start + 1:
                ends[k] = f"{start}–{following - 1}"
        return [*ends[:-1], f"{self.starts[-1]}+"]

    def of_genes(self, genes: list[str]) -> Histograms:
        """The same of some genes, in their order."""
        place = {gene: k for k, gene in enumerate(self.genes)}
        index = [place[gene] for gene in genes]
        expected = {loss: shares[:, index] for loss, shares in self.expected.items()}
        return Histograms(genes, self.starts, self.observed[:, index], expected)

    def units(self) -> dict[str, list[list[int]]]:
        """Shares as whole numbers of 0.00001 by bin and gene, without bins that nobody reaches."""
        every = [self.observed, *self.expected.values()]
        reached = np.flatnonzero(np.max([part.max(axis=1) for part in every], axis=0) >= UNIT)
        last = int(reached[-1]) + 1 if reached.size else 1
        parts = {"": self.observed} | self.expected
        return {
            name: np.rint(part[:last] / UNIT).astype(int).tolist() for name, part in parts.items()
        }


def read_histograms(folder: Path, losses: list[str], seeds: list[int]) -> Histograms | None:
    """Histograms of the genes of a data set, expected shares averaged over seeds.

    None when the scores have none, because the metric was not asked for.

    Raises
    ------
    ScoreError
        When two files do not describe the same genes.
    """
    expected: dict[str, np.ndarray] = {}
    first: tuple[list[str], list[int], np.ndarray] | None = None
    for loss in losses:
        parts = []
        for seed in seeds:
            path = folder / loss / f"seed{seed}" / "scores.parquet"
            found = _read(path)
            if found is None:
                return None
            genes, starts, shares = found
            first = first or (genes, starts, shares["observed"])
            if (genes, starts) != first[:2]:
                raise ScoreError(
                    f"{path}: must have histograms of the same genes as the other losses, but "
                    "does not. Fix: make all scores again with `countae score`."
                )
            parts.append(shares["expected"])
        expected[loss] = np.mean(parts, axis=0)
    return None if first is None else Histograms(*first, expected)


def _read(path: Path) -> tuple[list[str], list[int], dict[str, np.ndarray]] | None:
    """Genes, first counts of the bins, and shares by kind, (bin, gene), of one file."""
    table = read_table(
        path,
        ["level", "id", "value"],
        filters=[("metric", "==", METRIC), ("noise", "==", "native")],
    )
    if table.empty:
        return None
    genes = table.loc[table["level"] == table["level"].iloc[0], "id"].tolist()
    keys = [level.split(".") for level in table["level"].unique()]
    values = table["value"].to_numpy(np.float32).reshape(len(keys), len(genes))
    starts = sorted({int(start) for _, start in keys})
    shares = {
        kind: values[[keys.index([f"gene {kind}", str(start)]) for start in starts]]
        for kind in ("observed", "expected")
    }
    return genes, starts, shares
