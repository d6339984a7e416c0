"""Where in AnnData's layout counts may be, in memory and in files: X, a layer, raw.X."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from countae.errors import CountMatrixError
from countae.registry import did_you_mean, shown

RAW = "raw.X"


def choose(layer: str, places: list[str], source: str) -> str:
    """Return ``layer``; raise CountMatrixError with a proposal when there is no such place."""
    if layer == RAW and RAW not in places:
        raise CountMatrixError(f"{source}: `layer` is {RAW}, but the file has no raw part.")
    if layer and layer not in places:
        raise CountMatrixError(
            f"{source}: there is no layer {shown(layer)}. "
            f"{did_you_mean(layer, [place for place in places if place])} An empty `layer` means "
            "X."
        )
    return layer


def place_name(layer: str) -> str:
    """Name of a place for messages."""
    return layer if layer == RAW else f"layer {shown(layer)}" if layer else "X"


def is_truth(truth: Any, layers: Collection[str]) -> bool:
    """Whether ``uns["truth"]`` is what countae's simulators write, and its layers are there."""
    if not isinstance(truth, dict) or "likelihood" not in truth:
        return False
    named = set(truth.get("layers", ()))
    return "true_mean" in named and named <= set(layers)
