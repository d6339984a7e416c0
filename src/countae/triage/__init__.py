"""Triage: what a matrix is, whether it can be used, and what to mend. One file per finding."""

from __future__ import annotations

from collections.abc import Callable

from countae.registry import Registry
from countae.triage._base import Finding, Look, Names

__all__ = ["Finding", "Look", "Names", "look_for", "registry"]

Looker = Callable[[Look], list[Finding]]
registry = Registry(__name__, "finding")
get, names = registry.get, registry.names


def look_for(looker: Looker) -> Looker:
    """Decorator that enters the function of a file: from a look at a matrix to findings."""
    registry._members[looker.__module__.rsplit(".", 1)[-1]] = looker
    return looker
