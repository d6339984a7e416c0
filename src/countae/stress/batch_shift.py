"""A batch that networks have never seen."""

from __future__ import annotations

from countae.stress._groups import group_shift

batch_shift = group_shift("batch", key="batch_key")
