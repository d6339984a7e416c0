"""Progress: nothing in a library, lines in a log, bars on a terminal that vanish."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from countae import progress
from countae.progress import Lines, Work, show_on, tracked, working


@pytest.fixture(autouse=True)
def silent_afterwards():
    yield
    show_on(None)


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests move by hand."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_items_come_through_unchanged_and_nothing_is_shown(capsys):
    assert list(tracked(range(5), "counting", 5)) == [0, 1, 2, 3, 4]
    with working("counting") as work:
        work.advance(3)
    assert work.done == 3
    assert capsys.readouterr() == ("", "")


def test_a_log_gets_a_line_now_and_then_without_carriage_returns(clock):
    log = io.StringIO()
    show_on(Console(file=log, width=200))
    for _ in tracked(range(100), "reading", 100, "cells"):
        clock[0] += 1.0
    lines = log.getvalue().splitlines()
    assert len(lines) == 100 // progress.BETWEEN
    assert lines[0] == "reading: 15 of 100 cells (15 %)"
    assert "\r" not in log.getvalue()
    assert "\x1b" not in log.getvalue()


def test_short_work_leaves_no_line(clock):
    log = io.StringIO()
    show_on(Console(file=log))
    for _ in tracked(range(100), "reading", 100):
        clock[0] += 0.02
    assert log.getvalue() == ""


def test_work_inside_work_stands_on_one_line(clock):
    log = io.StringIO()
    show_on(Console(file=log, width=200))
    for _ in tracked(range(2), "data drawn from nb", 19, "data sets at most"):
        with working("training nb", unit="epochs") as work:
            clock[0] += 20.0
            work.advance(7, note="validation loss 0.50000")
    first, second = log.getvalue().splitlines()
    assert first == (
        "data drawn from nb: 0 of 19 data sets at most (0 %); training nb: 7 epochs, validation "
        "loss 0.50000"
    )
    assert second.startswith("data drawn from nb: 1 of 19")


def test_work_that_fails_is_forgotten(clock):
    board = Lines(Console(file=io.StringIO()))
    progress._board = board
    with pytest.raises(ZeroDivisionError), working("dividing"):
        _ = 1 / 0
    assert board.under_way == []


def test_a_terminal_gets_bars_that_vanish():
    screen = io.StringIO()
    show_on(Console(file=screen, force_terminal=True, width=80))
    with pytest.raises(RuntimeError), working("outer", 2) as outer:
        for _ in tracked(range(3), "[inner]", 3, "cells"):
            pass
        outer.advance()
        progress._board.shown.refresh()
        raise RuntimeError("the bars are taken away all the same")
    text = screen.getvalue()
    assert "outer: 1 of 2 (50 %)" in text
    assert "[inner]" in text
    assert text.rstrip("\r").endswith("\x1b[2K\x1b[?25h")  # erased, and the cursor is back


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (Work("fetching", 12.5, "MB", 6.25), "fetching: 6 of 12 MB (50 %)"),
        (Work("training nb", None, "epochs", 1200), "training nb: 1,200 epochs"),
        (Work("writing x.h5ad"), "writing x.h5ad"),
    ],
)
def test_progress_in_words(work, told):
    assert work.told() == told
