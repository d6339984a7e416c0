"""A donor that networks have never seen."""

from __future__ import annotations

from countae.stress._groups import group_shift

donor_shift = group_shift("donor", key="donor_key")
