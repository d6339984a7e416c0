"""Figures of how well each loss describes means, zeros and spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from countae.report.figures import (
    DASH_SAMPLE,
    Figure,
    Panels,
    curves,
    figure,
    layered,
    log_axis,
    log_mean,
    loss_colour,
    loss_dash,
    loss_shape,
    spread_evenly,
    values,
)
from countae.report.load import Dataset
from countae.report.look import GREY, colour_of, rounded, whole
from countae.wording import short

LOWEST_EXPLAINED = -1.0
REFERENCES = ("poisson", "nb")
SMALL_DIGITS = 3  # significant, in a picture of 180 pixels
TEST_BINS = 20


def explained(data: Dataset) -> Figure | None:
    """Spread over genes of the share of Poisson deviance that each loss' means explain."""
    table = data.points("native", "poisson_deviance_explained", level="gene")
    rows = []
    for loss in [name for name in data.losses if name in table.index]:
        share = table.loc[loss].dropna().clip(lower=LOWEST_EXPLAINED)
        if len(share):
            quantiles = np.quantile(share, [0.1, 0.25, 0.5, 0.75, 0.9])
            names = ("low", "lower", "median", "upper", "high")
            rows.append({"loss": short(loss)} | dict(zip(names, quantiles.tolist(), strict=True)))
    if not rows:
        return None
    x: dict[str, Any] = {
        "axis": alt.Axis(tickCount=8),
        "scale": alt.Scale(zero=False),
        "title": "share of Poisson deviance explained (right is better)",
    }
    base = alt.Chart(values(rows)).encode(
        y=alt.Y("loss:N", sort=[row["loss"] for row in rows], title=None),
        color=loss_colour(data, legend=False),
    )
    tips = [alt.Tooltip(f"{name}:Q", format=".3f") for name in ("low", "median", "high")]
    zero = alt.Chart(values([{"zero": 0}])).mark_rule(strokeDash=[5, 4], color=GREY)
    return figure(
        layered(
            zero.encode(x=alt.X("zero:Q", **x)),
            base.mark_rule(strokeWidth=1.5).encode(x=alt.X("low:Q", **x), x2=alt.X2("high")),
            base.mark_rule(strokeWidth=6, opacity=0.5).encode(
                x=alt.X("lower:Q"), x2=alt.X2("upper")
            ),
            base.mark_point(filled=True, size=90, opacity=1).encode(
                x=alt.X("median:Q"),
                shape=loss_shape(data, legend=False),
                tooltip=[alt.Tooltip("loss:N"), *tips],
            ),
        ),
        "How much of each gene's variation the expected counts explain",
        "Dot: median gene; thick bar: middle half of the genes; thin bar: middle 80 %. At 0 a "
        "network is no better than gene mean × library size; below 0 it is worse (values under "
        "−1 are drawn at −1).",
        height=max(110, 34 * len(rows)),
    )


def zeros_against_mean(data: Dataset) -> Figure | None:
    """Observed share of zeros of each gene, the curve each loss expects, and two references."""
    rows = curves(data, "expected_zero_fraction")
    if not rows:
        return None
    best = data.verdict["axes"]["mean"]["best"]
    references = {}
    for noise in REFERENCES:
        name = f"{short(noise)} around {short(best)} means"
        found = curves(data, "expected_zero_fraction", noise=noise, names={best: name})
        if found:
            references[name] = found
            rows += found
    y = alt.Y("zero_fraction:Q", scale=alt.Scale(domain=[0, 1]), title="share of zeros")
    said = (
        f" The grey lines are references: Poisson and NB noise around the best means, those of "
        f"the {short(best)} network. Dots above the dotted one need more spread than a Poisson "
        "has; only dots above the dashed one, too, hint at extra zeros."
        if references
        else ""
    )
    return figure(
        _against_mean(
            data, spread_evenly(data), "zero_fraction", y, rows, references=[*references]
        ),
        "Zeros against the mean, observed and expected",
        f"Grey dots: observed in the test cells, one per gene{_shown(data)}. Lines: what each "
        "loss expects (median over genes of similar mean). A line below the dots promises too "
        "few zeros. A line on the dots does not prove zero inflation: a negative binomial with "
        f"more spread makes the same zeros.{said}",
        height=320,
    )


def variance_against_mean(data: Dataset) -> Figure | None:
    """Observed variance of each gene against its mean, and what each loss implies."""
    rows = [row for row in curves(data, "implied_variance") if row["value"] > 0]
    if not rows:
        return None
    means = data.genes.loc[data.genes["mean"] > 0, "mean"]
    ends = [{"mean": edge, "value": edge} for edge in (float(means.min()), float(means.max()))]
    poisson = (
        alt.Chart(values(ends))
        .mark_line(strokeDash=[2, 3], color=GREY, strokeWidth=1.5)
        .encode(x=alt.X("mean:Q"), y=alt.Y("value:Q"))
    )
    shown = spread_evenly(data).query("variance > 0")
    found = [*shown["variance"], *(row["value"] for row in rows)]
    y = log_axis(alt.Y, "variance", found, "variance of counts (log scale)")
    return figure(
        layered(_against_mean(data, shown, "variance", y, rows), poisson),
        "Variance against the mean, observed and implied",
        f"Grey: observed in the test cells, one dot per gene{_shown(data)}. Lines: variance "
        "that each loss implies, that of its means included (median over genes of similar "
        "mean). Dotted: variance = mean, pure counting noise at equal library sizes. A line "
        "below the dots is too sure of itself; above them, it promises spread that is not "
        "there.",
        height=340,
    )


def _against_mean(
    data: Dataset,
    shown: pd.DataFrame,
    column: str,
    y: alt.Y,
    rows: list[dict],
    references: Sequence[str] = (),
) -> Any:
    """Observed dots, a quantity of each gene by its mean, and a line per loss."""
    dots = (
        alt.Chart(values(shown[["gene", "mean", column]].to_dict("records")))
        .mark_circle(color=GREY, size=14, opacity=0.45)
        .encode(
            x=log_mean(data),
            y=y,
            tooltip=[
                alt.Tooltip("gene:N"),
                alt.Tooltip("mean:Q", format=".3~g"),
                alt.Tooltip(f"{column}:Q", format=".3~g", title=column.replace("_", " ")),
            ],
        )
    )
    lines = (
        alt.Chart(values(rows))
        .mark_line(strokeWidth=2.2)
        .encode(
            x=alt.X("mean:Q"),
            y=alt.Y("value:Q"),
            color=loss_colour(data, references=references),
            strokeDash=loss_dash(data, references=references, sample=DASH_SAMPLE),
        )
    )
    return alt.layer(dots, lines)


def _shown(data: Dataset) -> str:
    seen = int((data.genes["mean"] > 0).sum())
    if seen <= data.most_dots:
        return ""
    return f" ({whole(data.most_dots)} of {whole(seen)}, spread evenly over the mean)"


def zero_errors(data: Dataset) -> Panels | None:
    """Expected less observed share of zeros of each gene, a panel per loss."""
    table = data.points("native", "zero_fraction_error", level="gene")
    losses = [name for name in data.losses if name in table.index]
    if not losses:
        return None
    shown = spread_evenly(data)
    limit = float(np.ceil(20 * np.nanquantile(table.loc[losses].abs(), 0.995)) / 20) or 0.05
    made = []
    for loss in losses:
        error = table.loc[loss].reindex(shown["gene"]).to_numpy()
        rows = pd.DataFrame(
            {"gene": shown["gene"], "mean": shown["mean"], "error": error}
        ).dropna()
        y = alt.Y("error:Q", scale=alt.Scale(domain=[-limit, limit], clamp=True), title=None)
        dots = (
            alt.Chart(values(rounded(rows.to_dict("records"), SMALL_DIGITS)))
            .mark_circle(size=10, opacity=0.5, color=colour_of(data.losses)[loss])
            .encode(
                x=log_mean(data, "mean"),
                y=y,
                tooltip=[alt.Tooltip("gene:N"), alt.Tooltip("error:Q", format=".3f")],
            )
        )
        zero = alt.Chart(values([{"zero": 0}])).mark_rule(color=GREY).encode(y=alt.Y("zero:Q"))
        made.append(figure(layered(dots, zero), short(loss), height=150))
    return Panels(
        "Expected less observed share of zeros, gene by gene",
        "One dot per gene, at its mean count. Dots should scatter around the line; a loss whose "
        "dots lie below it misses zeros. Values off the scale are drawn at its edge.",
        made,
    )


def zero_tests(data: Dataset) -> Figure | None:
    """Histogram over genes of the p-value of extra zeros."""
    if "zero_inflation_p" not in data.genes:
        return None
    p = data.genes["zero_inflation_p"].dropna()
    if p.empty:
        return None
    numbers, edges = np.histogram(p, bins=TEST_BINS, range=(0, 1))
    rows = [
        {"from": low, "to": high, "genes": int(n)}
        for low, high, n in zip(edges[:-1].tolist(), edges[1:].tolist(), numbers, strict=True)
    ]
    bars = (
        alt.Chart(values(rows))
        .mark_rect(color=colour_of(data.losses).get("nb", GREY), opacity=0.75)
        .encode(
            x=alt.X(
                "from:Q",
                scale=alt.Scale(domain=[0, 1]),
                title="p-value of the gene's test (small: more zeros than an NB makes)",
                axis=alt.Axis(tickCount=10),
            ),
            x2=alt.X2("to"),
            y=alt.Y("genes:Q", title="genes"),
            y2=alt.Y2Datum(0),
            tooltip=[alt.Tooltip("from:Q"), alt.Tooltip("to:Q"), alt.Tooltip("genes:Q")],
        )
    )
    return figure(
        bars,
        f"Test of extra zeros, over {whole(len(p))} testable genes",
        "Without extra zeros, about half of the genes show no sign of any and stand at 1; the "
        "others spread evenly from 0 to one half, and none stand between. Genes with extra zeros "
        "pile up at 0, and so do genes whose means are wrong, which is why the share is compared "
        "with simulated data.",
        height=180,
    )


def reliability(data: Dataset) -> Figure | None:
    """Observed share of zeros among entries with the same predicted probability of a zero."""
    table = data.points("native", "zero_reliability", level="dataset")
    rows = []
    for loss in [name for name in data.losses if name in table.index]:
        curve = table.loc[loss].dropna()
        for key in [name for name in curve.index if name.startswith("predicted.")]:
            k = key.removeprefix("predicted.")
            found = {
                name: float(curve[f"{name}.{k}"]) for name in ("predicted", "observed", "entries")
            }
            rows.append({"loss": short(loss)} | found)
    if not rows:
        return None
    unit = alt.Scale(domain=[0, 1])
    ideal = (
        alt.Chart(values([{"p": 0}, {"p": 1}]))
        .mark_line(strokeDash=[5, 4], color=GREY)
        .encode(x=alt.X("p:Q", scale=unit), y=alt.Y("p:Q", scale=unit))
    )
    base = alt.Chart(values(rows)).encode(
        x=alt.X(
            "predicted:Q",
            scale=unit,
            title="predicted probability of a zero",
            axis=alt.Axis(tickCount=10),
        ),
        y=alt.Y("observed:Q", scale=unit, title="observed share of zeros"),
        color=loss_colour(data),
    )
    tips = [
        alt.Tooltip("loss:N"),
        alt.Tooltip("predicted:Q", format=".3f"),
        alt.Tooltip("observed:Q", format=".3f"),
        alt.Tooltip("entries:Q", format=",.0f"),
    ]
    return figure(
        layered(
            ideal,
            base.mark_line(strokeWidth=1.8).encode(strokeDash=loss_dash(data)),
            base.mark_point(filled=True, size=45, opacity=1).encode(
                shape=loss_shape(data), tooltip=tips
            ),
        ),
        "Reliability of the predicted zeros",
        "Of the entries to which a loss gives a zero with probability p, a share p should be "
        "zero: the dashed diagonal. Above it, more zeros happened than were promised.",
        height=320,
    )


def pit_histograms(data: Dataset) -> Panels | None:
    """Histogram of the probability integral transform, a panel per loss."""
    table = data.points("native", "pit_histogram", level="dataset")
    losses = [name for name in data.losses if name in table.index]
    if not losses:
        return None
    edges = sorted(table.columns, key=float)
    width = 1 / len(edges)
    top = max(1.5, float(table.loc[losses].max().max()) * 1.05)
    made = []
    for loss in losses:
        rows = [
            {
                "from": float(edge),
                "to": float(edge) + width,
                "density": float(table.loc[loss, edge]),
            }
            for edge in edges
        ]
        bars = (
            alt.Chart(values(rows))
            .mark_rect(color=colour_of(data.losses)[loss], opacity=0.75)
            .encode(
                x=alt.X(
                    "from:Q",
                    scale=alt.Scale(domain=[0, 1]),
                    title="PIT",
                    axis=alt.Axis(tickCount=3),
                ),
                x2=alt.X2("to"),
                y=alt.Y("density:Q", scale=alt.Scale(domain=[0, top]), title=None),
                y2=alt.Y2Datum(0),
                tooltip=[alt.Tooltip("from:Q"), alt.Tooltip("density:Q", format=".3f")],
            )
        )
        flat = (
            alt.Chart(values([{"one": 1}])).mark_rule(strokeDash=[5, 4]).encode(y=alt.Y("one:Q"))
        )
        made.append(figure(layered(bars, flat), short(loss), height=140))
    return Panels(
        "Calibration: PIT histogram of each loss",
        "Where the held-out counts fall in their predicted distributions. Flat, at the dashed "
        "line, is right. A U: the counts vary more than the loss says. A hump: they vary less. "
        "A slope: the means are off.",
        made,
    )
