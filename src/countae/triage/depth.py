"""How many counts and genes the cells have."""

from __future__ import annotations

import numpy as np

from countae.triage import Finding, Look, look_for

EMPTY_DROPLET, FULL_CELL = 50, 1000  # median total of an unfiltered matrix, and of its best cells


@look_for
def depth(look: Look) -> list[Finding]:
    """How many counts and genes the cells have."""
    total, expressed = look.sums.total, look.sums.expressed
    full = total[total > 0]
    if not look.counts or not full.size:
        return []
    low, middle, high = np.quantile(full, [0.01, 0.5, 0.99])
    found = [
        Finding(
            "note",
            f"Counts per cell: median {middle:,.0f}, from {full.min():,.0f} to "
            f"{full.max():,.0f} (1st and 99th percentile {low:,.0f} and {high:,.0f}); median "
            f"{np.median(expressed[total > 0]):,.0f} genes. Zeros: "
            f"{100 * (1 - look.sums.values / np.prod(look.sums.shape, dtype=float)):.1f} % of all "
            "entries.",
        )
    ]
    if middle < EMPTY_DROPLET and np.quantile(full, 0.999) > FULL_CELL:
        found.append(
            Finding(
                "warning",
                f"Half of the cells have less than {EMPTY_DROPLET} counts, the best ones more "
                f"than {FULL_CELL:,}: this looks like all droplets, empty ones included.",
                "Empty droplets all look alike, and the verdict would be on ambient RNA.",
                "take the filtered matrix, or set quality.min_counts_per_cell",
            )
        )
    return found
