"""The script of `make test-gpu`, on a CPU: its numbers, and that nothing wrong passes."""

from __future__ import annotations

import math
import sys

import pytest
import torch
from conftest import SETTINGS
from gpu import report

from countae.training import Trainer

SMALL = ["--device", "cpu", "--cells", "150", "--genes", "40", "--batches", "64"]


def told(monkeypatch, capsys, *words: str) -> tuple[int, str]:
    """Code with which the script exits, and what it prints."""
    monkeypatch.setattr(sys, "argv", ["report.py", *SMALL, *words])
    with pytest.raises(SystemExit) as end:
        report.main()
    return end.value.code, "".join(capsys.readouterr())


def test_a_cpu_agrees_with_itself_in_every_precision(monkeypatch, capsys):
    words = ["--likelihoods", "nb", "mse_log1p", "--precisions", "32", "bf16-mixed", "64"]
    code, text = told(monkeypatch, capsys, *words)
    rows = [line.split() for line in text.splitlines() if line.startswith(("nb ", "mse_log1p "))]
    assert code == 0, text
    assert [row[:3] for row in rows] == [
        [name, precision, "64"] for name in ("nb", "mse_log1p") for precision in words[4:]
    ]
    gaps = {(row[0], row[1]): float(row[-1]) for row in rows}
    assert all(gaps[name, "bf16-mixed"] > gaps[name, "32"] for name in ("nb", "mse_log1p"))
    assert "All rows are finite and agree with the CPU." in text


@pytest.mark.parametrize("gap", [math.nan, math.inf, 2e-4])
def test_a_gap_or_none_is_told_and_fails(monkeypatch, capsys, gap):
    monkeypatch.setattr(report, "gap_to_cpu", lambda *given: gap)
    code, text = told(monkeypatch, capsys, "--likelihoods", "nb", "--precisions", "32")
    assert code == 1
    assert f"loss does not agree with that of the CPU: the relative gap is {gap:.1e}, but" in text
    assert "All rows" not in text


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["there", "on the CPU"])
def test_a_loss_that_is_no_number_leaves_no_gap_that_passes(small_nb, monkeypatch, wrong, where):
    monkeypatch.setattr(report, "trained", lambda *given: None)  # would tell it, too
    if where == "there":
        step = spoilt(report.Stepper.step, "size_factor", wrong)
        monkeypatch.setattr(report.Stepper, "step", step)
    else:
        monkeypatch.setattr(report, "losses_of", lambda *given: (torch.tensor([wrong]), {}))
    found = report.measured(small_nb, "nb", "64", 64, "cpu", "deterministic")
    assert len(found) == 1
    assert "does not agree with that of the CPU" in found[0]


def spoilt(step, name, value):
    """Steps with a value that is no number, or none that is finite, in one of their tensors."""

    def made(self, *given, **named):
        found = step(self, *given, **named)
        getattr(found, name)[0] = value
        return found

    return made


def test_training_that_diverges_is_told_and_fails(monkeypatch, capsys):
    monkeypatch.setattr(Trainer, "epoch", lambda self, *given: (math.nan, object()))
    code, text = told(monkeypatch, capsys, "--likelihoods", "nb", "--precisions", "64")
    assert code == 1
    assert "nb 64 64: training gave a loss of nan in epoch 1." in text


def test_too_little_memory_is_told_and_fails(monkeypatch, capsys):
    def lacking(*given):
        raise torch.OutOfMemoryError("Tried to allocate 2.00 GiB")

    monkeypatch.setattr(Trainer, "epoch", lacking)
    monkeypatch.setattr(report.memory, "free_bytes", lambda device: 10**12)
    code, text = told(monkeypatch, capsys, "--likelihoods", "nb", "--precisions", "32")
    assert code == 1
    assert "nb 32 64: cpu has not enough memory (Tried to allocate 2.00 GiB)" in text


def test_it_runs_with_the_algorithms_of_a_fit(small_nb, monkeypatch):
    asked = []
    own = report.repeatable
    monkeypatch.setattr(report, "repeatable", lambda *given: asked.append(given) or own(*given))
    for algorithms in ("deterministic", "fastest"):
        report.row_of(small_nb, "nb", "32", 64, "cpu", algorithms)
    assert [words[1] for words in asked] == ["deterministic", "fastest"]
    assert SETTINGS["training"]["algorithms"] == "deterministic"  # which the script takes


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_nothing_is_said_to_be_measured(monkeypatch, capsys):
    code, text = told(monkeypatch, capsys, "--device", "cuda")
    assert code == 2
    assert "no CUDA device: nothing was measured" in text
