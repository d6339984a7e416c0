"""What is asked of a scheduler, by hand and against the measured peaks."""

from __future__ import annotations

import json
import math

import pytest

from countae import resources
from countae.errors import ScoreError


@pytest.fixture
def triage(tmp_path):
    """Writes the triage of a data set of some size."""

    def make(cells: int, genes: int):
        path = tmp_path / "triage.json"
        path.write_text(json.dumps({"modelled": {"cells": cells, "genes": genes}}))
        return path

    return make


def test_memory_and_time_by_hand(triage, monkeypatch):
    monkeypatch.setitem(resources.NEEDS, "fit", resources.Need(600, 50, 2, 3, 10_000))
    path = triage(5_000, 2_000)  # 10 million entries
    used = 600 + 50 * 10
    assert resources.memory_mb("fit", path) == math.ceil(
        resources.WORKFLOW_MB + resources.MARGIN * used
    )
    assert resources.minutes("fit", path) == math.ceil(resources.SLOWEST * (2 + 3 * 10))


@pytest.mark.parametrize(("step", "times"), [("fit", 1), ("stress", 6), ("verdict", 0)])
def test_moved_cells_take_a_second_per_million_entries_and_step(triage, step, times):
    path, need = triage(5_000, 2_000), resources.NEEDS[step]
    extra = times * 30 * 10 / 60
    plain = need.minutes + 10 * need.minutes_per_million
    found = resources.minutes(step, path, latent_steps=30)
    assert found == math.ceil(resources.SLOWEST * (plain + extra))


def test_a_further_attempt_asks_for_as_much_more(triage):
    path = triage(1_000, 500)
    for ask in (resources.memory_mb, resources.minutes):
        assert [ask("fit", path, attempt=n) / ask("fit", path) for n in (1, 2, 3)] == [1, 2, 3]


def test_memory_that_is_bounded_stops_growing_before_time_does(triage):
    """A fit holds few cells, an epoch has at most 128,000; a bootstrap holds all."""
    asked = [
        [ask(step, triage(cells, 2_000)) for cells in (15_000, 128_000, 1_000_000)]
        for ask, step in (
            (resources.memory_mb, "fit"),
            (resources.minutes, "fit"),
            (resources.memory_mb, "bootstrap"),
        )
    ]
    memory, time, of_all = asked
    assert memory[0] == memory[1] == memory[2]
    assert 5 * time[0] < time[1] == time[2]
    assert of_all[0] < of_all[1] < of_all[2]


def test_a_missing_triage_is_told_to_snakemake(tmp_path):
    """FileNotFoundError with the path: Snakemake asks again once the file is there."""
    with pytest.raises(FileNotFoundError) as told:
        resources.memory_mb("fit", tmp_path / "triage.json")
    assert told.value.filename == str(tmp_path / "triage.json")


def test_a_damaged_triage_is_told(tmp_path):
    (tmp_path / "triage.json").write_text("{")
    with pytest.raises(ScoreError, match="damaged"):
        resources.memory_mb("fit", tmp_path / "triage.json")
