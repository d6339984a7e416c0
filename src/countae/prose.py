"""A verdict told in full, from verdict.json alone: asked, answered, doubted, and what to do."""

from __future__ import annotations

from typing import Any

from countae.wording import ADVICE, listed, short

AXES = {"overall": "Overall", "mean": "Means", "zeros": "Zeros", "dispersion": "Spread"}
WORDS = {"winner": "a winner", "tie": "a tie", "undecided": "undecided", "abstain": "no verdict"}
FEW_CELLS = 300  # test cells below which most single genes stay undecided
# what is read of a verdict.json
TOLD = (
    "dataset", "sentence", "titles", "seeds", "n_test_cells", "n_genes", "protocol", "errors_by",
    "genes", "gene_pairs", "control.likelihood", "settings.bootstrap", "axes.overall.outcome",
    "axes.*.outcome", "axes.*.reason", "axes.*.question", "axes.*.recommended", "axes.*.aa_error",
    "story.family", "story.doubts", "story.reason", "overdispersion.reason",
    "zero_inflation.reason", "zero_inflation.asserted", "zero_inflation.power.replicates",
    "protocols.*.reason",
)  # fmt: skip


def explained(found: dict[str, Any]) -> dict[str, list[str]]:
    """Paragraphs by heading.

    Parameters
    ----------
    found : dict
        Content of verdict.json, with the keys of ``TOLD``.
    """
    return {
        "What was asked": [_asked(found)],
        "The answer": [found["sentence"]],
        "On each axis": [_axis(name, axis) for name, axis in found["axes"].items()],
        "Gene by gene": _genes(found),
        "The story of the counts": [found["story"]["reason"]],
        "Overdispersion": [found["overdispersion"]["reason"]],
        "Zero inflation": [found["zero_inflation"]["reason"]],
        "Other ways of hiding": [one["reason"] for one in found["protocols"].values()],
        "When not to believe it": _doubts(found),
        "What to do next": _next(found),
    }


def _asked(found: dict[str, Any]) -> str:
    losses = listed([short(name) for name in found["titles"]])
    seeds = len(found["seeds"])
    return (
        f"The same network was trained under {losses}, {seeds} {_times(seeds)} each. Each network "
        f"then gave a probability to every count of {found['n_genes']:,} genes in "
        f"{found['n_test_cells']:,} cells that it was not trained on, while that count was hidden "
        "from it. Which loss gives the counts that were seen the highest probability?"
    )


def _times(number: int) -> str:
    return "time" if number == 1 else "times"


def _axis(name: str, axis: dict[str, Any]) -> str:
    title, word = AXES.get(name, short(name)), WORDS.get(axis["outcome"], axis["outcome"])
    return f"{title}: {word}. {axis['question']} {axis['reason']}"


def _genes(found: dict[str, Any]) -> list[str]:
    """How many genes fall in each class, and what that means."""
    tally = found["genes"]
    total, untestable = sum(tally.values()), tally.get("not_testable", 0)
    alone = [
        f"{short(name)} alone is best on {number:,}"
        for name, number in tally.items()
        if number and name in found["titles"]
    ]
    shared = [f"{number:,} are {word}" for word, number in (
        ("ties", tally.get("tie", 0)), ("undecided", tally.get("undecided", 0)),
        ("not testable, with too few counts", untestable),
    ) if number]  # fmt: skip
    said = f"Of {total:,} genes {listed([*alone, *shared])}." if total else "No genes."
    return [
        said + " Undecided means that the numbers point somewhere but could be chance; the table "
        "of genes in the report has each one with its error."
    ]


def _doubts(found: dict[str, Any]) -> list[str]:
    """What the verdict does not cover, and what is weak in this one."""
    cells, by = found["n_test_cells"], found["errors_by"]
    said = [
        "It is about these losses in this network, trained on one split of the cells: a better "
        f"network for one of them, or other cells to train on, is not in the intervals, whose "
        f"errors are by {by}."
    ]
    if by == "cell":
        said.append(
            "Cells of one donor are alike. If yours come from several, name their column "
            "(`donor_key`), or the intervals are too narrow."
        )
    if cells < FEW_CELLS:
        said.append(f"{cells:,} test cells are few: most single genes cannot be decided.")
    errors = [axis["aa_error"] for axis in found["axes"].values() if axis["aa_error"] is not None]
    control = short(found["control"]["likelihood"])
    said.append(
        f"{control}, compared with itself under other seeds, was called different in "
        f"{100 * max(errors):.0f} % of the comparisons; so often chance looks like a result here."
        if errors
        else "There was no A/A arm, so nobody knows how often chance looks like a result here."
    )
    if found["settings"]["bootstrap"] and found["story"]["family"] != "unsettled":
        said.append(
            "The story rests on data drawn from the fitted means as if these were the truth."
        )
    return said


def _next(found: dict[str, Any]) -> list[str]:
    """Advice that follows from the outcome and from what is open."""
    overall, story = found["axes"]["overall"], found["story"]
    said = [ADVICE[overall["outcome"]]]
    if story["doubts"] or story["family"] == "unsettled":
        said.append(
            "Something in the story is open. `referee: {replicates: 3}` in config.yaml tells what "
            "can be told apart on data like these; deeper or more cells settle more."
        )
    if not found["protocols"] and found["protocol"] == "masked":
        said.append(
            "`protocols: [thinning, nb_splitting]` asks whether the verdict survives other ways "
            "of hiding counts."
        )
    if overall["outcome"] != "abstain":
        chosen = overall["recommended"]
        said.append(
            f"The network of {short(chosen)} is in {found['dataset']}.h5ad: expected counts in "
            f'layers["denoised_{chosen}"], latent coordinates in obsm["X_{chosen}"].'
        )
    return said
