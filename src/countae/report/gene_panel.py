"""The picture of one gene: observed counts, and what each loss expected of them."""

from __future__ import annotations

import json
from typing import Any

import altair as alt

from countae.report.figures import Figure, figure, layered, loss_colour, loss_shape, values
from countae.report.histograms import UNIT, Histograms
from countae.report.load import Dataset
from countae.report.look import GREY, percent
from countae.wording import short

OBSERVED, EXPECTED = "observed", "expected"  # names of the data that the page fills in
HEIGHT = 280


def for_the_page(data: Dataset, bins: list[str]) -> dict[str, Any]:
    """Specification whose data the page fills in, names of the losses, and the unit of shares."""
    spec = _drawn(data, bins, alt.NamedData(OBSERVED), alt.NamedData(EXPECTED), "").spec
    return {"spec": spec, "losses": {name: short(name) for name in data.losses}, "unit": UNIT}


def gene_panel(data: Dataset, histograms: Histograms, gene: str) -> Figure:
    """The picture of one gene with its data."""
    units = histograms.of_genes([gene]).units()
    shares = {name: [UNIT * of_bin[0] for of_bin in of_bins] for name, of_bins in units.items()}
    observed = [
        {
            "at": at,
            "from": at - 0.45,
            "to": at + 0.45,
            "share": share,
            "zero": 0,
            "said": f"{histograms.bins[at]} counts: {percent(share)} of the cells",
        }
        for at, share in enumerate(shares.pop(""))
    ]
    expected = [
        {
            "at": at + 0.84 * ((k + 0.5) / len(shares) - 0.5),
            "share": share,
            "loss": short(name),
            "said": f"{short(name)}, {histograms.bins[at]} counts: {percent(share)} expected",
        }
        for k, (name, of_loss) in enumerate(shares.items())
        for at, share in enumerate(of_loss)
    ]
    bins = histograms.bins[: len(observed)]
    return _drawn(data, bins, values(observed), values(expected), gene)


def _drawn(data: Dataset, bins: list[str], observed: Any, expected: Any, gene: str) -> Figure:
    """Grey bars behind a dot per loss, side by side."""
    share: dict[str, Any] = {
        "scale": alt.Scale(type="sqrt", nice=False),
        "title": "share of cells (square-root scale)",
        "axis": alt.Axis(format=".2~%", values=[0, 0.001, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1]),
    }
    count: dict[str, Any] = {
        "scale": alt.Scale(nice=False, zero=False, padding=10),
        "title": "count",
        "axis": alt.Axis(
            values=list(range(len(bins))), labelExpr=f"{json.dumps(bins)}[datum.value]",
            grid=False, labelOverlap=True,
        ),
    }  # fmt: skip
    said = {"description": alt.Description("said:N"), "tooltip": [alt.Tooltip("said:N")]}
    bars = (
        alt.Chart(observed)
        .mark_rect(color=GREY, opacity=0.45)
        .encode(
            x=alt.X("from:Q", **count), x2=alt.X2("to"), y=alt.Y("share:Q", **share),
            y2=alt.Y2("zero"), **said,
        )
    )  # fmt: skip
    dots = (
        alt.Chart(expected)
        .mark_point(filled=True, size=60, opacity=1)
        .encode(
            x=alt.X("at:Q"), y=alt.Y("share:Q", **share), color=loss_colour(data),
            shape=loss_shape(data), **said,
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
