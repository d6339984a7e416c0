"""The picture of one gene: observed counts, and what each loss expected of them."""

from __future__ import annotations

from typing import Any

import altair as alt

from countae.report.figures import Figure, figure, layered, loss_colour, loss_shape
from countae.report.histograms import UNIT, Histograms
from countae.report.load import Dataset
from countae.report.look import GREY
from countae.wording import short

OBSERVED, EXPECTED = "observed", "expected"  # names of the data that the page fills in
HEIGHT = 280


def for_the_page(data: Dataset) -> dict[str, Any]:
    """Specification whose data the page fills in, names of the losses, and the unit of shares."""
    spec = _drawn(data, alt.NamedData(OBSERVED), alt.NamedData(EXPECTED), "").spec
    return {"spec": spec, "losses": {name: short(name) for name in data.losses}, "unit": UNIT}


def gene_panel(data: Dataset, histograms: Histograms, gene: str) -> Figure:
    """The picture of one gene with its data."""
    units, bins = histograms.of_genes([gene]).units(), histograms.bins
    rows = {
        name: [
            {"count": count, "share": UNIT * of_bin[0], "loss": short(name)}
            for count, of_bin in zip(bins, shares, strict=False)
        ]
        for name, shares in units.items()
    }
    observed = rows.pop("")
    expected = [row for of_loss in rows.values() for row in of_loss]
    return _drawn(data, alt.InlineData(values=observed), alt.InlineData(values=expected), gene)


def _drawn(data: Dataset, observed: Any, expected: Any, gene: str) -> Figure:
    """Grey bars behind a dot per loss, side by side."""
    scale = alt.Scale(type="sqrt", nice=True)
    y = alt.Y(
        "share:Q", scale=scale, title="share of cells (square-root scale)",
        axis=alt.Axis(format=".2~%", values=[0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1]),
    )  # fmt: skip
    x = alt.X("count:N", sort=None, title="count", axis=alt.Axis(labelAngle=0))
    tip = alt.Tooltip("share:Q", format=".3~%")
    bars = (
        alt.Chart(observed)
        .mark_bar(color=GREY, opacity=0.45)
        .encode(x=x, y=y, tooltip=[alt.Tooltip("count:N"), tip])
    )
    dots = (
        alt.Chart(expected)
        .mark_point(filled=True, size=55, opacity=1)
        .encode(
            x=x, y=y,
            xOffset=alt.XOffset("loss:N", sort=[short(name) for name in data.losses]),
            color=loss_colour(data), shape=loss_shape(data),
            tooltip=[alt.Tooltip("loss:N"), alt.Tooltip("count:N"), tip],
        )
    )  # fmt: skip
    return figure(
        layered(bars, dots),
        f"Counts of {gene}, observed and expected" if gene else "Counts of a gene",
        "Bars: share of the test cells with so many counts of this gene. Dots: what each loss "
        "expected, while the counts were hidden. A dot above its bar promised more such cells "
        "than there are.",
        height=HEIGHT,
    )
