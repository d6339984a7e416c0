"""Why GLM-PCA leads where it does: `python benchmarks/lead.py FOLDER`.

FOLDER is that of `results.py`, with its prepared counts. Contestants differ from a network at the
defaults, or from GLM-PCA, in one thing each (:data:`CONTESTANTS`). Each is scored with its own
noise, and with NB noise fitted to the very test cells, which is no score but tells the means
apart: all noises are then equally well fitted. Each finished case is a file in FOLDER/NAME/lead,
so that a run that was broken off goes on.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data import DATA, there
from results import counts_of, load
from training import write_between

from countae import baselines, config
from countae.baselines._base import Seen, hold_out
from countae.baselines.glm_pca import FACTORS, FactorModel
from countae.comparison import paired
from countae.counts import CountMatrix
from countae.files import read_json, write_json
from countae.fit import calibrate, fit
from countae.model import CountAutoencoder
from countae.noise import fit_noise, noise_cells
from countae.placing import best_steps
from countae.predict import predict_hidden
from countae.score import test_cells

MOST_STEPS, LEVEL = 30, 0.05
LINEAR = {"activation": "linear", "norm": "none"}
NETWORKS: dict[str, dict[str, Any]] = {"": {}, " linear": LINEAR}
LOSSES = ["nb", "zinb", "poisson", "mse_log1p", "mse_counts"]
MOVED, FEWER = " moved", " fewer cells"
GLM, GLM_IN_SAMPLE = "glm_pca", "glm_pca in-sample noise"
FEWER_SHARE = 0.77  # of the training cells: on lung as many less as there are validation cells


@dataclass(frozen=True)
class Scored:
    """Log scores of test cells: own noise, and NB noise of the test cells, (cell,) each."""

    own: np.ndarray
    means: np.ndarray

    def save(self, path: Path, **notes: Any) -> None:
        """Write one finished case."""
        path.parent.mkdir(exist_ok=True)
        write_json(path, {"own": [*self.own], "means": [*self.means], **notes})


def of_network(network: CountAutoencoder, matrix: CountMatrix) -> Scored:
    """A network's own distribution, and its means."""
    test = test_cells(matrix)
    found, counts = predict_hidden(network, matrix, test, device="cpu"), counts_in(matrix, test)
    return Scored(-found.log_pmf(counts).mean(axis=1), of_means(matrix, found.mean))


def of_means(matrix: CountMatrix, mean: np.ndarray) -> np.ndarray:
    """Scores of means of the test cells with the NB noise that fits these cells best."""
    test = test_cells(matrix)
    return with_noise(matrix, mean, mean, test)


def with_noise(
    matrix: CountMatrix, mean: np.ndarray, fitted_mean: np.ndarray, fitted: np.ndarray
) -> np.ndarray:
    """Scores of means of the test cells with NB noise fitted on some cells, (cell,)."""
    test, sizes = test_cells(matrix), hold_out(matrix).size_factor
    noise = fit_noise(
        "nb", counts=counts_in(matrix, fitted), mean=fitted_mean, size_factor=sizes(fitted)
    )
    claim = noise.around(mean, sizes(test))
    return -claim.log_pmf(counts_in(matrix, test)).mean(axis=1)


def counts_in(matrix: CountMatrix, cells: np.ndarray) -> np.ndarray:
    """Counts to predict, (cell, gene)."""
    return matrix.target(cells).toarray().astype(np.float64)


def networks(matrix: CountMatrix, loss: str, seed: int, save: Callable[..., None]) -> None:
    """A loss under every architecture, as the encoder places cells and moved from there."""
    for name, change in NETWORKS.items() if loss == "nb" else [("", {})]:
        began = time.process_time()
        model, _ = fit(
            matrix, loss, seed=seed, network=config.defaults("network") | change,
            training=config.defaults("training"), device="cpu",
        )  # fmt: skip
        trained = time.process_time()
        save(f"{loss}{name}", of_network(model, matrix), seconds=trained - began)
        scored = time.process_time()
        model.latent_steps, data = MOST_STEPS, hold_out(matrix)
        steps = best_steps(model, data, np.flatnonzero(matrix.part == "validation"))
        model.latent_steps = steps
        calibrate(model, data, noise_cells(matrix))
        seconds = {"choosing": time.process_time() - scored, "unmoved": scored - trained}
        began = time.process_time()
        of_moved = of_network(model, matrix)
        seconds["moved"] = time.process_time() - began
        save(f"{loss}{name}{MOVED}", of_moved, steps=steps, **seconds)


def glm_pca(matrix: CountMatrix, save: Callable[..., None]) -> None:
    """GLM-PCA with noise of training cells that it has not seen, and of those that it has."""
    member, test, fitted = baselines.get(GLM)(), test_cells(matrix), noise_cells(matrix)
    mean, out_of_fold = member.mean(matrix, test), member.mean(matrix, fitted)
    means = of_means(matrix, mean)
    notes = {"shrinkage": member.setting(matrix)}
    save(GLM, Scored(with_noise(matrix, mean, out_of_fold, fitted), means), **notes)
    data, train = hold_out(matrix), np.flatnonzero(matrix.part == "train")
    model = FactorModel.of(Seen.of(data.whole(train)), FACTORS, member.setting(matrix))
    in_sample = np.empty_like(out_of_fold)
    for task in data.held_out_tasks(fitted):
        seen = Seen.of(task)
        np.copyto(in_sample, model.mean(seen, model.factors(seen)), where=seen.hidden)
    save(GLM_IN_SAMPLE, Scored(with_noise(matrix, mean, in_sample, fitted), means))


def fewer(matrix: CountMatrix) -> CountMatrix:
    """The same test and validation cells, and fewer training cells."""
    train = np.flatnonzero(matrix.part == "train")
    gone = np.random.default_rng(0).permutation(train)[round(FEWER_SHARE * len(train)) :]
    return matrix.subset(np.setdiff1d(np.arange(len(matrix.obs)), gone), slice(None))


def run(name: str, matrix: CountMatrix, seeds: list[int], losses: list[str], at: Path) -> None:
    """What is missing of one data set."""

    def place(contestant: str, seed: int) -> Path:
        return at / f"{contestant.replace(' ', '_')}-seed{seed}.json"

    def saver(seed: int, more: str = "") -> Callable[..., None]:
        def save(contestant: str, scored: Scored, **notes: Any) -> None:
            told = contestant + more
            scored.save(place(told, seed), contestant=told, seed=seed, **notes)
            print(
                name, told, seed, f"{scored.own.mean():.4f} {scored.means.mean():.4f}", flush=True
            )

        return save

    if not place(GLM_IN_SAMPLE, 0).exists():
        glm_pca(matrix, saver(0))
    for seed in seeds:
        for loss in losses:
            if not place(loss + MOVED, seed).exists():
                networks(matrix, loss, seed, saver(seed))


def run_fewer(name: str, matrix: CountMatrix, seeds: list[int], at: Path) -> None:
    """GLM-PCA and the NB network with fewer training cells."""
    small = fewer(matrix)
    run(f"{name}{FEWER}", small, seeds, ["nb"], at)


def rows(at: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """Finished cases by contestant and seed."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for path in sorted(at.glob("*.json")):
        case = read_json(path)
        found.setdefault(case["contestant"], {})[case["seed"]] = case
    return found


def difference(own: dict[int, Any], other: dict[int, Any], column: str) -> str:
    """Score minus another's over the same cells and seeds, in thousandths, with its interval."""
    seeds = sorted({*own} & {*other}) if len(own) > 1 else sorted(other)
    b = np.stack([own.get(seed, own[0])[column] for seed in seeds])
    a = np.stack([other[seed][column] for seed in seeds])
    found = paired(a, b, delta=0.0, level=LEVEL)
    low, high = found.interval
    return f"{1e3 * found.value:+.1f} ({1e3 * low:+.1f} to {1e3 * high:+.1f})"


def table(folder: Path, names: list[str], losses: list[str]) -> str:
    """Differences from the NB network at the defaults, and of each loss from itself unmoved."""
    known = {name: rows(folder / name / "lead") for name in names}
    known = {name: cases for name, cases in known.items() if "nb" in cases}
    others = [GLM, GLM_IN_SAMPLE, "nb moved", "nb linear", "nb linear moved"]
    made = [
        "**Log score**, and its difference from that of `nb` in thousandths.", "",
        *compared(known, others, "own"), "",
        "**Means alone**: the same with the NB noise that fits the test cells best.", "",
        *compared(known, [other for other in others if other != GLM_IN_SAMPLE], "means"), "",
    ]  # fmt: skip
    small = {f"{name}, fewer": rows(folder / name / "lead_fewer") for name in names}
    small = {name: cases for name, cases in small.items() if "nb" in cases}
    if small:
        told = f"**{FEWER_SHARE:.0%} of the training cells**, log score."
        made += [told, "", *compared(small, [GLM, GLM_IN_SAMPLE, "nb moved"], "own"), ""]
    made += ["**Moved**, minus the same unmoved; in brackets the steps that were chosen.", ""]
    made += lines_of(known, {loss: lambda cases, loss=loss: moved(cases, loss) for loss in losses})
    return "\n".join(made)


def compared(known: dict[str, Any], others: list[str], column: str) -> list[str]:
    """A table of differences from the NB network at the defaults."""

    def level(cases: dict[str, Any]) -> str:
        return f"{np.mean([case[column] for case in cases['nb'].values()]):.4f}"

    def gap(cases: dict[str, Any], other: str) -> str:
        return difference(cases[other], cases["nb"], column) if other in cases else "–"

    told = {other: lambda cases, other=other: gap(cases, other) for other in others}
    return lines_of(known, {"nb": level, **told})


def lines_of(known: dict[str, Any], told: dict[str, Callable[[Any], str]]) -> list[str]:
    """A table with a column for each data set."""
    body = [f"| {' | '.join([name, *map(cell, known.values())])} |" for name, cell in told.items()]
    return [f"| | {' | '.join(known)} |", "|" + "---|" * (len(known) + 1), *body]


def moved(cases: dict[str, Any], loss: str) -> str:
    """What moving cells does to a loss, and the steps that validation cells chose."""
    own = cases.get(loss + MOVED)
    if own is None:
        return "–"
    steps = ", ".join(str(case["steps"]) for case in own.values())
    return f"{difference(own, cases[loss], 'own')} [{steps}]"


def main() -> None:
    """Run what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--source", type=Path, default=Path("."), help="folder with .h5ad files")
    parser.add_argument("--data", nargs="+", default=["pbmc68k", "simulated_nb"], choices=[*DATA])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--losses", nargs="+", default=LOSSES, choices=LOSSES)
    parser.add_argument("--fewer", action="store_true", help="also with fewer training cells")
    parser.add_argument("--only-table", action="store_true", help="run nothing")
    parser.add_argument("--write", type=Path, help="page to put the tables into")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in [] if options.only_table else there(options.data, options.source):
        matrix = load(counts_of(name, options.folder, options.source))
        run(name, matrix, options.seeds, options.losses, options.folder / name / "lead")
        if options.fewer:
            run_fewer(name, matrix, options.seeds, options.folder / name / "lead_fewer")
    text = table(options.folder, options.data, options.losses)
    print(text)
    if options.write:
        write_between(options.write, "lead", text)


if __name__ == "__main__":
    sys.exit(main())
