"""How far long work is: bars on a terminal, now and then a line in a log, nothing in a library.

Code that loops for long says so with :func:`tracked` or :func:`working`. The command line decides
once, with :func:`show_on`, where that is shown; until then nothing is.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

BETWEEN = 15.0  # seconds between two lines of a log, and before the first
T = TypeVar("T")


@dataclass(eq=False)
class Work:
    """A loop that is under way: ``done`` of ``total`` things, where that is known, and a note."""

    what: str
    total: float | None = None
    unit: str = ""
    done: float = 0
    note: str = ""
    began: float = field(default_factory=time.monotonic)

    def advance(self, by: float = 1, note: str = "") -> None:
        """Say that ``by`` more things are done; a note replaces the one before."""
        self.done, self.note = self.done + by, note or self.note
        if _board is not None:
            _board.changed(self)

    def told(self) -> str:
        """How far it is, in words: ``reading: 4,096 of 68,579 cells (6 %)``."""
        unit = f" {self.unit}" if self.unit else ""
        if self.total:
            share = f"{100 * self.done / self.total:.0f} %"
            count = f"{self.done:,.0f} of {self.total:,.0f}{unit} ({share})"
        else:
            count = f"{self.done:,.0f}{unit}" if self.done else ""
        parts = [part for part in (count, self.note) if part]
        return f"{self.what}: {', '.join(parts)}" if parts else self.what


class Lines:
    """Lines in a log: where all that is under way stands, at most one in ``between`` seconds."""

    def __init__(self, console: Console, between: float = BETWEEN) -> None:
        self.console, self.between = console, between
        self.under_way: list[Work] = []
        self.last = time.monotonic()

    def began(self, work: Work) -> None:
        """Know of work that begins, inside what is under way."""
        self.under_way.append(work)

    def changed(self, work: Work) -> None:
        """Print a line when it is time for one."""
        if time.monotonic() - self.last >= self.between:
            line = "; ".join(one.told() for one in self.under_way)
            self.console.print(line, markup=False)
            self.last = time.monotonic()

    def ended(self, work: Work) -> None:
        """Forget work that has ended."""
        self.under_way.remove(work)


class Bars:
    """A bar on a terminal for all that is under way; they vanish when it is done."""

    def __init__(self, console: Console) -> None:
        from rich import progress

        columns = (
            progress.SpinnerColumn(),
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(bar_width=20),
            progress.TimeRemainingColumn(compact=True),
        )
        self.shown = progress.Progress(
            *columns, console=console, transient=True, refresh_per_second=4,
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        self.tasks: dict[int, Any] = {}

    def began(self, work: Work) -> None:
        """Show a bar."""
        self.tasks[id(work)] = self.shown.add_task(work.told(), total=work.total or None)
        self.shown.start()

    def changed(self, work: Work) -> None:
        """Move its bar."""
        task = self.tasks[id(work)]
        self.shown.update(task, completed=work.done, description=work.told())

    def ended(self, work: Work) -> None:
        """Take its bar away."""
        self.shown.remove_task(self.tasks.pop(id(work)))
        if not self.tasks:
            self.shown.stop()


_board: Lines | Bars | None = None


def show_on(console: Console | None) -> None:
    """Show progress from now on: bars on a terminal, lines elsewhere; ``None`` shows nothing."""
    global _board
    _board = None
    if console is not None:
        _board = Bars(console) if console.is_terminal else Lines(console)


@contextmanager
def working(what: str, total: float | None = None, unit: str = "") -> Iterator[Work]:
    """Work whose progress is shown while the block runs.

    Parameters
    ----------
    what : str
        What is done, as a word or two: ``training nb``.
    total : float, optional
        Number of things, where it is known.
    unit : str
        What is counted: ``cells``.
    """
    work, board = Work(what, total, unit), _board
    if board is None:
        yield work
        return
    board.began(work)
    try:
        yield work
    finally:
        board.ended(work)


def tracked(
    items: Iterable[T], what: str, total: float | None = None, unit: str = ""
) -> Iterator[T]:
    """The same items one by one, each counted when the next is asked for."""
    with working(what, total, unit) as work:
        for item in items:
            yield item
            work.advance()
