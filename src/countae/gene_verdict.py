"""The verdict gene by gene: winner, tie, undecided, or not testable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from countae.comparison import Difference, benjamini_hochberg, difference
from countae.counts import CountMatrix
from countae.progress import tracked
from countae.results import NULL, Results

if TYPE_CHECKING:
    import pandas as pd

GENE_BLOCK = 256
TESTED, RICHER = "nb", "zinb"  # the networks that the test of extra zeros is asked of
ZERO_TEST = "zero_inflation_test"


def describe_genes(matrix: CountMatrix) -> pd.DataFrame:
    """Observed mean, variance, zero fraction and non-zeros of held-out counts, a row per gene."""
    import pandas as pd

    counts = matrix.target(np.flatnonzero(matrix.part == "test"))
    n, nonzeros, mean = counts.shape[0], counts.getnnz(axis=0), counts.mean(axis=0).A1
    return pd.DataFrame(
        {
            "gene": matrix.gene_id,
            "mean": mean,
            "variance": counts.astype(np.float64).power(2).mean(axis=0).A1 - mean**2,
            "zero_fraction": 1 - nonzeros / n,
            "nonzeros": nonzeros,
        }
    )


def judge_genes(
    results: Results,
    settings: dict[str, Any],
    gene_table: pd.DataFrame,
    donors: np.ndarray | None = None,
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """The comparison of losses gene by gene, the false discovery rate controlled over genes.

    A gene's class is the loss that beats all others on it, ``tie`` when those not beaten are
    equivalent to the best, ``undecided`` otherwise, or ``not_testable`` with too few non-zero
    held-out counts.

    Parameters
    ----------
    results : Results
    settings : dict
        The configuration's section ``verdict``.
    gene_table : DataFrame
        From :func:`describe_genes`.
    donors : ndarray, (cell,), optional
        Donor of each test cell.

    Returns
    -------
    DataFrame
        ``gene_table`` with ``class``, ``best``, ``difference`` to the next best and its
        ``standard_error`` (nats/entry), ``delta``, and the log score of every loss and the null.
        Where NB and ZINB were compared also ``zero_inflation_p``, the test of extra zeros around
        the NB network's means (median over seeds, NaN: not testable), and ``zero_inflation_fdr``,
        the same adjusted for the number of testable genes.
    list of dict
        For every ordered pair of losses, on how many testable genes the first is better.
    """
    genes = gene_table.copy()
    names = results.likelihoods
    entries = [results.entries(name, "native") for name in names]
    per_cell, per_seed = (np.stack(part, axis=1) for part in zip(*entries, strict=True))
    means = per_cell.mean(axis=0, dtype=np.float64)
    null = np.array([*results.gene_metric(NULL, "nb", "log_score").values()])
    best = means.argmin(axis=0)
    gain = np.abs(null - means.min(axis=0))
    delta = np.maximum(settings["equivalence"], settings["equivalence_share"] * gain)
    testable = genes["nonzeros"].to_numpy() >= settings["min_nonzeros_per_gene"]
    rule = {"level": settings["level"], "donors": donors}
    gaps = _gaps(per_cell, per_seed, best, delta, rule)
    is_best = np.arange(len(names))[:, None] == best
    beaten = _significant(gaps.p_better, testable, settings["level"]) & ~is_best
    wins = (beaten | is_best).all(axis=0)
    ties = (beaten | gaps.equivalent | is_best).all(axis=0)
    label = np.where(wins, np.array(names)[best], np.where(ties, "tie", "undecided"))
    genes["class"] = np.where(testable, label, "not_testable")
    genes["best"] = np.array(names)[best]
    rivals = np.where(is_best, np.inf, gaps.value)
    next_best = rivals.argmin(axis=0)[None]
    genes["difference"] = np.take_along_axis(rivals, next_best, axis=0)[0]
    genes["standard_error"] = np.take_along_axis(gaps.standard_error, next_best, axis=0)[0]
    genes["delta"], genes["null_log_score"] = gaps.delta, null
    for name, score in zip(names, means, strict=True):
        genes[f"log_score_{name}"] = score
    if {TESTED, RICHER} <= set(names):
        genes["zero_inflation_p"], genes["zero_inflation_fdr"] = _test_of_zeros(results, genes)
    return genes, _pairs(names, per_cell, per_seed, delta, rule, testable)


def _pairs(
    names: list[str],
    per_cell: np.ndarray,
    per_seed: np.ndarray,
    delta: np.ndarray,
    rule: dict[str, Any],
    testable: np.ndarray,
) -> list[dict[str, Any]]:
    """For every ordered pair of losses, on how many testable genes the first is better."""
    pairs = []
    for k, better in enumerate(names):
        over = _gaps(per_cell, per_seed, np.full(len(testable), k), delta, rule)
        number = _significant(over.p_better, testable, rule["level"]).sum(axis=1)
        pairs += [
            {"better": better, "worse": worse, "genes": int(n)}
            for worse, n in zip(names, number, strict=True)
            if worse != better
        ]
    return pairs


def _test_of_zeros(results: Results, genes: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """p-value of extra zeros of each gene, as it is and adjusted; NaN where not testable."""
    of_seeds = [
        results.gene_metric(TESTED, TESTED, ZERO_TEST, seeds=[seed]) for seed in results.seeds
    ]
    p = np.median([genes["gene"].map(found).to_numpy(float) for found in of_seeds], axis=0)
    adjusted, known = np.full(p.shape, np.nan), ~np.isnan(p)
    if known.any():
        adjusted[known] = benjamini_hochberg(p[known])
    return p, adjusted


def _gaps(
    per_cell: np.ndarray,
    per_seed: np.ndarray,
    reference: np.ndarray,
    delta: np.ndarray,
    rule: dict[str, Any],
) -> Difference:
    """Every loss against each gene's ``reference``, (loss, gene); above 0: that is better.

    ``per_cell`` and ``per_seed`` are scores, (cell, loss, gene) and (seed, loss, gene). Made in
    blocks of genes, so that large data need no second copy.
    """
    parts = []
    starts = range(0, len(reference), GENE_BLOCK)
    for start in tracked(starts, "judging", len(starts), "blocks of genes"):
        genes = slice(start, start + GENE_BLOCK)
        cells, seeds = (x[..., genes].astype(np.float64) for x in (per_cell, per_seed))
        index = reference[None, None, genes]
        parts.append(
            difference(
                cell_difference=cells - np.take_along_axis(cells, index, axis=1),
                seed_difference=seeds - np.take_along_axis(seeds, index, axis=1),
                delta=delta[genes],
                **rule,
            )
        )
    value, error, half_width, p_better = (
        np.concatenate([getattr(part, name) for part in parts], axis=-1)
        for name in ("value", "standard_error", "half_width", "p_better")
    )
    return Difference(value, error, half_width, p_better, delta)


def _significant(p: np.ndarray, testable: np.ndarray, level: float) -> np.ndarray:
    """Which losses are beaten on which genes, (loss, gene), testable genes only."""
    beaten = np.zeros(p.shape, dtype=bool)
    if testable.any():
        beaten[:, testable] = [benjamini_hochberg(row[testable]) <= level / 2 for row in p]
    return beaten
