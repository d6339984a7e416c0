"""Genes of the mitochondrion and their share of the counts."""

from __future__ import annotations

import numpy as np

from countae.counts._gene_names import mitochondrial as named
from countae.counts._gene_names import symbols
from countae.triage import Finding, Look, look_for
from countae.triage._base import percent

HIGH = 0.2  # share of a cell's counts that often means a broken cell


@look_for
def mitochondrial(look: Look) -> list[Finding]:
    """Genes of the mitochondrion and their share of the counts."""
    genes, (_, column) = named(look.reader.var), symbols(look.reader.var)
    if not look.counts or not genes.any():
        return []
    full = look.sums.total > 0
    share = np.zeros(full.size)
    share[full] = look.sums.marked[0, full] / look.sums.total[full]
    high = share > HIGH
    told = (
        f"Mitochondrial genes: {genes.sum():,}, with {percent(np.median(share[full]))} of the "
        f"median cell's counts; cells with more than {percent(HIGH)} in them: {high.sum():,}."
    )
    if column:
        told += f" They are named in the column {column!r}."
    names = {"genes": look.genes(genes), "cells": look.cells(high)}
    fix = "set quality.max_mitochondrial_fraction" if high.any() else ""
    return [Finding("note", told, "Broken cells keep little else." if fix else "", fix, **names)]
