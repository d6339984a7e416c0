"""What every finding has, and what it is found from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from countae.registry import shown

if TYPE_CHECKING:
    from countae.counts.readers import Reader
    from countae.triage._sums import Sums

LONGEST_LIST = 10_000  # names that triage.json keeps of a finding
SHOWN = 3  # names in a sentence
Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Names:
    """Exact names of cells or genes: their number, and the first ones."""

    total: int = 0
    first: tuple[str, ...] = ()

    @classmethod
    def of(cls, index: Any, chosen: np.ndarray) -> Names:
        """Names at the places where ``chosen`` is true, or at the places that it lists."""
        places = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        first = index[places[:LONGEST_LIST]]
        return cls(len(places), tuple(str(name) for name in first))

    @property
    def told(self) -> str:
        """The first names, for a sentence."""
        some = ", ".join(map(shown, self.first[:SHOWN]))
        return f"{some} …" if self.total > SHOWN else some

    def to_json(self) -> dict[str, Any]:
        """Number and names, as triage.json has them."""
        return {"total": self.total, "names": list(self.first)}


@dataclass(frozen=True)
class Finding:
    """One thing that a user should know of a matrix.

    Parameters
    ----------
    severity : str
        ``error`` when the matrix cannot be used, ``warning`` when something should be mended or
        known before a verdict is believed, ``note`` otherwise.
    what, consequence, fix : str
        Sentences; the last two may be empty.
    cells, genes : Names
        Those that are concerned.
    """

    severity: Severity
    what: str
    consequence: str = ""
    fix: str = ""
    cells: Names = field(default_factory=Names)
    genes: Names = field(default_factory=Names)

    @property
    def sentence(self) -> str:
        """What was found, what follows and what to do."""
        mend = f"Fix: {self.fix}." if self.fix else ""
        return " ".join(filter(None, (self.what, self.consequence, mend)))

    def to_json(self, name: str) -> dict[str, Any]:
        """The finding as triage.json has it; ``name`` is that of its file."""
        return {
            "finding": name,
            "severity": self.severity,
            "what": self.what,
            "consequence": self.consequence,
            "fix": self.fix,
            "cells": self.cells.to_json(),
            "genes": self.genes.to_json(),
        }


@dataclass(frozen=True)
class Look:
    """A matrix as the triage sees it: its reader, sums over all of it, and what it holds.

    ``kind`` is ``counts``, or what the values are instead; see :mod:`countae.triage._kinds`.
    """

    reader: Reader
    sums: Sums
    kind: str

    @property
    def counts(self) -> bool:
        """Whether the values are counts."""
        return self.kind == "counts"

    def cells(self, chosen: np.ndarray) -> Names:
        """Names of some cells."""
        return Names.of(self.reader.obs.index, chosen)

    def genes(self, chosen: np.ndarray) -> Names:
        """Names of some genes."""
        return Names.of(self.reader.var.index, chosen)


def percent(share: float) -> str:
    """A share for a sentence."""
    return f"{100 * share:.3g} %"
