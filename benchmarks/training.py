"""Speed and memory of training, against a peer and the floor: `python benchmarks/training.py`.

Every contestant is a process of its own and trains an epoch when it is its turn, so that all of
them meet the same load; the table has medians over rounds, and peak memory. Contestants:

ours            the training step of `countae fit`: a fifth of the entries hidden, loss on these
ours, all       the same network with the loss on all entries: the same work as the peer's
reference       as ours, in plain PyTorch (`training.implementation: reference`)
textbook        the same network with the loss on all entries by lgamma and autograd
peer            scvi-tools' SCVI by its own code, in its own environment (`--peer-python`)
products        only the matrix products of a step on all entries: first layer forward and
                weights (2), and forward, weights and input of each head (3)

Finished cases are kept in the folder, so that a run that was broken off can go on.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

DATA = {"A": (20_000, 2_000, 0.10), "B": (5_000, 10_000, 0.05)}  # cells, genes, non-zeros
CASES = [("A", 128), ("A", 1024), ("B", 128), ("B", 1024)]
RATE, WIDTH, LATENT, DROPOUT = 1e-3, 128, 10, 0.1
CONTESTANTS = {
    "ours": ("ours", "zinb"), "ours, nb": ("ours", "nb"),
    "ours, mse_counts": ("ours", "mse_counts"),
    "ours, all": ("all", "zinb"), "ours, all, mse_counts": ("all", "mse_counts"),
    "reference": ("reference", "zinb"), "textbook": ("textbook", "zinb"),
    "peer": ("peer", "zinb"), "products": ("products", "zinb"),
}  # fmt: skip
MARKS = "<!-- {} -->", "<!-- end of {} -->"


def make(name: str, folder: Path, cells: int | None = None) -> Path:
    """Negative binomial counts in ten cell types with the wanted share of non-zeros."""
    from scipy.sparse import csr_matrix, save_npz, vstack

    n, genes, density = DATA[name]
    n = cells or n
    path = folder / f"{name}{n}.npz"
    if path.exists():
        return path
    rng = np.random.default_rng(0)
    level = rng.normal(0, 1.2, genes) + rng.normal(0, 0.7, (10, genes))
    theta = rng.lognormal(0.5, 0.7, genes)
    low, high = -20.0, 5.0
    for _ in range(50):
        middle = (low + high) / 2
        zero = (1 + np.exp(level + middle) / theta) ** -theta
        low, high = (middle, high) if 1 - zero.mean() < density else (low, middle)
    blocks = []
    for first in range(0, n, 1000):
        m = min(1000, n - first)
        mean = np.exp(level + low)[rng.integers(10, size=m)] * rng.lognormal(0, 0.3, (m, 1))
        blocks.append(csr_matrix(rng.poisson(rng.gamma(theta, mean / theta)).astype(np.int32)))
    save_npz(path, vstack(blocks, format="csr"), compressed=False)
    return path


def matrix_of(path: Path, train: int | None = None) -> Any:
    """A CountMatrix of the counts, prepared without a test set."""
    import anndata
    import pandas as pd
    from scipy.sparse import load_npz

    from countae.counts import CountMatrix

    counts = load_npz(path)
    library = np.maximum(counts.sum(axis=1).A1, 1.0)
    train = train or len(library)
    share = counts[:train].sum(axis=0).A1 / counts[:train].sum()
    adata = anndata.AnnData(
        counts,
        obs=pd.DataFrame({"library_size": library}, index=np.arange(len(library)).astype(str)),
        var=pd.DataFrame({"countae_share": share}, index=np.arange(len(share)).astype(str)),
        uns={"countae": {"folds": 5, "reference_size": float(np.median(library[:train]))}},
    )
    return CountMatrix(adata, "benchmark")


def network_of(matrix: Any, likelihood: str, train: int | None = None) -> Any:
    """An untrained network of the peer's size."""
    import torch

    from countae import config, likelihoods
    from countae.likelihoods._moments import gene_moments
    from countae.model import CountAutoencoder

    torch.manual_seed(0)
    moments = gene_moments(counts=matrix.counts[:train], size_factor=matrix.size_factor[:train])
    settings = {"hidden": [WIDTH], "latent": LATENT, "dropout": DROPOUT}
    network = config.defaults("network") | settings
    return CountAutoencoder(likelihoods.get(likelihood)(), moments, **network)


def protocol_of(matrix: Any, everything: bool) -> Any:
    """Masked entries, or the loss on all entries of whole cells."""
    from countae.protocols.masked import Masked

    class Whole(Masked):
        """Nothing is hidden and everything is wanted."""

        def training_task(self, cells: np.ndarray, generator: Any) -> Any:
            return self.whole(cells)

    return (Whole if everything else Masked)(matrix)


def textbook_loss(model: Any, task: Any) -> Any:
    """ZINB as it is commonly written (scvi-tools, DCA): lgamma, softplus and autograd."""
    import torch
    from torch.nn.functional import softplus

    x, eps = task.target, 1e-8
    at = model(task.counts, task.size_factor)
    mu, theta, logit = at["mean"], at["inverse_dispersion"], at["zero_logit"]
    log_total, log_theta = torch.log(theta + mu + eps), torch.log(theta + eps)
    zero = theta * (log_theta - log_total)
    at_zero = softplus(zero - logit) - softplus(-logit)
    above = (
        -softplus(-logit) - logit + zero + x * (torch.log(mu + eps) - log_total)
        + torch.lgamma(x + theta) - torch.lgamma(theta) - torch.lgamma(x + 1)
    )  # fmt: skip
    return -torch.where(x < eps, at_zero, above).mean()


def serve(given: dict[str, Any]) -> None:
    """A contestant of our own environment: trains an epoch per line of standard input."""
    import torch

    torch.set_num_threads(given["threads"])
    kind, likelihood = CONTESTANTS[given["contestant"]]
    epoch = products(given) if kind == "products" else trained(given, kind, likelihood)
    print(json.dumps({}), flush=True)
    for _ in sys.stdin:
        began, used = time.perf_counter(), time.process_time()
        epoch()
        seconds, used = time.perf_counter() - began, time.process_time() - used
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        answer = {"seconds": [seconds], "processor": [used], "memory": memory}
        print(json.dumps(answer), flush=True)


def trained(given: dict[str, Any], kind: str, likelihood: str) -> Any:
    """A function that trains an epoch."""
    import torch

    from countae.training import Trainer

    matrix = matrix_of(Path(given["data"]))
    model = network_of(matrix, likelihood)
    data = protocol_of(matrix, kind in ("all", "textbook"))
    cells, generator = np.arange(matrix.counts.shape[0]), torch.Generator().manual_seed(0)
    plain = "auto" if kind in ("ours", "all") else "reference"
    settings = {
        "batch_size": given["batch"], "learning_rate": RATE, "weight_decay": 0.0,
        "epoch_steps": 10**9, "implementation": plain,
    }  # fmt: skip
    trainer = Trainer(model, data, settings)
    if kind == "textbook":
        trainer.fused = Textbook(model)
    return lambda: trainer.epoch(0, cells, generator)


class Textbook:
    """Stands in the fused step's place."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def mean_loss(self, task: Any) -> Any:
        """Mean loss of all entries."""
        return textbook_loss(self.model, task)


def products(given: dict[str, Any]) -> Any:
    """A function that multiplies the matrices of an epoch, into memory that is there."""
    import torch
    from scipy.sparse import load_npz

    cells, genes = load_npz(given["data"]).shape
    batch = given["batch"]
    inputs, slopes = torch.rand(batch, genes), torch.rand(batch, genes)
    rows, weight = torch.rand(batch, WIDTH), torch.rand(WIDTH, genes)
    of_weight, narrow, wide = torch.empty(WIDTH, genes), rows.clone(), slopes.clone()

    def epoch() -> None:
        for _ in range(-(-cells // batch)):
            torch.mm(inputs, weight.t(), out=narrow)
            torch.mm(rows.t(), inputs, out=of_weight)
            for _ in range(2):
                torch.mm(rows, weight, out=wide)
                torch.mm(rows.t(), slopes, out=of_weight)
                torch.mm(slopes, weight.t(), out=narrow)

    return epoch


class Contestant:
    """A process that trains when it is told to."""

    def __init__(self, python: str, script: str, given: dict[str, Any]) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": str(given["threads"])}
        self.process = subprocess.Popen(
            [python, str(Path(__file__).with_name(script)), *(
                [] if script == "peer_scvi.py" else ["--serve"]), json.dumps(given)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=environment,
        )  # fmt: skip
        self.read()

    def read(self) -> dict[str, Any]:
        """The next line that is an answer."""
        for line in self.process.stdout or ():
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"a contestant ended early: {self.process.args}")

    def train(self, epochs: int = 1) -> dict[str, Any]:
        """Train; the answer."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"epochs": epochs}) + "\n")
        self.process.stdin.flush()
        return self.read()

    def end(self) -> None:
        """Let the process finish."""
        self.process.communicate()


def measure(
    case: tuple[str, int], options: argparse.Namespace, path: Path
) -> dict[str, dict[str, float]]:
    """Median cells per second, and peak memory in MB, of each contestant."""
    from scipy.sparse import load_npz

    cells = load_npz(path).shape[0]
    running, found = {}, {}
    for name in CONTESTANTS:
        given = {
            "data": str(path), "batch": case[1], "threads": options.threads, "contestant": name,
            "likelihood": "zinb", "rate": RATE,
        }  # fmt: skip
        if name == "peer" and not options.peer_python:
            continue
        python = options.peer_python if name == "peer" else sys.executable
        running[name] = Contestant(
            python, "peer_scvi.py" if name == "peer" else "training.py", given
        )
    for contestant in running.values():
        contestant.train()  # compiled, warm
    answers = [{n: c.train() for n, c in running.items()} for _ in range(options.rounds)]
    for name, contestant in running.items():
        clock = "processor" if options.processor else "seconds"
        speeds = [cells / answer[name][clock][0] for answer in answers]
        found[name] = {
            "speed": float(np.median(speeds)), "memory": answers[-1][name]["memory"],
            "low": min(speeds), "high": max(speeds),
        }  # fmt: skip
        contestant.end()
    return found


def table(found: dict[str, dict[str, dict[str, float]]], options: argparse.Namespace) -> str:
    """The page's tables."""
    head = " | ".join(f"{case.replace('-', ', batch ')}" for case in found)
    lines = [f"{machine(options)}\n", f"| cells/s (lowest–highest) | {head} |"]
    lines.append("|---" * (len(found) + 1) + "|")
    for name in CONTESTANTS:
        cells = [
            f"{c[name]['speed']:,.0f} ({c[name]['low']:,.0f}–{c[name]['high']:,.0f})"
            if name in c else "–"
            for c in found.values()
        ]  # fmt: skip
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", f"| ratio | {head} | target |", "|---" * (len(found) + 2) + "|"]
    ratios = [
        ("ours ÷ peer", "ours", "peer", "≥ 4 on A, ≥ 5 on B"),
        ("ours, all ÷ peer (the same work)", "ours, all", "peer", ""),
        ("ours, all ÷ textbook (the same work)", "ours, all", "textbook", ""),
        ("ours ÷ reference (the same work)", "ours", "reference", ""),
        ("ours ÷ products on all entries", "ours", "products", "≥ 0.75 at A, 128"),
        ("ours, all ÷ products (the same work)", "ours, all", "products", "≥ 0.75 at A, 128"),
        ("time of a ZINB step ÷ an MSE step", "ours, mse_counts", "ours", "≤ 1.5"),
        ("the same, all entries", "ours, all, mse_counts", "ours, all", "≤ 1.5"),
    ]
    for title, above, below, target in ratios:
        cells = [
            f"{c[above]['speed'] / c[below]['speed']:.2f}" if {above, below} <= {*c} else "–"
            for c in found.values()
        ]
        lines.append(f"| {title} | {' | '.join(cells)} | {target} |")
    lines += ["", f"| peak memory, MB | {head} |", "|---" * (len(found) + 1) + "|"]
    for name in CONTESTANTS:
        cells = [f"{c[name]['memory']:,.0f}" if name in c else "–" for c in found.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    if not options.peer_python:
        lines += ["", "The peer was not measured: `--peer-python` names its environment."]
    return "\n".join(lines)


def machine(options: argparse.Namespace) -> str:
    """What was measured on, in a sentence."""
    import torch

    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")), platform.processor(),
    ) if Path("/proc/cpuinfo").exists() else platform.processor()  # fmt: skip
    load = f", load {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else ""
    return (
        f"Python {platform.python_version()}, torch {torch.__version__}, {cpu}, "
        f"{options.threads} threads, medians of {options.rounds} rounds{load}"
        f"{'; seconds are those of the processor' * getattr(options, 'processor', False)}."
    )


def write_between(page: Path, mark: str, text: str) -> None:
    """Put ``text`` between two marks of a page."""
    first, last = (m.format(mark) for m in MARKS)
    before, rest = page.read_text().split(first)
    page.write_text(f"{before}{first}\n{text}\n{last}{rest.split(last)[1]}")


def main() -> None:
    """Measure what is not there yet, print the tables, and write them where that is asked for."""
    if sys.argv[1:2] == ["--serve"]:
        serve(json.loads(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="for data and finished cases")
    parser.add_argument("--peer-python", default="", help="Python with scvi-tools")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="2,048 cells, one round")
    parser.add_argument(
        "--processor", action="store_true",
        help="seconds of the processor instead of the clock's: on a busy machine, with one thread",
    )  # fmt: skip
    parser.add_argument("--cases", default="", help="such as A-128,B-128; empty for all")
    parser.add_argument("--write", type=Path, help="page to put the tables into")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    options.rounds = 1 if options.quick else options.rounds
    found = {}
    for data, batch in CASES:
        case = f"{data}-{batch}"
        if options.cases and case not in options.cases.split(","):
            continue
        kind = "-quick" * options.quick + "-processor" * options.processor
        kept = options.folder / f"{case}{kind}-{options.threads}.json"
        if not kept.exists():
            path = make(data, options.folder, 2_048 if options.quick else None)
            kept.write_text(json.dumps(measure((data, batch), options, path)))
        found[case] = json.loads(kept.read_text())
    text = table(found, options)
    print(text)
    if options.write:
        write_between(options.write, "training", text)


if __name__ == "__main__":
    main()
