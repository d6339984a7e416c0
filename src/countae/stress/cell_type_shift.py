"""A cell type that networks have never seen."""

from __future__ import annotations

from countae.stress._groups import group_shift

cell_type_shift = group_shift("cell type", key="label_key")
