"""What all figures share: a specification with its words, scales per loss, curves over genes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np
from altair.utils import schemapi

from countae.report.load import Dataset
from countae.report.look import (
    COLOURS,
    DASHES,
    GREY,
    SHAPES,
    colour_of,
    cycle,
    noise_title,
    rounded,
)
from countae.wording import short

if TYPE_CHECKING:
    import pandas as pd

REFERENCE_DASHES = ((2, 3), (7, 4))
DASH_SAMPLE = 900  # area of a legend's symbol: lines 30 pixels long, in which a dash repeats
MOST_BINS = 20
GENES_PER_BIN = 12


@dataclass(frozen=True)
class Figure:
    """A Vega-Lite specification with a title, a caption and a name for screen readers."""

    title: str
    caption: str
    spec: dict[str, Any]

    @property
    def label(self) -> str:
        """Text for those who cannot see the figure."""
        return f"Figure: {self.title}. {self.caption}".strip()


@dataclass(frozen=True)
class Panels:
    """Small figures side by side under one title, mostly one per loss; wide ones are larger."""

    title: str
    caption: str
    figures: list[Figure]
    wide: bool = False


def figure(chart: alt.TopLevelMixin, title: str, caption: str = "", *, height: int) -> Figure:
    """A figure as wide as its place on the page."""
    chart = chart.properties(width="container", height=height)
    with alt.data_transformers.enable(consolidate_datasets=False):
        spec = chart.to_dict(validate=False)  # a test checks them; here it would take seconds
    spec.pop("config", None)  # the page has its own, for light and for dark
    spec["description"] = title
    spec["autosize"] = {"type": "fit-x", "contains": "padding"}
    return Figure(title, caption, rounded(spec))


class _Rows:
    """Rows that Altair passes on unseen, instead of copying each, and `rounded` takes out."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def tolist(self) -> list[dict[str, Any]]:
        return self.rows


def values(rows: Iterable[dict[str, Any]]) -> alt.InlineData:
    """Rows as inline data; :func:`figure` rounds them."""
    with schemapi.debug_mode(False):  # every row would be checked against the schema
        return alt.InlineData(values=_Rows(list(rows)))  # type: ignore[arg-type]


def layered(*layers: alt.Chart | None) -> Any:
    """Layers over each other, without those that have nothing to show."""
    return alt.layer(*(layer for layer in layers if layer is not None))


def loss_colour(
    data: Dataset, *, legend: bool = True, references: Sequence[str] = ()
) -> alt.Color:
    """Colour by loss, the same in every figure; ``references`` are further lines, all grey."""
    colours = colour_of(data.losses)
    scale = alt.Scale(
        domain=[*(short(n) for n in colours), *references],
        range=[*colours.values(), *([GREY] * len(references))],
    )
    return alt.Color("loss:N", scale=scale, title=None, **_legend(legend))


def loss_dash(
    data: Dataset, *, references: Sequence[str] = (), sample: int | None = None
) -> alt.StrokeDash:
    """Dash by loss, for those who do not see the colours; ``sample`` is its size in the legend."""
    dashes = [*cycle(DASHES, len(data.losses)), *cycle(REFERENCE_DASHES, len(references))]
    scale = alt.Scale(
        domain=[*(short(n) for n in data.losses), *references],
        range=[list(dash) for dash in dashes],
    )
    return alt.StrokeDash("loss:N", scale=scale, title=None, **_legend(True, sample))


def loss_shape(data: Dataset, *, legend: bool = True) -> alt.Shape:
    """Shape by loss."""
    names = [short(n) for n in data.losses]
    scale = alt.Scale(domain=names, range=cycle(SHAPES, len(names)))
    return alt.Shape("loss:N", scale=scale, title=None, **_legend(legend))


def noise_channels(data: Dataset, noises: list[str]) -> tuple[alt.Color, alt.Shape]:
    """Colour and shape by noise; a family has the colour of the loss of its name."""
    free = iter(COLOURS[len(data.losses) :] + COLOURS)
    of_loss = colour_of(data.losses)
    colours = [GREY if n == "native" else of_loss.get(n) or next(free) for n in noises]
    names = [noise_title(n) for n in noises]
    colour = alt.Scale(domain=names, range=colours)
    shape = alt.Scale(domain=names, range=cycle(SHAPES, len(names)))
    return (
        alt.Color("noise:N", scale=colour, title=None, **_legend(True)),
        alt.Shape("noise:N", scale=shape, title=None, **_legend(True)),
    )


def _legend(wanted: bool, size: int | None = None) -> dict[str, Any]:
    kept: dict[str, Any] = {} if size is None else {"symbolSize": size}
    return {"legend": alt.Legend(orient="top", symbolStrokeWidth=2, **kept) if wanted else None}


def log_axis(channel: type, name: str, found: Iterable[float], title: str | None) -> Any:
    """A logarithmic axis with a line at each power of ten only."""
    found = [value for value in found if value > 0]
    low, high = min(found, default=0.1) / 1.25, max(found, default=1.0) * 1.25
    powers = [10.0**k for k in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    axis = alt.Axis(values=powers, format="~g") if len(powers) > 1 else alt.Axis(tickCount=3)
    scale = alt.Scale(type="log", domain=[low, high], nice=False)
    return channel(f"{name}:Q", scale=scale, title=title, axis=axis)


def log_mean(data: Dataset, title: str = "observed mean count of the gene (log scale)") -> alt.X:
    """Horizontal axis of the pictures against the mean."""
    return log_axis(alt.X, "mean", data.genes["mean"], title)


def spread_evenly(data: Dataset) -> pd.DataFrame:
    """Genes with counts, ``data.most_dots`` of them, spread evenly over the ranks of the mean."""
    table = data.genes
    seen = table[table["mean"] > 0].sort_values("mean", kind="stable")
    if len(seen) <= data.most_dots:
        return seen
    return seen.iloc[np.linspace(0, len(seen) - 1, data.most_dots).astype(int)]


def curves(
    data: Dataset, metric: str, *, noise: str = "native", names: dict[str, str] | None = None
) -> list[dict[str, Any]]:
    """Running medians over genes of equal mean: a row per loss and bin.

    The metric is that of each loss' own (native) noise, averaged over seeds, or of another noise.
    ``names`` are the contestants to show and what to call them; all losses unless given.
    """
    names = names or {loss: short(loss) for loss in data.losses}
    table = data.points(noise, metric, level="gene")
    genes = data.genes[data.genes["mean"] > 0].sort_values("mean", kind="stable")
    n_bins = min(MOST_BINS, max(1, len(genes) // GENES_PER_BIN))
    bins = [genes.iloc[index] for index in np.array_split(np.arange(len(genes)), n_bins)]
    return [
        {
            "loss": name,
            "mean": float(part["mean"].median()),
            "value": float(table.loc[loss].reindex(part["gene"]).median()),
        }
        for loss, name in names.items()
        if loss in table.index
        for part in bins
        if len(part)
    ]
