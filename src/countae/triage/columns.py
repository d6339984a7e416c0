"""Columns of the cells that could serve as labels, batches or donors."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from countae.registry import shown
from countae.triage import Finding, Look, look_for

CATEGORIES = (2, 50)
ROLES = {
    "label_key": re.compile(
        r"cell.?(type|line|class|state|label)|label|cluster|leiden|louvain|annot|lineage|class",
        re.IGNORECASE,
    ),
    "donor_key": re.compile(
        r"donor|patient|subject|individual|mouse|animal|replicate|person", re.IGNORECASE
    ),
    "batch_key": re.compile(
        r"batch|sample|plate|lane|(^|_)run|library|channel|chip|chem|experiment|site|dataset",
        re.IGNORECASE,
    ),
}
PURPOSE = {
    "label_key": "colours of the maps and metrics of the latent space",
    "donor_key": "standard errors by donor, and donors in every part of the split",
    "batch_key": "a split within batches, and losses with parameters per batch",
}


@look_for
def columns(look: Look) -> list[Finding]:
    """Columns of the cells with 2 to 50 categories, by what their names say."""
    found: list[Finding] = []
    others: list[str] = []
    roles: dict[str, list[str]] = {role: [] for role in ROLES}
    for name in look.reader.obs.columns:
        number = _categories(look.reader.obs[name])
        if not CATEGORIES[0] <= number <= CATEGORIES[1] or number >= len(look.reader.obs):
            continue
        role = next((role for role, words in ROLES.items() if words.search(str(name))), "")
        (roles[role] if role else others).append(f"{shown(name)} ({number:,})")
    for role, names in roles.items():
        if names:
            kind = role.removesuffix("_key")
            found.append(
                Finding(
                    "note",
                    f"Columns that look like a {kind}, with their numbers of categories: "
                    f"{', '.join(names[:10])}.",
                    f"Named in `{role}`, one serves for {PURPOSE[role]}.",
                    f"set `{role}` to the right one",
                )
            )
    if others:
        told = f"Other columns with {CATEGORIES[0]} to {CATEGORIES[1]} categories: "
        found.append(Finding("note", f"{told}{', '.join(others[:10])}."))
    return found


def _categories(column: pd.Series) -> int:
    """Number of categories of a column; 0 for measurements and for text that is all different."""
    if pd.api.types.is_float_dtype(column):
        return 0
    if isinstance(column.dtype, pd.CategoricalDtype):
        return len(np.unique(column.cat.codes[column.cat.codes >= 0]))
    return int(column.nunique())
