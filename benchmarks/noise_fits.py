"""Time of the post-hoc noise fits: by the families' own derivatives, and by autograd.

    python benchmarks/noise_fits.py

Prints seconds, the smallest of three runs (one of autograd), and the largest gap between the two
ways' parameters. The first call, which compiles or loads the loops, is timed by itself.
"""

from __future__ import annotations

import time
from unittest import mock

import numpy as np
import torch

from countae import likelihoods
from countae.likelihoods._base import Likelihood
from countae.noise import Noise, fit_noise

SIZES = [(560, 678), (4_000, 500)]
FAMILIES = ["nb", "zinb"]


def simulated(cells: int, genes: int) -> dict[str, np.ndarray]:
    """NB counts with the means and overdispersion of a droplet experiment."""
    rng = np.random.default_rng(0)
    size, theta = rng.lognormal(0, 0.4, cells), rng.lognormal(np.log(2), 0.7, genes)
    mean = size[:, None] * np.exp(rng.normal(-1, 1.3, genes) + rng.normal(0, 0.4, (cells, genes)))
    counts = rng.poisson(rng.gamma(np.broadcast_to(theta, mean.shape), mean / theta))
    return {"counts": counts.astype(np.float64), "mean": mean, "size_factor": size}


def timed(family: str, data: dict[str, np.ndarray], repeats: int) -> tuple[float, Noise]:
    """Shortest time of a fit, in seconds, and the fit."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        noise = fit_noise(family, **data)
        times.append(time.perf_counter() - start)
    return min(times), noise


def main() -> None:
    """Print one line per size and family."""
    torch.set_num_threads(1)
    print(f"first call: {timed('nb', simulated(50, 20), 1)[0]:.2f} s")
    print("cells genes family autograd own ratio gap")
    for cells, genes in SIZES:
        data = simulated(cells, genes)
        for family in FAMILIES:
            fast, noise = timed(family, data, 3)
            member = likelihoods.get(family)
            with mock.patch.object(member, "noise_derivatives", Likelihood.noise_derivatives):
                slow, by_autograd = timed(family, data, 1)
            gap = max((noise.raw[name] - by_autograd.raw[name]).abs().max() for name in noise.raw)
            print(f"{cells} {genes} {family} {slow:.2f} {fast:.3f} {slow / fast:.0f} {gap:.1g}")


if __name__ == "__main__":
    main()
