"""Writes zero_inflation_counts.csv, the counts that zero_inflation.R fits: run once, by hand.

Columns: the offset log m of each of 300 cells, then one column of counts per gene. Genes are named
by what they try: the inverse dispersion, the probability of an extra zero, the level.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

GENES = {  # mean of the NB part, inverse dispersion, probability of an extra zero
    "near_poisson": (3.0, 1e4, 0.0),
    "poisson_and_zeros": (4.0, 1e4, 0.2),
    "usual": (2.0, 1.5, 0.0),
    "usual_and_zeros": (5.0, 2.0, 0.3),
    "heavy_overdispersion": (4.0, 0.2, 0.0),
    "heavy_zeros": (12.0, 3.0, 0.7),
    "many_counts": (300.0, 2.0, 0.1),
    "no_extra_zeros": (6.0, 1.0, 0.0),
    "few_zeros": (20.0, 5.0, 0.02),
    "rare": (0.15, 1.0, 0.0),
    "rare_and_zeros": (0.6, 1.0, 0.4),
}


def main() -> None:
    """Write the file beside this one."""
    rng = np.random.default_rng(20240)
    log_mean = np.round(rng.normal(0.0, 0.5, 300), 6)
    columns = [log_mean]
    for mean, theta, pi in GENES.values():
        mu = mean * np.exp(log_mean)
        counts = rng.poisson(rng.gamma(theta, mu / theta))
        columns.append(counts * (rng.random(300) >= pi))
    np.savetxt(
        Path(__file__).with_name("zero_inflation_counts.csv"),
        np.stack(columns, axis=1),
        fmt=["%.6f"] + ["%d"] * len(GENES),
        delimiter=",",
        header=",".join(["log_mean", *GENES]),
        comments="",
    )


if __name__ == "__main__":
    main()
