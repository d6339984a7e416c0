"""A verdict as prose: every part is told, and only what the file says."""

from __future__ import annotations

import copy

import pytest
from made_up_verdict import AXIS, VERDICT

from countae.prose import TOLD, explained


def told(**changes) -> dict[str, str]:
    found = explained(copy.deepcopy(VERDICT) | changes)
    return {heading: "\n".join(paragraphs) for heading, paragraphs in found.items()}


def test_what_was_asked_has_the_losses_and_the_sizes():
    asked = told()["What was asked"]
    assert "MSE log1p, NB and ZINB, 3 times each" in asked
    assert "1,200 genes in 140 cells" in asked


def test_answer_axes_and_story_are_those_of_the_file():
    found = told()
    assert found["The answer"] == VERDICT["sentence"]
    assert "Overall: a tie. Which is best? They differ" in found["On each axis"]
    assert "Zeros: no verdict." in found["On each axis"]
    assert found["Zero inflation"] == "Not shown."
    assert not found["Other ways of hiding"]


def test_genes_are_counted_by_class():
    genes = told()["Gene by gene"]
    assert "Of 1,200 genes NB alone is best on 3, 10 are ties, 1,100 are undecided" in genes
    assert "ZINB" not in genes


@pytest.mark.parametrize(
    ("changes", "doubt", "there"),
    [
        ({}, "140 test cells are few", True),
        ({"n_test_cells": 5000}, "test cells are few", False),
        ({}, "called different in 2 % of the comparisons", True),
        ({"axes": {"overall": AXIS | {"aa_error": None}}}, "no A/A arm", True),
        ({}, "name their column", True),
        ({"errors_by": "donor (7)"}, "name their column", False),
    ],
)
def test_doubts_follow_from_the_numbers(changes, doubt, there):
    assert (doubt in told(**changes)["When not to believe it"]) == there


@pytest.mark.parametrize(
    ("changes", "advice", "there"),
    [
        ({}, "take the simplest", True),
        ({}, 'obsm["X_nb"]', True),
        ({"axes": {"overall": AXIS | {"outcome": "abstain"}}}, "Do not choose a loss", True),
        ({"axes": {"overall": AXIS | {"outcome": "abstain"}}}, "obsm", False),
        ({}, "referee", False),
        ({"story": VERDICT["story"] | {"doubts": ["zero_inflation"]}}, "referee", True),
        ({}, "protocols: [thinning", True),
        ({"protocols": {"thinning": {"reason": "It survives."}}}, "protocols: [", False),
    ],
)
def test_advice_follows_from_the_outcome(changes, advice, there):
    assert (advice in told(**changes)["What to do next"]) == there


def test_every_key_that_is_read_is_asked_for():
    """A verdict.json without one of them is refused before anything is told."""
    read: set[str] = set()

    class Watched(dict):
        def __getitem__(self, key):
            read.add(key)
            return super().__getitem__(key)

    def watched(value):
        if isinstance(value, dict):
            return Watched({key: watched(inner) for key, inner in value.items()})
        return value

    explained(watched(VERDICT))
    asked = {part for key in TOLD for part in key.split(".")}
    assert read <= asked | set(VERDICT["axes"])
