"""What docs/clusters.md says of a large plan, against the rules as they are."""

from __future__ import annotations

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def script():
    """The script that writes the page."""
    spec = spec_from_file_location("clusters", ROOT / "benchmarks" / "clusters.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_page_counts_the_steps_that_are_planned():
    page = (ROOT / "docs" / "clusters.md").read_text()
    told = re.search(r"× 5 seeds are ([\d,]+) steps \((.*?)\)", page)
    jobs = script().planned()
    assert int(told[1].replace(",", "")) == sum(jobs.values())
    assert told[2] == ", ".join(f"{n:,} {rule}" for rule, n in jobs.items())


@pytest.mark.parametrize(
    ("path", "step"),
    [
        ("prepare.tsv", "prepare"),
        ("nb/seed0/fit.tsv", "fit"),
        ("thinning/nb/seed0/score.tsv", "score"),
        ("gene_mean/score.tsv", "score_baseline"),
        ("scvi_nb/seed0/score.tsv", "score_peer"),
        ("scvi_nb/seed0/peer.tsv", "fit_peer"),
        ("thinning/nb/tuning/trial0.tsv", "tune_trial"),
        ("nb/tune.tsv", "tune"),
        ("referee/nb-0.tsv", "rehearse"),
        ("referee.tsv", "referee"),
        ("stress/depth/nb-seed0.tsv", "stress"),
        ("stress.tsv", "stress_table"),
    ],
)
def test_the_rule_of_a_benchmark_file(path, step):
    assert script().step_of(Path(path)) == step


def test_what_the_page_says_is_asked_is_above_what_was_used():
    page = (ROOT / "docs" / "clusters.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| [\d.]+ \| \d+ \| ([\d,]+) \| ([\d,]+) \|", page, re.M)
    assert {"fit", "stress", "rehearse", "hide", "tune_trial", "fit_peer"} <= {r[0] for r in rows}
    for step, used, asked in rows:
        assert int(used.replace(",", "")) < int(asked.replace(",", "")), step
