"""Size of a large report, and how long a browser takes to open it.

Makes results of many data sets, genes and losses out of random numbers, writes their page and
opens it in Chromium. Needs the extra `browser` and Chromium (see `make test-browser`).

    python benchmarks/report_size.py --datasets 20 --genes 20000 --losses 10
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import report_results

from countae import likelihoods
from countae.metrics.count_histogram import STARTS
from countae.report.histograms import Histograms
from countae.report.latent import Latents
from countae.report.load import OF_GENES, Dataset, load
from countae.report.page import render

N_CELLS = 5_000


def dataset(number: int, n_genes: int, losses: list[str], root: Path) -> Dataset:
    """One data set: small real files for everything but genes and cells, which are random."""
    rng = np.random.default_rng(number)
    small = report_results.Results(root)
    small.dataset = small.folder = f"dataset_{number}"
    small.losses, small.seeds, small.control_seeds = losses, [0, 1, 2], [3, 4, 5]
    small.label_key, small.labels = "cell_type", [f"type {k}" for k in range(12)]
    data = load(small.write())
    names = [f"GENE{k}" for k in rng.permutation(n_genes)]
    mean = rng.lognormal(-2, 1.8, n_genes)
    spread = mean + mean**2 / rng.lognormal(0.5, 0.7, n_genes)
    zeros = (1 + spread - mean) ** -1 * np.exp(-mean)
    labels = rng.choice(small.labels, N_CELLS).tolist()
    maps = {loss: rng.normal(size=(N_CELLS, 2)) for loss in losses}
    return replace(
        data,
        genes=_genes(rng, names, losses, mean, spread, zeros),
        scores=_scores(rng, data, names, mean, spread, zeros),
        histograms=_histograms(rng, names, losses, mean),
        latents=Latents("cell_type", 10 * N_CELLS, labels, maps, dict.fromkeys(losses, 0.6)),
    )


def _genes(
    rng: np.random.Generator,
    names: list[str],
    losses: list[str],
    mean: np.ndarray,
    spread: np.ndarray,
    zeros: np.ndarray,
) -> pd.DataFrame:
    n = len(names)
    best = rng.choice(losses, n)
    table = pd.DataFrame({
        "gene": names, "mean": mean, "variance": spread, "zero_fraction": zeros,
        "nonzeros": (N_CELLS * (1 - zeros)).astype(int), "best": best,
        "class": np.where(rng.random(n) < 0.2, best, rng.choice(["tie", "undecided"], n)),
        "difference": rng.exponential(0.01, n), "standard_error": rng.exponential(0.01, n),
        "delta": np.maximum(0.002, rng.exponential(0.002, n)), "null_log_score": 1 + mean,
        "zero_inflation_p": rng.random(n), "zero_inflation_fdr": rng.random(n),
    })  # fmt: skip
    for loss in losses:
        table[f"log_score_{loss}"] = 0.9 * (1 + mean) + rng.exponential(0.02, n)
    return table


def _scores(
    rng: np.random.Generator,
    data: Dataset,
    names: list[str],
    mean: np.ndarray,
    spread: np.ndarray,
    zeros: np.ndarray,
) -> pd.DataFrame:
    """Scores of the data set as they are, those of genes at random around what they measure."""
    about = {"expected_zero_fraction": zeros, "implied_variance": spread}
    parts = [data.scores[data.scores["level"] == "dataset"]]
    for contestant in data.losses:
        for noise, metrics in OF_GENES.items():
            for metric in metrics:
                noisy = about.get(metric, 0.1) * rng.lognormal(0, 0.1, len(names))
                parts.append(pd.DataFrame({
                    "contestant": contestant, "seed": 0, "noise": noise, "metric": metric,
                    "level": "gene", "id": names, "value": noisy,
                }))  # fmt: skip
    joined = pd.concat(parts, ignore_index=True)
    words = ["contestant", "noise", "metric", "level", "id"]
    return joined.assign(**{name: joined[name].astype("category") for name in words})


def _histograms(
    rng: np.random.Generator, names: list[str], losses: list[str], mean: np.ndarray
) -> Histograms:
    from scipy import stats

    edges = np.array([*STARTS[1:], np.inf])[:, None] - 1

    def shares() -> np.ndarray:
        below = stats.nbinom.cdf(edges, 1.5, 1.5 / (1.5 + mean * rng.lognormal(0, 0.2, len(mean))))
        return np.diff(below, axis=0, prepend=0).astype(np.float32)

    return Histograms(names, list(STARTS), shares(), {loss: shares() for loss in losses})


def opened(path: Path) -> dict[str, float]:
    """Seconds until the page is ready, a gene is found, and its picture is drawn; memory in MB."""
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as started:
        flags = ["--no-sandbox", "--disable-gpu"]
        browser = started.chromium.launch(executable_path=chromium, args=flags)
        page = browser.new_context(offline=True).new_page()
        page.set_default_timeout(600_000)
        took, start = {}, time.perf_counter()
        page.goto(path.as_uri())
        page.wait_for_function("document.documentElement.dataset.ready === 'true'")
        took["ready"], start = time.perf_counter() - start, time.perf_counter()
        page.locator("#d1-genes").scroll_into_view_if_needed()
        page.locator("#d1-genes .gene-table[data-ready=true]").wait_for()
        took["table of genes"], start = time.perf_counter() - start, time.perf_counter()
        page.locator("#d1-genes input").fill("GENE77")
        page.evaluate("new Promise(done => requestAnimationFrame(done))")
        took["search"] = time.perf_counter() - start
        took["MB of heap"] = page.evaluate("performance.memory.usedJSHeapSize") / 1e6
        browser.close()
    return took


def main() -> None:
    """Make, write and open a large report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", type=int, default=20)
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--losses", type=int, default=10)
    parser.add_argument("--output", type=Path, default=None, help="keep the page here")
    chosen = parser.parse_args()
    others = [name for name in likelihoods.names() if name not in report_results.TITLES]
    losses = [*report_results.TITLES, *others][: chosen.losses]
    for k, name in enumerate(losses):
        report_results.TITLES.setdefault(name, likelihoods.get(name).title)
        report_results.LEVEL.setdefault(name, 0.89 + 0.005 * k)
    with tempfile.TemporaryDirectory() as folder:
        root, start = Path(folder), time.perf_counter()
        made = [dataset(k, chosen.genes, losses, root) for k in range(chosen.datasets)]
        print(f"made in {time.perf_counter() - start:.1f} s", flush=True)
        start = time.perf_counter()
        html = render(made, title="A large report")
        print(f"rendered in {time.perf_counter() - start:.1f} s", flush=True)
        path = chosen.output or root / "report.html"
        path.write_text(html, encoding="utf-8")
        print(f"{path.stat().st_size / 1e6:.2f} MB", flush=True)
        for what, value in opened(path.resolve()).items():
            print(f"{what}: {value:.2f}")


if __name__ == "__main__":
    main()
