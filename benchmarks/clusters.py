"""What jobs used of what was asked, and how long 40 data sets × 8 losses × 5 seeds would take.

    python benchmarks/clusters.py FOLDER … --overhead SECONDS --write docs/clusters.md

Each FOLDER holds a finished run of the workflow; the times of the plan are those of the
first. Time and memory are those of its `benchmark:`
files; the number of jobs is that of a dry run; the makespans come from a simulated scheduler.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import json
import math
import re
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from countae import peers, resources

ROOT = Path(__file__).parents[1]
DATASETS, SEEDS = 40, 5
LOSSES = ["mse_counts", "mse_log1p", "poisson", "nb", "zinb", "zip", "hurdle_nb", "gaussian"]
GPUS = (1, 10, 100)
PROCESSOR_JOBS = 100  # `jobs` of the profile
SAME = {"score_baseline": "score", "score_peer": "score"}  # ask as another step does
GROUP, SIDE_BY_SIDE = 8, 4  # `group-components` and `cores` of the profile


def used(folder: Path) -> list[dict]:
    """Cost of each job of a finished run, with what is asked for it now if that is by size."""
    rows = []
    for triage in sorted(folder.glob("results/*/triage.json")):
        place = folder / "benchmarks" / triage.parent.name
        for path in place.rglob("*.tsv"):
            step = step_of(path.relative_to(place))
            sized = SAME.get(step, step)
            cost = next(csv.DictReader(path.open(), delimiter="\t"))
            if cost["max_rss"] in ("NA", "-"):
                continue
            asked = ("in the rule", "in the rule")
            if sized in resources.NEEDS:
                megabytes = resources.memory_mb(sized, triage) - resources.WORKFLOW_MB
                asked = (f"{megabytes:,}", str(resources.minutes(sized, triage)))
            rows.append(
                {
                    "step": step, "entries": resources.entries(triage), "asked": asked,
                    "mb": float(cost["max_rss"]), "s": float(cost["s"]),
                }
            )  # fmt: skip
    return rows


def step_of(path: Path) -> str:
    """Rule of a benchmark file, from its place below a data set's folder."""
    *folders, name = path.with_suffix("").parts
    if folders and folders[-1] == "tuning":
        return "tune_trial"
    if folders[:1] == ["referee"]:
        return "rehearse"
    if folders[:1] == ["stress"]:
        return "stress"
    if name == "stress":
        return "stress_table"
    if name == "peer":
        return "fit_peer"
    if name == "score" and not folders[-1].startswith("seed"):
        return "score_baseline"
    return "score_peer" if name == "score" and folders[-2] in peers.names() else name


def asked_and_used(rows: list[dict]) -> list[str]:
    """Table of the largest use of each step on each size of data."""
    kinds = defaultdict(list)
    for row in rows:
        kinds[row["step"], row["entries"]].append(row)
    text = [
        "| step | million entries | jobs | used, MB | asked, MB | longest, s | asked, min |",
        "|---|---|---|---|---|---|---|",
    ]
    for (step, size), some in sorted(kinds.items()):
        peak, longest = (max(row[key] for row in some) for key in ("mb", "s"))
        text.append(
            f"| `{step}` | {size:.2f} | {len(some)} | {peak:,.0f} | {some[0]['asked'][0]} | "
            f"{longest:.0f} | {some[0]['asked'][1]} |"
        )
    return text


def planned() -> dict[str, int]:
    """Number of jobs per rule of the large plan, by a dry run."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config"
        config.mkdir()
        settings = {
            "datasets": "config/datasets.tsv", "likelihoods": LOSSES, "seeds": [*range(SEEDS)]
        }  # fmt: skip
        (config / "config.yaml").write_text(json.dumps(settings))
        rows = "".join(f"set{n}\tsimulate:nb\tall\n" for n in range(DATASETS))
        (config / "datasets.tsv").write_text("id\tsource\tgenes\n" + rows)
        command = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "rules"]
        command += ["--snakefile", str(ROOT / "Snakefile"), "--directory", folder]
        command += ["--cores", "1", "--workflow-profile", "none"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    table = (done.stdout + done.stderr).split("count\n", 1)[1]
    jobs = {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", table, re.M)}
    return {name: n for name, n in jobs.items() if name not in {"all", "default", "total"}}


def makespan(gpus: int, seconds: dict[str, float], overhead: float, jobs: dict[str, int]) -> float:
    """Seconds from the first submission to the report, with fits and bootstraps on GPUs.

    Jobs start in the order in which they become ready; those without a GPU share PROCESSOR_JOBS.
    """
    free = {"gpu": [0.0] * gpus, "cpu": [0.0] * PROCESSOR_JOBS}
    fits, scores = jobs["fit"] // DATASETS, (jobs["score"] + jobs["score_baseline"]) // DATASETS
    groups = math.ceil(scores / GROUP)
    chain = [
        ("cpu", 1, seconds["prepare"]),
        ("gpu", fits, seconds["fit"]),
        ("cpu", groups, math.ceil(GROUP / SIDE_BY_SIDE) * seconds["score"]),
        ("gpu", 1, seconds["bootstrap"]),
        ("cpu", 1, seconds["verdict"] + seconds["export"]),
    ]
    ready, ends = [(0.0, name, 0) for name in range(DATASETS)], []
    while ready:
        now, name, stage = heapq.heappop(ready)
        if stage == len(chain):
            ends.append(now)
            continue
        kind, number, length = chain[stage]
        last = now
        for _ in range(number):
            end = max(heapq.heappop(free[kind]), now) + overhead + length
            heapq.heappush(free[kind], end)
            last = max(last, end)
        heapq.heappush(ready, (last, name, stage + 1))
    return max(ends) + overhead + seconds["report"]


def plan(rows: list[dict], overhead: float, others: dict[str, float]) -> list[str]:
    """Text on the large plan."""
    seconds = dict(others)
    for step in [*resources.NEEDS, *SAME]:
        some = [row["s"] for row in rows if row["step"] == step]
        seconds |= {step: statistics.mean(some)} if some else {}
    jobs = planned()
    submitted = (
        jobs["prepare"] + jobs["fit"] + jobs["bootstrap"] + jobs["verdict"]
        + math.ceil((jobs["score"] + jobs["score_baseline"]) / GROUP) + 2
    )  # fmt: skip
    work = sum(seconds.get(rule, 0.0) * n for rule, n in jobs.items())
    text = [
        f"{DATASETS} data sets × {len(LOSSES)} losses × {SEEDS} seeds are {sum(jobs.values()):,} "
        f"steps ({', '.join(f'{n:,} {rule}' for rule, n in jobs.items())}), in about "
        f"{submitted:,} jobs of a cluster, since short ones are grouped. Their work is "
        f"{work / 3600:.1f} h at the measured means ("
        + ", ".join(f"{rule} {s:.0f} s" for rule, s in sorted(seconds.items()))
        + f"); {submitted * overhead / 3600:.1f} h are overhead, at {overhead:.0f} s a job.",
        "",
        "| GPUs | makespan, h | of it without overhead, h |",
        "|---|---|---|",
    ]
    for gpus in GPUS:
        both = (makespan(gpus, seconds, cost, jobs) / 3600 for cost in (overhead, 0.0))
        text.append(f"| {gpus} | " + " | ".join(f"{hours:.1f}" for hours in both) + " |")
    return text


def other_steps(folder: Path) -> dict[str, float]:
    """Mean seconds of the steps that are not sized."""
    found = defaultdict(list)
    for path in (folder / "benchmarks").rglob("*.tsv"):
        found[path.stem].append(float(next(csv.DictReader(path.open(), delimiter="\t"))["s"]))
    return {step: statistics.mean(found[step]) for step in ("prepare", "report")}


def main() -> None:
    """Print both parts, or write them between the marks of a page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--overhead", type=float, required=True, help="seconds a job")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    rows = [row for folder in options.folders for row in used(folder)]
    parts = {
        "asked": asked_and_used(rows),
        "plan": plan(used(options.folders[0]), options.overhead, other_steps(options.folders[0])),
    }
    for name, lines in parts.items():
        text = "\n".join(lines)
        if options.write is None:
            print(f"{text}\n")
            continue
        page = options.write.read_text()
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, rest = page.split(begin)
        options.write.write_text(before + begin + text + "\n" + end + rest.split(end)[1])


if __name__ == "__main__":
    main()
