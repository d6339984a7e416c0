"""Rehearsal: the whole comparison on data drawn from a user's own fit, where truth is known."""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from countae import simulate
from countae.counts import CountMatrix
from countae.errors import CountMatrixError
from countae.fit import fit, load, save
from countae.gene_verdict import describe_genes
from countae.model import CountAutoencoder
from countae.noise import adjusted_mean, fit_noise, noise_cells
from countae.predict import predict_hidden
from countae.prepare import mark
from countae.progress import tracked
from countae.protocols.masked import Masked
from countae.results import NULL, Results
from countae.score import Scores, score_baseline, score_network
from countae.story import (
    DROPOUT,
    GAUSSIAN,
    PLAIN,
    RIVALS,
    absence_claimed,
    questions,
    refuted,
    settled,
    would_be_seen,
)
from countae.verdict import decide

FEWEST_CELLS = 3  # training cells in which a simulated gene must be seen
METRICS = ["log_score"]  # and what the verdict needs


def fitted_design(
    network: CountAutoencoder, matrix: CountMatrix, *, device: str = "auto"
) -> simulate.Design:
    """Means and dispersions of a user's own counts, to draw counts of any family around.

    Means are those that the network predicts of every count while it is hidden, scaled per gene
    to the counts; inverse dispersions are fitted around them, so that what the means miss is in
    the noise and the margins of simulated counts resemble the observed ones.

    Parameters
    ----------
    network : CountAutoencoder
    matrix : CountMatrix
        From ``countae prepare``.
    device : str

    Returns
    -------
    Design
    """
    fitted, everything = noise_cells(matrix), np.arange(len(matrix.obs))
    predicted = predict_hidden(network, matrix, everything, device=device).mean
    size_factor = Masked(matrix).size_factor(everything)
    noise = fit_noise(
        "nb",
        counts=matrix.rows(fitted).toarray().astype(np.float64),
        mean=predicted[fitted],
        size_factor=size_factor[fitted],
    )
    mean = adjusted_mean(predicted, size_factor, noise.gene_mean, noise.scale)
    return simulate.Design(
        mean.numpy(),
        label=matrix.labels,
        inverse_dispersion=noise.raw["log_inverse_dispersion"].exp().numpy(),
    )


def stream_of(matrix: CountMatrix, family: str, replicate: int) -> int:
    """Seed of a draw: another one for every family, replicate and matrix that was itself drawn."""
    truth = matrix.adata.uns.get("truth", {})
    parent = [int(truth.get("seed", 0)), int("truth" in matrix.adata.uns)]
    words = [*parent, zlib.crc32(family.encode()), replicate]
    return int(np.random.SeedSequence(words).generate_state(1)[0])


def simulated_like(
    matrix: CountMatrix, plan: simulate.Design, family: str, *, seed: int
) -> CountMatrix:
    """Counts of one family around a design, with the cells, split and keys of ``matrix``.

    Counts of genes that are not modelled stay in the library sizes as they are. Genes that hardly
    any training cell shows are left out, as ``countae prepare`` does.
    """
    import anndata

    drawn = simulate.from_design(family, plan, seed=seed)
    drawn.obs_names, drawn.var_names = matrix.cell_id, matrix.gene_id
    train = matrix.part == "train"
    seen = drawn.X[train].getnnz(axis=0) >= FEWEST_CELLS
    drawn = drawn[:, seen]
    rest = matrix.library_size - matrix.counts.sum(axis=1).A1
    obs = matrix.obs.drop(columns=["size_factor", "split"])
    # a cell that lost all its counts still has a library of one
    obs["library_size"] = np.maximum(rest + drawn.X.sum(axis=1).A1, 1.0)
    made = anndata.AnnData(
        drawn.X.astype(np.int32), obs=obs, var=drawn.var, layers=dict(drawn.layers),
        uns={"truth": drawn.uns["truth"], "countae": dict(matrix.info)},
    )  # fmt: skip
    found = CountMatrix(made, f"simulated like {matrix.source}: {family} {seed}")
    split_seed = int(matrix.info["split_seed"]) + 1 + seed
    total = made.X[train].sum(axis=0).A1
    mark(found, matrix.part, {"folds": matrix.n_folds, "split_seed": split_seed}, total=total)
    return found


def compare(
    matrix: CountMatrix,
    folder: Path,
    *,
    likelihoods: list[str],
    seeds: list[int],
    settings: dict[str, Any],
    device: str = "auto",
) -> Results:
    """Fit and score every loss of a prepared matrix in this process, without an A/A arm.

    Parameters
    ----------
    matrix : CountMatrix
    folder : Path
        Gets what the workflow's steps would write below ``results/<dataset>``.
    likelihoods : list of str
    seeds : list of int
    settings : dict
        The validated configuration; ``tuned`` holds the sections of losses that have their own.
    device : str

    Returns
    -------
    Results
    """
    _save(score_baseline(NULL, matrix, wanted=METRICS), folder / NULL / "seed0")
    for name in likelihoods:
        own = settings.get("tuned", {}).get(name, settings)
        for seed in seeds:
            network, record = fit(
                matrix, name, seed=seed, network=own["network"], training=own["training"],
                device=device,
            )  # fmt: skip
            place = folder / name / f"seed{seed}"
            _save(score_network(network, matrix, wanted=METRICS, device=device), place)
            record.to_json(place / "fit.json")
            save(network, record, place / "model.safetensors")
    return Results(folder, likelihoods, seeds, likelihoods[0], [])


def judge(
    matrix: CountMatrix,
    *,
    likelihoods: list[str],
    seeds: list[int],
    settings: dict[str, Any],
    device: str = "auto",
    bootstrap: bool = True,
) -> dict[str, Any]:
    """The whole comparison of a prepared matrix in this process: fits, scores, bootstrap, verdict.

    Returns
    -------
    dict
        Content of verdict.json.
    """
    given = {"dataset": matrix.source, "gene_table": describe_genes(matrix)}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        results = compare(
            matrix, folder, likelihoods=likelihoods, seeds=seeds, settings=settings, device=device
        )
        rule = settings["verdict"]
        found, _ = decide(results, rule, donors=matrix.test_donors, **given)
        if bootstrap and questions(found):
            name = rule["control"] if rule["control"] in likelihoods else likelihoods[0]
            network = load(folder / name / f"seed{seeds[0]}" / "model.safetensors", matrix)
            plan = fitted_design(network, matrix, device=device)
            drawn = draw_simpler(matrix, plan, found, settings=settings, device=device)
            found, _ = decide(results, rule, donors=matrix.test_donors, drawn=drawn, **given)
    return found


def rehearse(
    matrix: CountMatrix,
    plan: simulate.Design,
    family: str,
    *,
    replicate: int,
    likelihoods: list[str],
    seeds: list[int],
    settings: dict[str, Any],
    device: str = "auto",
    bootstrap: bool = True,
) -> dict[str, Any]:
    """One rehearsal: counts of ``family`` drawn around ``plan``, compared like the user's own.

    Parameters
    ----------
    matrix, plan
        The user's own counts and :func:`fitted_design` of them.
    family : str
        A simulator.
    replicate : int
        Seed of the draw.
    likelihoods, seeds, settings, device
        As in :func:`judge`.
    bootstrap : bool
        Whether the rehearsal draws data of its own, as the real comparison does.

    Returns
    -------
    dict
        ``family``, ``replicate``, ``n_genes``, ``outcome``, ``best``, ``contenders``,
        ``recommended``, ``scores``, ``null``, ``story``, ``asserted`` steps, the ``observed``
        statistics, and, with a bootstrap, ``marginals``: whether the counts resemble the user's.
    """
    made = simulated_like(matrix, plan, family, seed=stream_of(matrix, family, replicate))
    found = judge(
        made, likelihoods=likelihoods, seeds=seeds, settings=settings, device=device,
        bootstrap=bootstrap,
    )  # fmt: skip
    overall = found["axes"]["overall"]
    kept = ("outcome", "best", "contenders", "recommended", "scores", "null")
    return (
        {"family": family, "replicate": replicate, "n_genes": len(made.gene_id)}
        | {key: overall[key] for key in kept}
        | {
            "story": found["story"],
            "asserted": {
                step: found[step]["asserted"] for step in ("overdispersion", "zero_inflation")
            },
            "observed": found["zero_inflation"]["observed"],
        }
        | ({"marginals": _marginals(matrix, made)} if bootstrap else {})
    )


def _marginals(matrix: CountMatrix, made: CountMatrix) -> dict[str, Any]:
    """Whether drawn counts resemble the user's; None where too few genes can be compared."""
    same_genes = np.isin(matrix.gene_id, made.gene_id)
    try:
        return simulate.marginals(matrix.counts[:, same_genes], made.counts)
    except CountMatrixError as error:
        return {"match": None, "reason": str(error)}


def draw_simpler(
    matrix: CountMatrix,
    plan: simulate.Design,
    found: dict[str, Any],
    *,
    settings: dict[str, Any],
    device: str = "auto",
) -> dict[str, list[dict[str, Any]]]:
    """Statistics of data drawn from the families that the verdict's steps must exceed.

    Where extra zeros are ruled out, data that have them are drawn too, to see if they are found.

    Each has one seed of its own: chance between fits is then in the spread of the replicates,
    which are compared with the average over seeds of the user's own data. Replicates are drawn
    until no further one could change the answer, at most ``verdict.bootstrap``.

    Parameters
    ----------
    matrix, plan
        The user's own counts and :func:`fitted_design` of them.
    found : dict
        The verdict without bootstrap.
    settings : dict
        The validated configuration.
    device : str

    Returns
    -------
    dict by family of list of dict, as :func:`countae.story.tell` takes it
    """
    drawn: dict[str, list[dict[str, Any]]] = {}
    level, found_of = settings["verdict"]["level"], questions(found)

    def enough(family: str) -> bool:
        if family == DROPOUT:
            return would_be_seen(drawn, level)["met"] is not None
        return settled(found_of[family], drawn[family], level)

    def draw(family: str) -> None:
        drawn[family] = []
        most = settings["verdict"]["bootstrap"]
        for k in tracked(range(most), f"data drawn from {family}", most, "data sets at most"):
            made = rehearse(
                matrix, plan, family, replicate=k, likelihoods=RIVALS[family], seeds=[k],
                settings=settings, device=device, bootstrap=False,
            )  # fmt: skip
            drawn[family].append(made["observed"])
            if enough(family):
                break

    for family in found_of:
        if family != GAUSSIAN or not refuted(found_of[PLAIN], drawn[PLAIN]):
            draw(family)
    if absence_claimed(found, drawn, level):
        draw(DROPOUT)
    return drawn


def _save(scores: Scores, folder: Path) -> None:
    """Write scores where :class:`Results` looks for them."""
    folder.mkdir(parents=True)
    scores.save(folder / "scores.parquet", folder / "cells.parquet", folder / "entries.npz")
