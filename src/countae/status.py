"""How a run of the workflow stands, from what it leaves: logs, benchmarks, Snakemake's log."""

from __future__ import annotations

import math
import os
import platform
import re
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from countae.errors import ConfigError

ENTRY_POINTS = {"all", "default", "total"}  # of Snakemake's table, no steps of ours
STAMP = re.compile(r"\s*\[(\w{3} \w{3} +\d+ \d\d:\d\d:\d\d \d{4})\]")
STARTED = re.compile(r"\s*Job (\d+): ")
FINISHED = re.compile(r"\s*Finished jobid: (\d+) \(Rule: (\S+)\)")
FAILED = re.compile(r"log: (.+?) \(check log file")
JOB = re.compile(r"\s+jobid: (\d+)")
AGAIN = re.compile(r"Trying to restart job (\d+)\.")
HOST = re.compile(r"^\s+Host: (\S+)$", re.M)
TABLE = "Job stats:"
OVER = "Complete log(s): "
STATES = ("done", "running", "failed", "cut short")


@dataclass
class Run:
    """What Snakemake's newest log tells: times are seconds since 1970."""

    planned: Counter[str] = field(default_factory=Counter)
    started: dict[int, float] = field(default_factory=dict)
    took: dict[str, list[float]] = field(default_factory=dict)  # by rule, waiting included
    failed: dict[str, int] = field(default_factory=dict)  # logs, with the job's number
    first: float = math.inf  # when the first step began
    last: float = 0.0
    wrote: float = 0.0
    over: bool = True
    alive: bool | None = None  # whether Snakemake runs; None where that cannot be seen
    planning: bool = False  # Snakemake has been started, and has no plan yet


@dataclass(frozen=True)
class Step:
    """One job that has begun: its log, how it stands, and when it last wrote a line."""

    log: Path
    state: str
    when: float


def read_run(folder: Path) -> Run:
    """What the newest log of Snakemake in ``folder`` tells; nothing where there is none."""
    run = Run()
    texts = [(log, log.read_text(errors="replace")) for log in _logs_of_runs(folder)]
    if texts and TABLE not in texts[0][1] and _has_writer(*texts[0]):
        return Run(wrote=texts[0][0].stat().st_mtime, over=False, alive=True, planning=True)
    # not that of --unlock or --lint
    log, text = next(((log, text) for log, text in texts if TABLE in text), (folder, ""))
    locks = folder / ".snakemake" / "locks"
    run.over = f"\n{OVER}" in text or not (locks.is_dir() and any(locks.iterdir()))
    run.alive, run.wrote = None if run.over else _has_writer(log, text), log.stat().st_mtime
    now, job, table = 0.0, -1, False
    for line in text.splitlines():
        if stamp := STAMP.match(line):
            now = time.mktime(time.strptime(stamp[1], "%a %b %d %H:%M:%S %Y"))
            run.first, run.last = min(run.first, now), now
        elif found := STARTED.match(line):
            run.started[int(found[1])] = now
        elif found := FINISHED.match(line):
            began = run.started.pop(int(found[1]), now)
            run.took.setdefault(found[2], []).append(now - began)
        elif found := JOB.match(line):
            job = int(found[1])
        elif found := FAILED.search(line):
            run.failed |= dict.fromkeys(found[1].split(", "), job)
        elif found := AGAIN.match(line):
            run.failed = {log: n for log, n in run.failed.items() if n != int(found[1])}
        elif line == TABLE:
            table = True
        elif table and len(words := line.split()) == 2 and words[1].isdigit():
            run.planned[words[0]] = int(words[1])
        elif not line:
            table = False
    for name in ENTRY_POINTS:
        del run.planned[name]
    return run


def _logs_of_runs(folder: Path) -> list[Path]:
    """Snakemake's logs in ``folder``, the newest first."""
    return sorted((folder / ".snakemake" / "log").glob("*.snakemake.log"), reverse=True)


def _has_writer(log: Path, text: str) -> bool | None:
    """Whether a process has a log open; None where one of another machine, or user, may have."""
    path = str(log.resolve())
    for place in Path("/proc").glob("[0-9]*/fd"):
        with suppress(OSError):  # of another user, or it has ended since
            if any(os.readlink(file) == path for file in place.iterdir()):
                return True
    host = HOST.search(text)
    looked = Path("/proc/self/fd").is_dir() and os.geteuid() in {0, log.stat().st_uid}
    return False if looked and host is not None and host[1] == platform.node() else None


def read_steps(folder: Path, run: Run) -> list[Step]:
    """Every job that has begun in ``folder``, in any run, by the time of its last line."""
    steps = []
    for log in (folder / "logs").rglob("*.log"):
        name = log.relative_to(folder)
        cost = folder / "benchmarks" / name.relative_to("logs").with_suffix(".tsv")
        when = log.stat().st_mtime
        if cost.exists() and cost.stat().st_mtime >= when:  # written when the job has succeeded
            state = "done"
        elif str(name) in run.failed:
            state = "failed"
        else:
            # else it is of a run before this one, or of one that has died
            running = not run.over and run.alive is not False and when >= run.first
            state = "running" if running else "cut short"
        steps.append(Step(log, state, when))
    return sorted(steps, key=lambda step: step.when)


def seconds_left(run: Run) -> tuple[float, int] | None:
    """Time until all is done at the pace of this run, and the steps that it leaves out.

    The mean time of finished steps of each rule, times the number that is missing, over the
    number of steps that ran at a time. Left out are steps of rules of which none has finished.
    None when nothing has finished yet.
    """
    missing = {rule: n - len(run.took.get(rule, [])) for rule, n in run.planned.items()}
    spent = sum(map(sum, run.took.values()))
    if not spent or run.last <= run.first:
        return None
    spent += sum(run.last - began for began in run.started.values())
    at_a_time = max(spent / (run.last - run.first), 1.0)
    known = {rule: sum(took) / len(took) for rule, took in run.took.items()}
    work = sum(mean * max(missing.get(rule, 0), 0) for rule, mean in known.items())
    return work / at_a_time, sum(n for rule, n in missing.items() if rule not in known)


def describe(folder: Path, *, lines: int = 5, now: float | None = None) -> str:
    """How the run in ``folder`` stands, as text.

    Parameters
    ----------
    folder : Path
        Where Snakemake runs; it has ``logs`` and ``results``.
    lines : int
        Last lines of each failed step's log to show.
    now : float, optional
        Seconds since 1970; the present when left out.

    Raises
    ------
    ConfigError
        When no run of the workflow has left anything there.
    """
    if not (folder / "logs").is_dir() and not _logs_of_runs(folder):
        raise ConfigError(
            f"{folder}: must be a folder in which the workflow has run, but has no `logs`, nor "
            "one of Snakemake's. Fix: name the folder from which snakemake was started, or --out "
            "of `countae run`."
        )
    now = time.time() if now is None else now
    run = read_run(folder)
    steps = read_steps(folder, run)
    number = Counter(step.state for step in steps)
    told = [f"{number[state]} {state}" for state in STATES if number[state] or state == "done"]
    to_do = run.planned.total() - sum(map(len, run.took.values())) - number["running"]
    waiting = to_do - number["failed"] if not run.over else 0
    told += [f"{waiting} to do"] if waiting > 0 else []
    text = [f"{folder}: {', '.join(told)}"]
    for state in STATES[1:]:
        for step in (step for step in steps if step.state == state):
            name, ago = step.log.relative_to(folder), duration(now - step.when)
            end = last_lines(step.log, lines if state == "failed" else 1)
            text += [f"{state}: {name}, {ago} ago", *(f"    {line}" for line in end)]
    return "\n".join([*text, *_outlook(run, steps, now)])


def _outlook(run: Run, steps: list[Step], now: float) -> list[str]:
    """What is to be expected of a run, in sentences."""
    if run.planning:
        return ["Snakemake has been started and is still planning: no step has begun."]
    if run.over and run.planned.total() == sum(map(len, run.took.values())) > 0:
        return ["All that was planned is done."]
    if run.over and not steps:
        return ["No step has begun, and no run is going on."]
    if run.over:
        return ["No run is going on. The same command goes on with what is missing."]
    if run.alive is False:
        return [
            "No run is going on: Snakemake ended before it was done, perhaps killed. Jobs that it "
            "had started may still run, on a cluster or here: wait for them or end them, then "
            "`snakemake --unlock` and the same command as before, which goes on with what is "
            "missing."
        ]
    text = []
    if (left := seconds_left(run)) is not None:
        beyond = f", and {left[1]} steps of kinds that none has finished of" if left[1] else ""
        text.append(f"About {duration(left[0])} left at this pace{beyond}.")
    elif steps:
        text.append("No step has finished in this run, so that the time left is not known yet.")
    else:
        text.append("No step has begun yet.")
    silent = duration(now - max([run.wrote, *(step.when for step in steps)]))
    text.append(f"The run last wrote something {silent} ago.")
    if run.alive is None:
        text.append("Whether Snakemake still runs cannot be seen from here.")
    return text


def last_lines(path: Path, number: int) -> list[str]:
    """Last lines of a file that are not empty, cut to a sane length."""
    with path.open(errors="replace") as file:
        found = deque((line.rstrip() for line in file if line.strip()), maxlen=number)
    return [line.replace("\x1b", "?")[:300] for line in found] or ["(nothing written yet)"]


def duration(seconds: float) -> str:
    """A time in words: seconds, minutes or hours."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
