"""The referee: what can be told apart on data like the user's, from rehearsals of known truth."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from countae.errors import ScoreError
from countae.wording import STORIES

# the loss whose story is that of a family; None where no compared family is the truth
TOLD_BY = {
    "poisson": "poisson", "nb": "nb", "two_type_nb": "nb", "poisson_lognormal": "nb",
    "zinb": "zinb", "zinb_logistic": "zinb", "gaussian": "mse_counts", "heavy_tailed": None,
}  # fmt: skip
INFLATED = "zinb"


def confusion(rehearsals: list[dict[str, Any]]) -> dict[str, Any]:
    """True family against the story that was told, and for how many genes extra zeros show.

    Parameters
    ----------
    rehearsals : list of dict
        From :func:`countae.rehearsal.rehearse`.

    Returns
    -------
    dict
        ``families``; ``rows`` by family: ``n``, ``stories``, ``recommended`` (counts by name),
        ``right`` (None where no story is), ``zero_inflation`` asserted; ``told_apart``: mean
        number of genes in which ZINB data show extra zeros, ``of`` all genes; ``sentence``.

    Raises
    ------
    ScoreError
        Without any rehearsal.
    """
    if not rehearsals:
        raise ScoreError(
            "The referee needs rehearsals, but none were given. Fix: run `countae rehearse`."
        )
    families = list(dict.fromkeys(made["family"] for made in rehearsals))
    rows = {name: _row([m for m in rehearsals if m["family"] == name]) for name in families}
    inflated = [made for made in rehearsals if made["family"] == INFLATED]
    numbers = [made["observed"].get("n_significant") for made in inflated]
    apart = None
    if inflated and None not in numbers:
        of = np.mean([made["n_genes"] for made in inflated])
        apart = {"genes": round(float(np.mean(numbers))), "of": round(float(of))}
    return {
        "families": families,
        "rows": rows,
        "told_apart": apart,
        "sentence": _sentence(rows, apart),
    }


def _row(made: list[dict[str, Any]]) -> dict[str, Any]:
    """One line of the confusion matrix."""
    truth = TOLD_BY.get(made[0]["family"])
    told = [one["story"]["family"] for one in made]
    return {
        "n": len(made),
        "stories": dict(Counter(told).most_common()),
        "recommended": dict(Counter(one["recommended"] for one in made).most_common()),
        "right": None if truth is None else sum(story == truth for story in told),
        "zero_inflation": sum(one["asserted"]["zero_inflation"] for one in made),
    }


def _sentence(rows: dict[str, dict[str, Any]], apart: dict[str, int] | None) -> str:
    """What can be told apart, in words."""
    known = {name: row for name, row in rows.items() if row["right"] is not None}
    always = [name for name, row in known.items() if row["right"] == row["n"]]
    parts = [f"of {', '.join(always)} every time"] if always else []
    for name, row in known.items():
        if name not in always:
            others = [STORIES[story] for story in row["stories"] if story != TOLD_BY[name]]
            parts.append(
                f"of {name} {row['right']} of {row['n']} times, else {' or '.join(others)}"
            )
    if not parts:
        return "None of the simulated families is one that a verdict could name."
    said = "On data simulated from your own fit the verdict names the true family " + "; ".join(
        parts
    )
    if apart is None:
        return f"{said}."
    return (
        f"{said}. At your depth NB and ZINB can be told apart for {apart['genes']:,} of "
        f"{apart['of']:,} genes."
    )
