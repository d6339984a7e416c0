"""Several files as one data set: cells one after the other, genes that all files have."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np

from countae.counts._check import check_names
from countae.counts.readers._base import BLOCK, Reader
from countae.counts.readers._spill import regrouped
from countae.errors import CountMatrixError
from countae.registry import shown

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_matrix

FILE_KEY = "file"  # column of obs with the file of each cell


class SeveralReader(Reader):
    """Cells of several readers; ``obs["file"]`` says from which."""

    def __init__(self, source: str, readers: list[Reader]) -> None:
        super().__init__(source)
        self._readers = readers
        self._names = short_names([reader.source for reader in readers])
        self.place, self.layer = readers[0].place, readers[0].layer
        self.notes += dict.fromkeys(note for reader in readers for note in reader.notes)
        for reader in readers:
            check_names(reader.var.index.to_numpy(object), source=reader.source, what="gene")
        self.var = self._common_genes()
        self.obs = self._cells()
        self.shape = (len(self.obs), len(self.var))

    def places(self) -> list[str]:
        """Places that all files have."""
        others = [set(reader.places()) for reader in self._readers[1:]]
        return [p for p in self._readers[0].places() if all(p in other for other in others)]

    def at(self, layer: str) -> SeveralReader:
        """The same files at another place."""
        return SeveralReader(self.source, [reader.at(layer) for reader in self._readers])

    def raw_blocks(self, cells: int = BLOCK) -> Iterator[csr_matrix]:
        """Cells of the first file, then of the second …, with the genes in one order."""
        return regrouped(chain.from_iterable(map(self._aligned, self._readers)), cells)

    def _aligned(self, reader: Reader) -> Iterator[csr_matrix]:
        columns = reader.var.index.get_indexer(self.var.index)
        same = len(columns) == reader.shape[1] and bool((columns == np.arange(len(columns))).all())
        for block in reader.raw_blocks():
            yield block if same else block[:, columns]

    def _common_genes(self) -> pd.DataFrame:
        first = self._readers[0].var
        common = first.index
        for reader in self._readers[1:]:
            common = common[common.isin(reader.var.index)]
        if common.empty:
            last = self._readers[-1]
            raise CountMatrixError(
                f"{self.source}: the files have no gene in common; {self._readers[0].source} has "
                f"{shown(first.index[0]) if len(first) else 'none'}, {last.source} has "
                f"{shown(last.var.index[0]) if len(last.var) else 'none'}. Fix: name the genes of "
                "all files alike (symbols or identifiers)."
            )
        every = first.index.append([reader.var.index for reader in self._readers[1:]]).unique()
        if left := len(every) - len(common):
            rest = every[~every.isin(common)]
            self.notes.append(
                f"{len(common):,} genes are in all {len(self._readers)} files and are kept; "
                f"{left:,} are not and were left out, such as {shown(rest[0])}."
            )
        return first.loc[common]

    def _cells(self) -> pd.DataFrame:
        import pandas as pd

        tables = []
        for name, reader in zip(self._names, self._readers, strict=True):
            table = reader.obs.copy()
            for key in table.select_dtypes("category"):
                table[key] = table[key].astype(object)
            kept = {FILE_KEY: f"{FILE_KEY}_input"} if FILE_KEY in table else {}
            table = table.rename(columns=kept)
            table[FILE_KEY] = name
            tables.append(table)
        obs = pd.concat(tables)
        obs[FILE_KEY] = pd.Categorical(obs[FILE_KEY])
        clash = self._clashing()
        if clash.any():
            self.notes.append(
                f"{clash.sum():,} cells have names that other files use too; the file's name was "
                f"added to theirs, such as {shown(obs.index[clash][0])}."
            )
            added = obs.index.astype(str) + "-" + obs[FILE_KEY].astype(str)
            obs.index = pd.Index(np.where(clash, added, obs.index))
        return obs

    def _clashing(self) -> np.ndarray:
        """Which cells have a name that occurs in another file, (cell,) bool."""
        import pandas as pd

        names = pd.concat(
            [r.obs.index.to_series(index=[k] * len(r.obs)) for k, r in enumerate(self._readers)]
        )
        files = pd.Series(names.index, index=names.to_numpy()).groupby(level=0).nunique()
        return names.isin(files.index[files > 1]).to_numpy()


def short_names(sources: list[str]) -> list[str]:
    """The shortest ends of paths that tell them apart, without what they have in common.

    >>> short_names(["a/x.h5ad", "b/y.h5ad"])
    ['x', 'y']
    >>> short_names(["a/filtered/m.h5", "b/filtered/m.h5"])
    ['a', 'b']
    """
    split = [[*PurePath(source).parts[:-1], _stem(source)] for source in sources]
    for depth in range(1, max(map(len, split)) + 1):
        names = [parts[-depth] if len(parts) >= depth else "" for parts in split]
        if len(set(names)) == len(names):
            return names
    return [f"{k + 1}_{parts[-1]}" for k, parts in enumerate(split)]


def _stem(source: str) -> str:
    """Name of a file without its endings."""
    name = PurePath(source).name.removesuffix(".gz").removesuffix(".zip")
    return PurePath(name).stem
