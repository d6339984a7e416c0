"""How numbers and losses look: digits, short names, colours, dashes and shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from countae.wording import decimals, short

DIGITS = 5  # significant, in data for figures
# Okabe & Ito 2008; yellow, which is hard to see on white, comes last
COLOURS = (
    "#E69F00", "#CC79A7", "#009E73", "#0072B2", "#D55E00", "#56B4E9", "#8A8A8A", "#C9B800",
)  # fmt: skip
DASHES = ((1, 0), (6, 2), (2, 2), (8, 2, 2, 2), (4, 4), (1, 3), (10, 3), (3, 1))
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
GREY = "#8A8A8A"
# of noise columns, where the name of the loss would say the wrong thing
NOISE_TITLES = {"native": "own", "mse_counts": "normal"}
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def noise_title(noise: str) -> str:
    """Name of a noise column; ``native`` is own, a variant keeps its words."""
    if noise in NOISE_TITLES:
        return NOISE_TITLES[noise]
    return noise.replace("_", " ") if "_" in noise else short(noise)


def number(value: float | None, *, sign: bool = False) -> str:
    """A number for people: four decimals, or what one digit needs; never ten digits."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if value != 0 and size < 5e-7:
        mantissa, exponent = f"{value:{'+' if sign else ''}.1e}".split("e")
        return f"{mantissa} × 10{str(int(exponent)).translate(SUPERSCRIPT)}".replace("-", "−")
    places = decimals(size) if size < 10 else 3 if size < 100 else 1 if size < 1000 else 0
    return f"{value:{'+' if sign else ''},.{places}f}".replace("-", "−")


def whole(value: float) -> str:
    """A count, with separators."""
    return f"{value:,.0f}"


def percent(value: float) -> str:
    """A share as a percentage, with a decimal only where it is small."""
    return f"{100 * value:.2g} %" if 0 < value < 0.1 else f"{100 * value:.0f} %"


def capital(text: str) -> str:
    """The text with a capital first letter, the others as they are."""
    return text[:1].upper() + text[1:]


def rounded(value: Any, digits: int = DIGITS) -> Any:
    """Plain JSON with floats at five significant digits; numbers that are not finite are null."""
    if isinstance(value, dict):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item, digits) for item in value]
    if hasattr(value, "tolist"):
        return rounded(value.tolist(), digits)
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        short_form = float(f"{value:.{digits}g}")
        return (
            int(short_form) if short_form.is_integer() and abs(short_form) < 1e15 else short_form
        )
    return value


def cycle(choices: Sequence[Any], n: int) -> list[Any]:
    """The first ``n`` of the choices, over and over."""
    return [choices[k % len(choices)] for k in range(n)]


def colour_of(losses: Sequence[str]) -> dict[str, str]:
    """Colour of each loss by name, in the configuration's order."""
    return dict(zip(losses, cycle(COLOURS, len(losses)), strict=True))
