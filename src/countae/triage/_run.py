"""The whole triage of a matrix: one pass, then every finding, in the order of their severity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from countae import triage
from countae.errors import CountMatrixError
from countae.triage._base import SEVERITIES, Finding, Look
from countae.triage._kinds import kind_of
from countae.triage._sums import sums_of

if TYPE_CHECKING:
    from countae.counts.readers import Reader

ORDER = (
    "kind", "protocol", "depth", "testable", "duplicates", "empty", "spike_ins", "mitochondrial",
    "columns",
)  # fmt: skip


@dataclass(frozen=True)
class Triage:
    """What was found in a matrix; ``findings`` by severity, each with the name of its file."""

    source: str
    place: str
    shape: tuple[int, int]
    kind: str
    findings: list[tuple[str, Finding]]

    @property
    def usable(self) -> bool:
        """Whether the matrix can be used."""
        return not self.errors

    @property
    def errors(self) -> list[Finding]:
        """Findings that forbid it."""
        return [found for _, found in self.findings if found.severity == "error"]

    def to_json(self) -> dict[str, Any]:
        """What ``countae check --json`` writes."""
        return {
            "source": self.source,
            "place": self.place,
            "cells": self.shape[0],
            "genes": self.shape[1],
            "kind": self.kind,
            "usable": self.usable,
            "findings": [found.to_json(name) for name, found in self.findings],
        }

    def require_counts(self) -> None:
        """Raise CountMatrixError when the matrix cannot be used."""
        if self.errors:
            raise CountMatrixError(
                f"{self.source}: " + " ".join(each.sentence for each in self.errors)
            )


def examine(reader: Reader, *, block: int = 2048) -> Triage:
    """Every finding of a matrix, read once in blocks of cells; twice where it is no counts.

    Parameters
    ----------
    reader : Reader
        From :func:`countae.counts.readers.open_counts`.
    block : int
        Cells that are read at once; findings do not depend on it.
    """
    sums = sums_of(reader, block)
    look = Look(reader, sums, kind_of(sums))
    names = sorted(triage.names(), key=lambda name: ORDER.index(name) if name in ORDER else 99)
    found = [(name, each) for name in names for each in triage.get(name)(look)]
    found.sort(key=lambda pair: SEVERITIES.index(pair[1].severity))
    return Triage(reader.source, reader.place, reader.shape, look.kind, found)
