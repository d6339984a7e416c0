"""Figures of training and of the latent spaces."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np

from countae.report.figures import Figure, Panels, figure, log_axis, values
from countae.report.latent import Latents
from countae.report.load import Dataset
from countae.report.look import COLOURS, GREY, SHAPES, colour_of, cycle, percent, whole
from countae.wording import short

MOST_EPOCHS = 120
STYLES = {"validation": (1, 0), "training": (3, 2)}
GLYPHS = {
    "circle": "●", "square": "■", "triangle-up": "▲", "diamond": "◆", "cross": "✚",
    "triangle-down": "▼",
}  # fmt: skip


def training_curves(data: Dataset) -> Panels:
    """Training and validation loss by epoch, a panel per loss, each on its own scale."""
    return Panels(
        "Training (dashed) and validation (solid) loss of each seed",
        "Every loss has its own unit, so heights do not compare between panels: a lower curve is "
        "not a better loss. Seeds should end at about the same height. The dot is the epoch that "
        "was kept. Dropout is on in training and off in validation, so the dashed curve may lie "
        "above the solid one. Where the dashed curve falls on while the solid one rises, the "
        "network starts to learn its training cells by heart; the kept epoch is from before.",
        [_training_curve(data, loss) for loss in data.losses],
    )


def _training_curve(data: Dataset, loss: str) -> Figure:
    rows, best = [], []
    for record in data.compared(loss):
        parts = {"training": record["train_loss"], "validation": record["validation_loss"]}
        for part, of_epoch in parts.items():
            rows += [
                {"epoch": epoch + 1, "loss": of_epoch[epoch], "part": part, "seed": record["seed"]}
                for epoch in _thinned(len(of_epoch))
            ]
        epoch = record["best_epoch"]
        best.append(
            {"epoch": epoch + 1, "loss": parts["validation"][epoch], "seed": record["seed"]}
        )
    x = log_axis(alt.X, "epoch", [row["epoch"] for row in rows], "epoch (log scale)")
    y = alt.Y("loss:Q", scale=alt.Scale(zero=False), title=None, axis=alt.Axis(tickCount=4))
    dash = alt.Scale(domain=list(STYLES), range=[list(style) for style in STYLES.values()])
    lines = (
        alt.Chart(values(rows))
        .mark_line(strokeWidth=1.4, opacity=0.85, color=colour_of(data.losses)[loss])
        .encode(
            x=x, y=y, detail=alt.Detail("seed:N"),
            strokeDash=alt.StrokeDash("part:N", scale=dash, legend=None),
        )
    )  # fmt: skip
    kept = (
        alt.Chart(values(best))
        .mark_point(filled=True, size=45, opacity=1, color=colour_of(data.losses)[loss])
        .encode(
            x=x,
            y=y,
            tooltip=[
                alt.Tooltip("seed:N"),
                alt.Tooltip("epoch:Q"),
                alt.Tooltip("loss:Q", format=".4f"),
            ],
        )
    )
    return figure(alt.layer(lines, kept), short(loss), height=160)


def _thinned(epochs: int) -> list[int]:
    """Epochs that are drawn: all, or about 120 spaced evenly on the logarithmic axis."""
    if epochs <= MOST_EPOCHS:
        return list(range(epochs))
    spaced = np.geomspace(1, epochs, MOST_EPOCHS).round().astype(int) - 1
    return np.unique(spaced).tolist()


def latent_maps(data: Dataset) -> Panels | None:
    """Cells on the first two axes of each latent, a panel per loss."""
    latents, names = data.latents, label_names(data.latents)
    shown = [loss for loss in data.losses if loss in latents.maps]
    if not shown:
        return None
    cells = (
        f"all {whole(latents.n_cells)} cells"
        if latents.n_shown == latents.n_cells
        else f"{whole(latents.n_shown)} of {whole(latents.n_cells)} cells, drawn in proportion to "
        "their labels"
    )
    colours = (
        f", coloured by {latents.label_key}"
        if latents.label_key
        else "; this data set has no labels to colour by"
    )
    return Panels(
        "Cells in the latent space of each loss",
        f"First two principal components of the latent coordinates (seed {data.seeds[0]}), "
        f"{cells}{colours}. Maps are for looking only: they do not enter the verdict, and "
        "distances between groups mean little. The share of the latent's variance that the two "
        "axes hold stands above each map.",
        [_latent_map(latents, loss, names) for loss in shown],
        wide=True,
    )


def label_names(latents: Latents) -> list[str]:
    """Labels of the shown cells, the most frequent first."""
    if latents.labels is None:
        return []
    found, number = np.unique(latents.labels, return_counts=True)
    return [str(name) for name in found[np.argsort(-number, kind="stable")]]


def label_legend(latents: Latents) -> list[dict[str, str]]:
    """Name, colour and glyph of each label, for the legend that all maps share."""
    names = label_names(latents)
    glyphs = [GLYPHS[shape] for shape in cycle(SHAPES, len(names))]
    triples = zip(names, cycle(COLOURS, len(names)), glyphs, strict=True)
    return [{"name": n, "colour": c, "glyph": g} for n, c, g in triples]


def _latent_map(latents: Latents, loss: str, names: list[str]) -> Figure:
    points = latents.maps[loss]
    rows: list[dict[str, Any]] = [
        {"x": float(f"{x:.3g}"), "y": float(f"{y:.3g}")} for x, y in points
    ]
    share = latents.explained[loss]
    channels: dict[str, Any] = {}
    if latents.labels is not None:
        rows = [row | {"label": label} for row, label in zip(rows, latents.labels, strict=True)]
        colour = alt.Scale(domain=names, range=cycle(COLOURS, len(names)))
        shape = alt.Scale(domain=names, range=cycle(SHAPES, len(names)))
        channels = {
            "color": alt.Color("label:N", scale=colour, legend=None),
            "shape": alt.Shape("label:N", scale=shape, legend=None),
            "tooltip": ["label:N"],
        }
    plain = alt.Axis(labels=False, ticks=False, grid=False, domain=False)
    mark: dict[str, Any] = {"filled": True, "size": 22, "opacity": 0.75}
    if not channels:
        mark["color"] = GREY
    chart = alt.Chart(values(rows)).mark_point(**mark)
    chart = chart.encode(
        x=alt.X("x:Q", axis=plain, title="PC 1", scale=alt.Scale(zero=False)),
        y=alt.Y("y:Q", axis=plain, title="PC 2", scale=alt.Scale(zero=False)),
        **channels,
    )
    title = f"{short(loss)}, {percent(share)} of the variance"
    return figure(chart, title, height=250)
