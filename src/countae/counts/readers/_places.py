"""Where in AnnData's layout counts may be, in memory and in files: X, a layer, raw.X."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from countae.errors import CountMatrixError
from countae.registry import did_you_mean, shown

if TYPE_CHECKING:
    from countae.counts.readers._base import Reader

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


def without_x(reader: Reader) -> CountMatrixError:
    """The error of asking for the X of a source that has none."""
    names = ", ".join(place_name(place) for place in reader.places()) or "no layer either"
    fix = reader.where_counts_are() or "name one of them in `layer`, or bring another file."
    return CountMatrixError(f"{reader.source}: there is no X; there is {names}. Fix: {fix}")


def place_name(layer: str) -> str:
    """Name of a place for messages."""
    return layer if layer == RAW else f"layer {shown(layer)}" if layer else "X"


def is_truth(truth: Any, layers: Collection[str]) -> bool:
    """Whether ``uns["truth"]`` is what countae's simulators write, and its layers are there."""
    if not isinstance(truth, dict) or "likelihood" not in truth:
        return False
    named = set(truth.get("layers", ()))
    return "true_mean" in named and named <= set(layers)
