"""`countae status`: what the files of a run tell, against runs made up by hand."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from countae.cli import app
from countae.errors import ConfigError
from countae.status import describe, duration, read_run, read_steps, seconds_left

T = "[Fri Nov 27 10:{:02d}:00 2026]"
# two fits finished in 4 and 6 minutes, one failed after 2, another was tried again, one waits
LOG = f"""Building DAG of jobs...
Job stats:
job        count
-------  -------
prepare        1
fit            5
report         1
default        1
total          8

Select jobs to execute...
{T.format(0)}
Job 1: Check, filter and split tiny
Reason: Missing output files: x
{T.format(1)}
Finished jobid: 1 (Rule: prepare)
{T.format(1)}
Job 2: Fit
{T.format(1)}
    Job 3: Fit
{T.format(1)}
Job 4: Fit
{T.format(1)}
Job 5: Fit
{T.format(3)}
Error in rule fit:
    message: None
    jobid: 4
    output: results/tiny/nb/seed4/fit.json
    log: logs/tiny/nb/seed4/fit.log (check log file(s) for error details)
Error in rule fit:
    jobid: 5
    log: logs/tiny/nb/seed5/fit.log (check log file(s) for error details)
Trying to restart job 5.
{T.format(3)}
Job 5: Fit
{T.format(5)}
Finished jobid: 2 (Rule: fit)
{T.format(7)}
Finished jobid: 3 (Rule: fit)
3 of 8 steps (38%) done
"""
NOW = time.mktime(time.strptime("2026-11-27 10:08:00", "%Y-%m-%d %H:%M:%S"))


@pytest.fixture
def folder(tmp_path):
    """A run that goes on, as LOG tells it."""
    write(tmp_path, ".snakemake/log/2026-11-27T100000.snakemake.log", LOG, 7)
    write(tmp_path, ".snakemake/locks/0.input.lock", "x", 0)
    for name, minute in {"prepare": 1, "nb/seed2/fit": 5, "nb/seed3/fit": 7}.items():
        write(tmp_path, f"logs/tiny/{name}.log", "all is well\n", minute)
        write(tmp_path, f"benchmarks/tiny/{name}.tsv", "s\n1\n", minute)
    write(tmp_path, "logs/tiny/nb/seed4/fit.log", "one\n\ntwo\nerror: no such gene\n", 3)
    write(tmp_path, "logs/tiny/nb/seed5/fit.log", "epoch 1\nepoch 26: loss 0.5\n\n", 6)
    return tmp_path


def write(folder: Path, name: str, text: str, minute: int) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    when = NOW - 60 * (8 - minute)
    os.utime(path, (when, when))
    return path


def test_each_step_stands_as_its_files_tell(folder):
    steps = read_steps(folder, read_run(folder))
    found = {step.log.relative_to(folder / "logs/tiny").as_posix(): step.state for step in steps}
    assert found == {
        "prepare.log": "done",
        "nb/seed2/fit.log": "done",
        "nb/seed3/fit.log": "done",
        "nb/seed4/fit.log": "failed",
        "nb/seed5/fit.log": "running",  # failed, and was tried again
    }


def test_a_step_that_runs_again_is_not_done(folder):
    """The benchmark is of an earlier run: the log is newer."""
    write(folder, "logs/tiny/prepare.log", "again\n", 8)
    steps = {s.log.name: s.state for s in read_steps(folder, read_run(folder))}
    assert steps["prepare.log"] == "running"


def test_what_failed_before_this_run_does_not_run(folder):
    write(folder, "logs/tiny/poisson/seed0/fit.log", "error: no such device\n", -30)
    found = {s.log.parent.parent.name: s.state for s in read_steps(folder, read_run(folder))}
    assert found["poisson"] == "cut short"
    assert "3 done, 1 running, 1 failed, 1 cut short, 2 to do" in describe(folder, now=NOW)


def test_time_left_by_hand(folder):
    """Spent in 7 min: 1 + 4 + 6 min by finished steps, 4 + 6 by others; 3 fits of 5 min left."""
    left, unknown = seconds_left(read_run(folder))
    at_a_time = (1 + 4 + 6 + 4 + 6) / 7
    assert left == pytest.approx(3 * 5 * 60 / at_a_time)
    assert unknown == 1  # the report


def test_what_a_person_reads(folder):
    text = describe(folder, lines=2, now=NOW)
    assert f"{folder}: 3 done, 1 running, 1 failed, 2 to do" in text
    assert (
        "failed: logs/tiny/nb/seed4/fit.log, 5 min ago\n    two\n    error: no such gene" in text
    )
    assert "running: logs/tiny/nb/seed5/fit.log, 2 min ago\n    epoch 26: loss 0.5\n" in text
    assert "About 5 min left at this pace, and 1 steps of kinds that none has finished of" in text
    assert "last wrote something 60 s ago" in text
    assert "    one" not in text


def test_a_run_that_is_over_has_nothing_running(folder):
    log = next((folder / ".snakemake/log").iterdir())
    log.write_text(LOG + "Complete log(s): /x/y.log\n")
    text = describe(folder, now=NOW)
    assert "3 done, 1 failed, 1 cut short" in text
    assert "No run is going on" in text
    assert "left at this pace" not in text


LOG_NAME = ".snakemake/log/2026-11-27T100000.snakemake.log"
HERE = f"SNAKEMAKE\n=========\n  Host: {platform.node()}\n  User: me\n\n"
PLAN = LOG[: LOG.index("Select jobs")]


@pytest.fixture
def beginning(tmp_path):
    """A folder in which Snakemake has been started, and no step has begun."""
    write(tmp_path, ".snakemake/locks/0.input.lock", "x", 0)
    write(tmp_path, LOG_NAME, HERE + PLAN, 7)
    return tmp_path


def test_before_the_first_step(beginning):
    log = beginning / LOG_NAME
    with log.open("a"):  # as Snakemake has it
        assert describe(beginning, now=NOW).splitlines() == [
            f"{beginning}: 0 done, 7 to do",
            "No step has begun yet.",
            "The run last wrote something 60 s ago.",
        ]
        for text in ("", HERE + "Building DAG of jobs...\n"):
            write(beginning, LOG_NAME, text, 7)
            assert "is still planning: no step has begun" in describe(beginning, now=NOW)
        write(beginning, "logs/tiny/poisson/seed0/fit.log", "error: of a run before\n", -30)
        assert f"{beginning}: 0 done, 1 cut short\n" in describe(beginning, now=NOW)
    write(beginning, LOG_NAME, PLAN + "Complete log(s): /x/y.log\n", 7)
    (beginning / "logs/tiny/poisson/seed0/fit.log").unlink()
    assert describe(beginning, now=NOW).endswith("No step has begun, and no run is going on.")


def test_before_a_step_has_finished_no_time_is_told(folder):
    write(folder, LOG_NAME, LOG[: LOG.index("Finished jobid: 1 ")], 7)
    text = describe(folder, now=NOW)
    assert "No step has finished in this run, so that the time left is not known yet." in text
    assert "at this pace" not in text


def test_a_plan_that_starts_again_is_not_the_run_before(folder):
    """The newest log has no plan yet, and is being written."""
    write(folder, LOG_NAME, LOG + "Complete log(s): /x/y.log\n", 7)
    name = LOG_NAME.replace("T10", "T12")
    write(folder, name, HERE + "Building DAG of jobs...\n", 8)
    assert "No run is going on" in describe(folder, now=NOW)
    with (folder / name).open("a"):
        text = describe(folder, now=NOW)
    assert "Snakemake has been started and is still planning" in text
    assert "running" not in text


def test_after_a_kill_nothing_runs(folder):
    """The lock is there and the log ends in the middle, but no process has it open."""
    write(folder, LOG_NAME, HERE + LOG, 7)
    text = describe(folder, now=NOW)
    assert f"{folder}: 3 done, 1 failed, 1 cut short, 3 to do" in text
    assert "No run is going on: Snakemake ended before it was done, perhaps killed." in text
    assert "`snakemake --unlock`" in text
    assert "at this pace" not in text
    assert "running" not in text.replace("still running", "")
    with (folder / LOG_NAME).open("a"):
        text = describe(folder, now=NOW)
    assert "1 running, 1 failed, 2 to do" in text
    assert "left at this pace" in text
    assert "cannot be seen" not in text


def test_from_another_machine_nothing_is_said_of_the_process(folder):
    write(folder, LOG_NAME, "  Host: a.head.node\n" + LOG, 7)
    text = describe(folder, now=NOW)
    assert "1 running, 1 failed, 2 to do" in text
    assert "Whether Snakemake still runs cannot be seen from here." in text


def test_an_unlock_after_a_kill_ends_the_run(folder):
    """Its log has no jobs, and is not taken for the run's."""
    write(folder, ".snakemake/log/2026-11-27T110000.snakemake.log", "Unlocked working dir.\n", 8)
    next((folder / ".snakemake/locks").iterdir()).unlink()
    run = read_run(folder)
    assert run.over
    assert run.planned == {"prepare": 1, "fit": 5, "report": 1}


def test_control_characters_of_a_log_are_not_printed(folder):
    write(folder, "logs/tiny/nb/seed4/fit.log", "\x1b[2J" + "x" * 5000, 3)
    line = describe(folder, now=NOW).split("seed4/fit.log")[1].splitlines()[1]
    assert "\x1b" not in line
    assert len(line) < 400


def test_a_folder_without_a_run_is_told(tmp_path):
    with pytest.raises(ConfigError, match="must be a folder in which the workflow has run"):
        describe(tmp_path)


def test_the_verb(folder):
    done = CliRunner().invoke(app, ["status", str(folder), "--lines", "1"])
    assert done.exit_code == 0
    assert "3 done, 1 running, 1 failed, 2 to do" in done.output


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (-1, "0 s")]
)
def test_times_in_words(seconds, words):
    assert duration(seconds) == words
