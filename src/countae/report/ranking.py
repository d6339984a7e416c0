"""Many data sets: mean ranks of the losses, and how far they must be apart to differ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt

from countae.files import read_json
from countae.report.figures import Figure, figure, layered, values
from countae.report.look import GREY, number
from countae.report.tables import Cell, Column, Table
from countae.wording import short

FILE = "ranking.json"


@dataclass(frozen=True)
class Ranking:
    """Ranks of the losses over data sets, in words, as a table and as a drawing."""

    words: str
    table: Table
    drawing: Figure | None


def read_ranking(folders: list[Path]) -> dict[str, Any] | None:
    """The ranking that lies beside the folders of several data sets; None without one."""
    path = Path(folders[0]).parent / FILE if len(folders) > 1 else None
    return read_json(path) if path is not None and path.is_file() else None


def ranking(found: dict[str, Any] | None) -> Ranking | None:
    """What the page says of a ranking."""
    if found is None:
        return None
    return Ranking(_words(found), _table(found), _drawing(found))


def _words(found: dict[str, Any]) -> str:
    said = [found["reason"]] if found.get("reason") else []
    friedman = found.get("friedman")
    if friedman:
        p = "p < 0.0001" if friedman["p"] < 1e-4 else f"p = {friedman['p']:.2g}"
        said.append(
            f"Friedman's test that all losses rank alike: χ² = {friedman['statistic']:.2f}, {p}."
        )
    if found.get("critical_difference") is not None:
        said.append(
            "Two losses differ when their mean ranks are more than "
            f"{found['critical_difference']:.2f} apart (Nemenyi's critical difference)."
        )
    return " ".join(said)


def _table(found: dict[str, Any]) -> Table:
    """Rank and score of each loss (columns) on each data set (rows), with the mean ranks."""
    losses, rows = _ordered(found), []
    for name in found["datasets"]:
        ranks, scores = found["ranks"].get(name, {}), found["scores"].get(name, {})
        cells = [_rank(ranks.get(loss), scores.get(loss)) for loss in losses]
        rows.append(([Cell(name, mark="name"), *cells], ""))
    means = [found["mean_ranks"].get(loss) for loss in losses]
    last = [Cell("–" if rank is None else f"{rank:.2f}", rank) for rank in means]
    rows.append(([Cell("Mean rank", note="1 is best", mark="name"), *last], "control"))
    columns = [Column("Data set", numeric=False), *(Column(short(loss)) for loss in losses)]
    return Table("Rank of each loss on each data set", columns, rows)


def _ordered(found: dict[str, Any]) -> list[str]:
    """Losses, that with the best mean rank first."""
    ranks = found["mean_ranks"]
    return sorted(found["losses"], key=lambda loss: (loss not in ranks, ranks.get(loss, 0.0)))


def _rank(rank: float | None, score: float | None) -> Cell:
    if rank is None:
        return Cell("–")
    return Cell(f"{rank:g}", rank, "" if score is None else number(score), "won" * (rank == 1))


def _drawing(found: dict[str, Any]) -> Figure | None:
    """Mean ranks as dots, and the stretch from the best that is too short to mean anything."""
    width = found.get("critical_difference")
    order = [loss for loss in _ordered(found) if loss in found["mean_ranks"]]
    if width is None or not order:
        return None
    rows = [{"loss": short(loss), "rank": found["mean_ranks"][loss]} for loss in order]
    first, last = 1.0, float(max(len(order), rows[0]["rank"] + width))
    scale = alt.Scale(domain=[first - 0.15, last + 0.15], nice=False)
    x: dict[str, Any] = {"scale": scale, "title": "mean rank (1 is best)"}
    axis = alt.Axis(values=list(range(1, len(order) + 1)), format="d")
    y = alt.Y("loss:N", sort=[row["loss"] for row in rows], title=None)
    reach = [{"low": rows[0]["rank"], "high": rows[0]["rank"] + width}]
    band = (
        alt.Chart(values(reach))
        .mark_rect(color=GREY, opacity=0.18)
        .encode(x=alt.X("low:Q", axis=axis, **x), x2=alt.X2("high"))
    )
    lines = [row | {"end": min(row["rank"] + width, last)} for row in rows]
    base = alt.Chart(values(lines)).encode(y=y)
    return figure(
        layered(
            band,
            base.mark_rule(color=GREY, strokeWidth=2).encode(
                x=alt.X("rank:Q", **x), x2=alt.X2("end")
            ),
            base.mark_point(filled=True, size=90, opacity=1, color="#0072B2").encode(
                x=alt.X("rank:Q", **x),
                tooltip=[alt.Tooltip("loss:N"), alt.Tooltip("rank:Q", format=".2f")],
            ),
        ),
        "Mean rank of each loss, with the critical difference",
        f"Each line is one critical difference long ({width:.2f} ranks). Losses whose dot is in "
        "the grey band cannot be told from the best one; any two losses whose dots are closer "
        "than a line is long cannot be told from each other.",
        height=max(90, 34 * len(rows)),
    )
