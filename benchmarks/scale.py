"""Time and memory from a file to a trained network: `python benchmarks/scale.py FOLDER`.

Every step is a process of its own, as a user or the workflow would start it: `countae simulate`
(zinb, 20,000 genes, about 1,800 of them seen in a cell), `prepare` (2,000 genes), `fit` (zinb,
some epochs of at most 1,000 steps), `score` (log score and what the verdict needs) and `export`.

Peak memory has two parts. *Anonymous* memory is what the process made; it must fit. The rest are
pages of files: libraries, and counts that are mapped. The system gives such pages back when memory
is short, and keeps them when it is not. `peak` is both together (ru_maxrss), `anonymous` the
largest RssAnon of /proc/PID/status, looked at fifty times a second. Seconds of the processor stand
beside those of the wall clock, which other work on the machine lengthens.

Finished steps are kept in the folder, so that a run that was broken off can go on.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

GENES, CHOSEN, DEPTH = 20_000, 2_000, 2_500
STEPS = ("simulate", "prepare", "fit", "score", "export")
PAUSE = 0.02  # seconds between looks at a process
MARKS = "<!-- scale -->", "<!-- end of scale -->"


def command(step: str, folder: Path, cells: int, options: argparse.Namespace) -> list[str]:
    """What a user would type for a step."""
    raw, counts, fit = folder / "raw.h5ad", folder / "counts.h5ad", folder / "zinb" / "seed0"
    threads = ["--threads", str(options.threads)]
    arguments = {
        "simulate": ["zinb", raw, "--n-cells", cells, "--n-genes", GENES, "--depth", DEPTH],
        "prepare": [
            raw, counts, "--triage", folder / "triage.json", "--genes", CHOSEN,
            "--label-key", "cell_type",
        ],
        "fit": [
            counts, fit / "model.safetensors", "--record", fit / "fit.json",
            "--likelihood", "zinb", "--max-epochs", options.epochs,
        ],
        "score": [
            counts, fit / "scores.parquet", "--cells", fit / "cells.parquet",
            "--entries", fit / "entries.npz", "--model", fit / "model.safetensors",
            "--metrics", "log_score",
        ],
        "export": [folder, folder / "out.h5ad", "--likelihoods", "zinb"],
    }[step]  # fmt: skip
    given = [] if step == "prepare" else threads
    return [sys.executable, "-m", "countae", step, *map(str, arguments), *given]


def measured(words: list[str], threads: int) -> dict[str, float]:
    """Run a process; its seconds and megabytes."""
    began, anonymous = time.perf_counter(), 0
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(words, env=environment)
    while True:
        pid, status, used = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        anonymous = max(anonymous, _anonymous(process.pid))
        time.sleep(PAUSE)
    if status:
        raise SystemExit(f"failed: {' '.join(words)}")
    return {
        "seconds": time.perf_counter() - began, "processor": used.ru_utime + used.ru_stime,
        "peak": used.ru_maxrss / 1024, "anonymous": anonymous / 1024,
    }  # fmt: skip


def _anonymous(pid: int) -> int:
    """RssAnon of a process in kilobytes; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)


def stand_in_for_the_verdict(folder: Path) -> None:
    """What `export` copies from a verdict, which takes several losses and seeds."""
    import h5py
    import pandas as pd

    with h5py.File(folder / "counts.h5ad") as file:
        genes = file["var/_index"].asstr()[:]
    table = {"gene": genes, "class": "undecided", "best": "zinb", "difference": 0.0}
    pd.DataFrame(table).to_parquet(folder / "verdict_genes.parquet")
    (folder / "verdict.json").write_text("{}")


def run(folder: Path, cells: int, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """All steps of one size that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "measured.json"
    found = json.loads(kept.read_text()) if kept.exists() else {}
    for step in (step for step in STEPS if step not in found):
        if step == "export":
            stand_in_for_the_verdict(folder)
        found[step] = measured(command(step, folder, cells, options), options.threads)
        kept.write_text(json.dumps(found))
    for name in ("raw", "counts", "out"):
        found[name] = {"bytes": (folder / f"{name}.h5ad").stat().st_size}
    return found


def table(found: dict[int, dict[str, dict[str, float]]], options: argparse.Namespace) -> str:
    """The page's table."""
    sizes = [f"{cells:,} cells" for cells in found]
    lines = [
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; "
        f"{GENES:,} genes, {CHOSEN:,} modelled; {options.threads} threads; {options.epochs} "
        f"epochs.{options.remark and ' ' + options.remark}",
        "",
        f"| step: seconds (of the processor), peak MB (anonymous) | {' | '.join(sizes)} |",
        "|---" * (len(found) + 1) + "|",
    ]
    for step in STEPS:
        shown = [
            f"{of[step]['seconds']:,.0f} s ({of[step]['processor']:,.0f}), "
            f"{of[step]['peak']:,.0f} MB ({of[step]['anonymous']:,.0f})"
            for of in found.values()
        ]
        lines.append(f"| {step} | {' | '.join(shown)} |")
    for name in ("raw", "counts", "out"):
        shown = [f"{of[name]['bytes'] / 1e6:,.0f} MB" for of in found.values()]
        lines.append(f"| file `{name}.h5ad` | {' | '.join(shown)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure what is not there yet, print the table, and write it where that is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="for data and finished steps")
    parser.add_argument("--cells", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--remark", default="", help="a sentence on how the run was made")
    parser.add_argument("--write", type=Path, help="page with marks, such as docs/scale.md")
    options = parser.parse_args()
    found = {cells: run(options.folder / str(cells), cells, options) for cells in options.cells}
    text = table(found, options)
    print(text)
    if options.write:
        first, last = MARKS
        before, rest = options.write.read_text().split(first)
        options.write.write_text(f"{before}{first}\n{text}\n{last}{rest.split(last)[1]}")


if __name__ == "__main__":
    main()
