"""Figures of the verdict and the leaderboard."""

from __future__ import annotations

import math
from typing import Any

import altair as alt

from countae.report.figures import (
    Figure,
    figure,
    layered,
    loss_colour,
    loss_shape,
    noise_channels,
    values,
)
from countae.report.load import NULL, ORACLE, Dataset
from countae.report.look import noise_title, number, percent
from countae.wording import short

MOST_GENES_SHOWN = 20
TICKS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


def score_dots(data: Dataset) -> Figure | None:
    """Log score of each loss with each noise, with the controls as lines."""
    noises = [noise for noise in data.noises if data.crossed(noise)]
    rows = []
    for loss in data.losses:
        for noise in noises:
            value, spread = data.summary(loss, noise, "log_score")
            if math.isfinite(value):
                ends = {"low": value - (spread or 0), "high": value + (spread or 0)}
                row = {"loss": short(loss), "noise": noise_title(noise), "score": value}
                rows.append(row | ends)
    if not rows:
        return None
    colour, shape = noise_channels(data, noises)
    y = alt.Y("loss:N", sort=[short(n) for n in data.losses], title=None)
    offset = alt.YOffset("noise:N", sort=[noise_title(n) for n in noises])
    x_scale = alt.Scale(zero=False, nice=True)
    base = alt.Chart(values(rows)).encode(y=y, yOffset=offset, color=colour)
    bars = base.mark_rule(strokeWidth=2).encode(
        x=alt.X(
            "low:Q",
            scale=x_scale,
            title="log score, nats per entry (left is better)",
            axis=alt.Axis(tickCount=8),
        ),
        x2=alt.X2("high"),
    )
    dots = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=alt.X("score:Q", scale=x_scale),
        shape=shape,
        tooltip=[
            alt.Tooltip("loss:N"),
            alt.Tooltip("noise:N"),
            alt.Tooltip("score:Q", format=".4f", title="log score"),
        ],
    )
    caption = (
        "Reading across a row: what changes is the noise, around the same means. Reading down "
        "one colour: what changes is the means, with the same noise."
    )
    if len(data.seeds) > 1:
        caption += (
            " Dot: mean over seeds; bar: ± one standard deviation over seeds, mostly smaller than "
            "the dot."
        )
    return figure(
        layered(_control_lines(data), bars, dots),
        "Log score of each loss with its own and with refitted noise",
        caption + _control_words(data),
        height=max(160, 14 * len(noises) * len(data.losses)),
    )


def _controls(data: Dataset) -> list[dict[str, Any]]:
    wanted = [("gene mean | NB", NULL, "nb"), ("oracle", ORACLE, "native")]
    rows: list[dict[str, Any]] = [
        {"control": name, "score": data.summary(contestant, noise, "log_score")[0]}
        for name, contestant, noise in wanted
    ]
    return [row for row in rows if math.isfinite(row["score"])]


def _control_lines(data: Dataset) -> alt.Chart | None:
    rows = _controls(data)
    if not rows:
        return None
    return (
        alt.Chart(values(rows))
        .mark_rule(strokeDash=[5, 4], color="#8A8A8A")
        .encode(
            x=alt.X("score:Q"),
            tooltip=[alt.Tooltip("control:N"), alt.Tooltip("score:Q", format=".4f")],
        )
    )


def _control_words(data: Dataset) -> str:
    rows = _controls(data)
    if not rows:
        return ""
    listed = "; ".join(f"{row['control']} {number(row['score'])}" for row in rows)
    return (
        f" Dashed: the controls ({listed}). A network right of the gene mean has learnt nothing"
        + ("; none can be expected left of the oracle." if len(rows) > 1 else ".")
    )


def forest(data: Dataset) -> Figure | None:
    """Paired difference of the best loss to each other one, with interval, on the overall axis."""
    axis = data.verdict["axes"]["overall"]
    rows = [
        {
            "loss": short(pair["worse"]),
            "difference": pair["difference"],
            "low": pair["interval"][0],
            "high": pair["interval"][1],
            "decision": pair["decision"],
        }
        for pair in axis["pairs"]
        if pair["better"] == axis["best"]
    ]
    if not rows:
        return None
    delta, order = axis["delta"], [row["loss"] for row in rows]
    far = max(max(abs(row["low"]), abs(row["high"])) for row in rows)
    ticks = [0.0, -delta, delta, *(t for t in TICKS if 2 * delta < t <= 1.5 * far)]
    # linear within ±delta and logarithmic beyond: a tie and a defeat both stay readable
    scale = alt.Scale(type="symlog", constant=delta)
    x_axis = alt.Axis(values=ticks, format=".2~g", labelFlush=False)
    title = f"how much worse than {short(axis['best'])}, {axis['unit']}"
    zone = (
        alt.Chart(values([{"low": -delta, "high": delta}]))
        .mark_rect(color="#8A8A8A", opacity=0.18)
        .encode(x=alt.X("low:Q", scale=scale, axis=x_axis, title=title), x2=alt.X2("high"))
    )
    base = alt.Chart(values(rows)).encode(
        y=alt.Y("loss:N", sort=order, title=None), color=loss_colour(data, legend=False)
    )
    bars = base.mark_rule(strokeWidth=3).encode(x=alt.X("low:Q", scale=scale), x2=alt.X2("high"))
    dots = base.mark_point(filled=True, size=90, opacity=1).encode(
        x=alt.X("difference:Q", scale=scale),
        shape=loss_shape(data, legend=False),
        tooltip=[
            alt.Tooltip("loss:N"),
            alt.Tooltip("difference:Q", format=".4f"),
            alt.Tooltip("low:Q", format=".4f"),
            alt.Tooltip("high:Q", format=".4f"),
            alt.Tooltip("decision:N"),
        ],
    )
    zero = alt.Chart(values([{"zero": 0}])).mark_rule(color="#8A8A8A").encode(x=alt.X("zero:Q"))
    level = data.verdict.get("settings", {}).get("level", 0.05)
    return figure(
        layered(zone, zero, bars, dots),
        f"Every loss against the best one, {short(axis['best'])}",
        f"Paired difference on the same cells and seeds, with its {percent(1 - level)} "
        "interval. The grey band holds differences too small to matter: a bar inside it is a "
        "practical tie, a bar right of it a defeat, anything else is undecided. The scale is "
        "logarithmic outside the band.",
        height=max(90, 38 * len(rows)),
    )


def gene_gaps(data: Dataset) -> Figure | None:
    """Genes on which the losses differ most: log score of each above the best of that gene."""
    columns = [f"log_score_{loss}" for loss in data.losses]
    genes = data.genes[data.genes["class"] != "not_testable"]
    if genes.empty or not set(columns) <= set(genes):
        return None
    scores = genes.set_index("gene")[columns]
    gap = scores.sub(scores.min(axis=1), axis=0)
    top = gap.loc[gap.max(axis=1).sort_values(ascending=False, kind="stable").index]
    top = top.iloc[:MOST_GENES_SHOWN]
    rows = [
        {"gene": gene, "loss": short(loss), "gap": row[f"log_score_{loss}"]}
        for gene, row in top.iterrows()
        for loss in data.losses
    ]
    chart = (
        alt.Chart(values(rows))
        .mark_point(filled=True, size=60, opacity=0.9)
        .encode(
            x=alt.X(
                "gap:Q",
                title="log score above the best loss of the gene, nats per entry",
                axis=alt.Axis(tickCount=10),
            ),
            y=alt.Y("gene:N", sort=list(top.index), title=None),
            color=loss_colour(data),
            shape=loss_shape(data),
            tooltip=[
                alt.Tooltip("gene:N"),
                alt.Tooltip("loss:N"),
                alt.Tooltip("gap:Q", format=".4f"),
            ],
        )
    )
    return figure(
        chart,
        f"The {len(top)} testable genes on which the losses differ most",
        "The best loss of each gene is at 0; the further right, the worse a loss describes "
        "that gene's held-out counts. Look these genes up in the table below before you trust "
        "a model of them.",
        height=18 * len(top) + 10,
    )
