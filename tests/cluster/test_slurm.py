"""The real workflow through a real SLURM: nodes, GPUs, kills, retries, going on after a crash."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from hashlib import blake2b
from pathlib import Path

import pytest
import yaml
from cluster.slurm import Slurm, missing, wait

from countae import resources

ROOT = Path(__file__).parents[2]
LONGEST = 900.0  # seconds to wait for what takes some on a machine that is not busy
pytestmark = [pytest.mark.cluster, pytest.mark.slow]

CONFIG = {
    "datasets": "config/datasets.tsv",
    "likelihoods": ["poisson", "nb"],
    "seeds": [0],
    "device": "auto",
    "simulate": {"n_cells": 300, "n_genes": 60, "n_types": 3, "depth": 240},
    "training": {"max_epochs": 60, "patience": 60},
    "network": {"hidden": [16], "latent": 3},
    "verdict": {"bootstrap": 0},
}
ROWS = "id\tsource\tlabel_key\tgenes\ntiny\tsimulate:nb\tcell_type\tall\n"
FITS = ["poisson/seed0", "nb/seed0", "nb/seed1"]  # the last is of the A/A arm
MODELS = [f"results/tiny/{fit}/model.safetensors" for fit in FITS]
FINISHED_FIT = re.compile(r"Finished jobid: \d+ \(Rule: fit\)")
GROUPS = ("scoring", "references", "deciding")  # of the profile
# what may differ between two runs: time and memory of a fit, and the page that shows them
COST = ("seconds", "peak_memory_mb")


class Cluster:
    """Runs of the workflow on one SLURM, each in a folder of its own."""

    def __init__(self, slurm: Slurm, folder: Path) -> None:
        self.slurm, self.folder = slurm, folder

    def configured(self, name: str, *, of: Path | None = None) -> Path:
        """A folder with the configuration, and the prepared counts of another run."""
        folder = self.folder / name
        (folder / "config").mkdir(parents=True)
        (folder / "config" / "config.yaml").write_text(yaml.safe_dump(CONFIG))
        (folder / "config" / "datasets.tsv").write_text(ROWS)
        if of is not None:
            (folder / "results" / "tiny").mkdir(parents=True)
            for file in ("counts.h5ad", "triage.json"):
                shutil.copy2(of / "results" / "tiny" / file, folder / "results" / "tiny" / file)
        return folder

    def start(
        self, folder: Path, *words: str, profile: str = "slurm", **environment: str
    ) -> subprocess.Popen:
        """Snakemake as a user starts it, with a log of its own."""
        log = folder / f"snakemake{len([*folder.glob('snakemake*.log')])}.log"
        command = [sys.executable, "-m", "snakemake", *words]
        command += ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
        command += ["--workflow-profile", str(ROOT / "profiles" / profile)]
        # as many processors as a node has; no accounting here; look at jobs more often
        command += ["--cores", "2", "--slurm-status-command", "squeue"]
        command += ["--slurm-init-seconds-before-status-checks", "2"]
        command += ["--seconds-between-status-checks", "2", "--latency-wait", "10"]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        with log.open("w") as file:
            return subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env=os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"} | environment,
            )  # fmt: skip

    def run(self, folder: Path, *words: str, profile: str = "slurm") -> list[dict[str, str]]:
        """A run that must succeed; SLURM's records of its jobs."""
        process = self.start(folder, *words, profile=profile)
        try:
            code = process.wait(timeout=LONGEST)
        finally:
            process.kill()
            process.wait()
        assert code == 0, last_log(folder)
        return self.jobs(folder)

    def jobs(self, folder: Path) -> list[dict[str, str]]:
        """SLURM's records of the jobs of a folder, once all have ended."""
        assert wait(lambda: not self.waiting(folder), LONGEST)
        return self.jobs_so_far(folder)

    def jobs_so_far(self, folder: Path) -> list[dict[str, str]]:
        """SLURM's records of the jobs of a folder, as they stand."""
        return [job for job in self.slurm.jobs() if job["WorkDir"] == str(folder)]

    def waiting(self, folder: Path) -> list[str]:
        """Ids of the jobs of a folder that wait or run."""
        mine = {job["JobId"] for job in self.jobs_so_far(folder)}
        return [number for number in self.slurm.queue() if number in mine]


@pytest.fixture(scope="module")
def cluster():
    from importlib.util import find_spec

    lacking = missing() + [name for name in [PLUGIN] if find_spec(name) is None]
    if os.environ.get("COUNTAE_CLUSTER") != "1":
        pytest.skip("starts a SLURM on this machine: make test-cluster")
    assert not lacking, f"not installed: {', '.join(lacking)}"
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    with Slurm(folder / "slurm") as slurm:
        yield Cluster(slurm, folder)
    shutil.rmtree(folder)


PLUGIN = "snakemake_executor_plugin_slurm"


@pytest.fixture(scope="module")
def undisturbed(cluster):
    """The whole workflow, and SLURM's records of its jobs."""
    folder = cluster.configured("undisturbed")
    return folder, cluster.run(folder)


def test_the_whole_workflow_runs_on_both_nodes(undisturbed):
    folder, jobs = undisturbed
    assert json.loads((folder / "results/tiny/verdict.json").read_text())["sentence"]
    assert (folder / "results/report.html").stat().st_size > 100_000
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    assert {job["NodeList"] for job in jobs} == {"n1", "n2"}
    tell(jobs)


def test_short_rules_share_jobs(undisturbed):
    """Three scores are one job, two of baselines, verdict and export one; fits stand alone."""
    _, jobs = undisturbed
    assert sorted(map(rule, jobs)) == [
        "bootstrap", "deciding", "fit", "fit", "fit", "prepare", "references",
        "report", "scoring",
    ]  # fmt: skip


def test_no_gpu_is_asked_for_without_the_profile_for_gpus(undisturbed):
    assert not any("gpu" in value.lower() for job in undisturbed[1] for value in asked(job))


def test_a_fit_gets_a_gpu_and_ends_the_same(cluster, undisturbed):
    folder = cluster.configured("gpu", of=undisturbed[0])
    jobs = cluster.run(folder, *MODELS[:2], profile="slurm-gpu")
    assert [rule(job) for job in jobs] == ["fit", "fit"]
    for job in jobs:
        assert job["TresPerJob"] == "gres:gpu:1"  # asked for
        assert job["JOB_GRES"] == "gpu:h100:1"  # granted
        assert job["JobState"] == "COMPLETED"
    assert digests(folder, MODELS[:2]) == digests(undisturbed[0], MODELS[:2])
    tell(jobs)


def test_what_is_killed_for_memory_or_time_is_tried_again(cluster, undisturbed):
    """Too little memory first; then a fit that hangs, until its minute is over; then success."""
    folder = cluster.configured("killed", of=undisturbed[0])
    process = cluster.start(
        folder, MODELS[1], "--set-resources", "fit:mem_mb=500*attempt**2",
        COUNTAE_CHECKPOINT_SECONDS="0",
    )  # fmt: skip
    try:
        assert wait(lambda: states(cluster, folder)[:1] == ["FAILED"], LONGEST)
        assert "exceeded memory limit" in cluster.slurm.logged()
        (hanging,) = stopped_fits(folder, MODELS[1:2])
        second = cluster.jobs_so_far(folder)[1]  # before its limit is changed by hand
        cluster.slurm.limit(second["JobId"], minutes=1)
        assert wait(lambda: states(cluster, folder)[1:2] == ["TIMEOUT"], LONGEST)
        assert not Path(f"/proc/{hanging}/exe").exists()
        assert process.wait(timeout=LONGEST) == 0, last_log(folder)
    finally:
        process.kill()
        process.wait()
    jobs = cluster.jobs(folder)
    assert [job["JobState"] for job in jobs] == ["FAILED", "TIMEOUT", "COMPLETED"]
    assert [job["MinMemoryNode"] for job in jobs] == ["500M", "2000M", "4500M"]
    least = resources.minutes("fit", folder / "results/tiny/triage.json")
    limits = [time_limit(job) for job in (jobs[0], second, jobs[2])]
    assert limits == [least, 2 * least, 3 * least]
    assert time_limit(jobs[1]) == 1  # that of the job that timed out
    assert "training goes on after epoch" in log_of(folder, FITS[1])
    assert digests(folder, MODELS[1:2]) == digests(undisturbed[0], MODELS[1:2])
    tell(jobs)


def test_a_killed_run_goes_on_where_it_was(cluster, undisturbed):
    """`kill -9` of Snakemake and its jobs, and a drained node: the same command ends the same."""
    folder = cluster.configured("disturbed")
    process = cluster.start(folder, COUNTAE_CHECKPOINT_SECONDS="0")
    try:
        stopped_fits(folder, MODELS[1:])
        assert wait(lambda: FINISHED_FIT.search(last_log(folder)), LONGEST)
    finally:
        process.kill()
        process.wait()
    made = [folder / MODELS[0], *(folder / "results").rglob("*.h5ad")]
    kept = {path: path.stat().st_mtime_ns for path in made}
    cluster.slurm.set_node("n2", "drain")
    cluster.slurm.cancel(*cluster.waiting(folder))
    last = int(cluster.jobs(folder)[-1]["JobId"])

    again = cluster.start(folder)
    assert again.wait(timeout=LONGEST) != 0
    assert "--unlock" in last_log(folder)
    cluster.start(folder, "--unlock").wait(timeout=LONGEST)
    try:
        jobs = [job for job in cluster.run(folder) if int(job["JobId"]) > last]
    finally:
        cluster.slurm.set_node("n2", "resume")
    assert {job["NodeList"] for job in jobs} == {"n1"}
    assert "prepare" not in map(rule, jobs)
    assert [*map(rule, jobs)].count("fit") == 2
    for fit in FITS[1:]:
        assert "training goes on after epoch" in log_of(folder, fit)
    assert "training goes on" not in log_of(folder, FITS[0])
    for path, when in kept.items():
        assert path.stat().st_mtime_ns == when
    assert contents(folder) == contents(undisturbed[0])
    tell(jobs)


def rule(job: dict[str, str]) -> str:
    """Rule, or group of rules, of a SLURM job, from the comment that the plugin writes."""
    name = job["Comment"].removeprefix("rule_").split("_wildcards_")[0]
    return next((group for group in GROUPS if name.startswith(f"{group}_")), name)


def time_limit(job: dict[str, str]) -> float:
    """Minutes that SLURM gives a job, from its [days-]hours:minutes:seconds."""
    days, _, clock = job["TimeLimit"].rpartition("-")
    hours, minutes, seconds = map(int, clock.split(":"))
    return int(days or 0) * 24 * 60 + hours * 60 + minutes + seconds / 60


def asked(job: dict[str, str]) -> list[str]:
    """What a job asked for and was granted besides processors and memory."""
    return [value for key, value in job.items() if "TRES" in key.upper() or "GRES" in key.upper()]


def states(cluster: Cluster, folder: Path) -> list[str]:
    """How each job of a folder stands."""
    return [job["JobState"] for job in cluster.jobs_so_far(folder)]


def stopped_fits(folder: Path, models: list[str]) -> list[int]:
    """Ids of the processes that make ``models``, each halted once it has left a checkpoint."""
    halted: dict[str, int] = {}

    def all_halted() -> bool:
        for model in models:  # in whatever order they start
            checkpoint = (folder / model).with_name(".model.checkpoint.safetensors")
            if model not in halted and checkpoint.exists():
                halted[model] = process_of(folder, model)
                os.kill(halted[model], signal.SIGSTOP)
        return len(halted) == len(models)

    assert wait(all_halted, LONGEST), last_log(folder)
    return list(halted.values())


def process_of(folder: Path, model: str) -> int:
    """Id of the process that fits ``model`` of a run."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().decode().split("\0")
            if not (model in words and "fit" in words and "python" in words[0]):
                continue
            if os.readlink(place / "cwd") == str(folder):
                return int(place.name)
        except (FileNotFoundError, ProcessLookupError):  # it has ended since
            continue
    raise AssertionError(f"no process fits {model}")


def log_of(folder: Path, fit: str) -> str:
    return (folder / "logs" / "tiny" / fit / "fit.log").read_text()


def last_log(folder: Path) -> str:
    """End of what Snakemake said last."""
    return max(folder.glob("snakemake*.log"), key=lambda path: path.stat().st_mtime).read_text()[
        -6000:
    ]


def digests(folder: Path, files: list[str]) -> dict[str, str]:
    return {name: blake2b((folder / name).read_bytes()).hexdigest() for name in files}


def contents(folder: Path) -> dict[str, str]:
    """Checksum of each result; a fit's record is without its cost, the page only present."""
    found = {}
    for path in sorted((folder / "results").rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.name == "fit.json":
            record = json.loads(path.read_text())
            found[name] = json.dumps({k: v for k, v in record.items() if k not in COST})
        elif path.name == "report.html":
            found[name] = "shows times"
        elif path.is_file():
            found[name] = blake2b(path.read_bytes()).hexdigest()
    return found


def tell(jobs: list[dict[str, str]]) -> None:
    """Print SLURM's records as a table, for `pytest -s`."""
    print()
    for job in jobs:
        gres = job.get("JOB_GRES", "-")
        print(
            f"{job['JobId']:>4} {rule(job):<10} {job['NodeList']} {job['JobState']:<13} "
            f"{job['RunTime']} mem={job['MinMemoryNode']:<6} gres={gres}"
        )
    print(time.strftime("%H:%M:%S"))
