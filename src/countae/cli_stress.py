"""The verbs of the stress tests. Heavy libraries load inside the verbs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from countae import config
from countae.cli_verdict import check_arms
from countae.errors import ConfigError, ScoreError
from countae.options import (
    Counts,
    Device,
    Folder,
    Threads,
    escaped,
    loaded,
    log,
    names,
    numbers,
    settings,
)
from countae.paths import Input, Output


@settings("stress")
def stress(
    counts: Counts,
    output: Annotated[
        Path, typer.Argument(help="Table to write (.parquet)."), Output("*.parquet")
    ],
    model: Annotated[
        Path, typer.Option(help="model.safetensors, trained on these counts."), Input()
    ],
    record: Annotated[Path, typer.Option(help="Its fit.json: how to train it again."), Input()],
    threads: Threads = 1,
    device: Device = "auto",
    *,
    stress: dict,
) -> None:
    """Score one network under stress: fewer molecules, outliers, groups never seen, and so on.

    Example: countae stress counts.h5ad nb-seed0.parquet --model nb/seed0/model.safetensors
    --record nb/seed0/fit.json --tests depth=0.5,depth=0.1,outliers
    """
    from countae.stress import wanted

    tests = wanted(stress["tests"])
    if not tests:
        raise ConfigError(
            "--tests must name a stress test or more, but names none. Fix: choose from `countae "
            "list stress`, such as --tests depth,outliers=0.01."
        )
    matrix = loaded(counts, threads)
    from countae.files import read_json, write_table
    from countae.fit import load
    from countae.stress_run import endure

    network = load(config.existing_file(model, "model"), matrix)
    told = read_json(config.existing_file(record, "fit.json"))
    if not isinstance(told, dict):
        raise ScoreError(f"{record}: is no fit.json of `countae fit`. Fix: name the right file.")
    table = endure(matrix, network, told, tests=tests, settings=stress, device=device)
    write_table(output, table)
    for entry in table.attrs["left_out"]:
        log.print(
            escaped(f"Left out, {entry['test']} at {entry['level']:g}: {entry['reason']}"),
            style="yellow",
        )
    log.print(
        f"{told['likelihood']} seed {told['seed']}: {table['test'].nunique()} of {len(tests)} "
        f"stress tests written to {output}"
    )


@settings("verdict")
def stress_table(
    output: Annotated[Path, typer.Option(help="stress.json to write."), Output("stress.json")],
    tables: Annotated[
        list[Path] | None, typer.Argument(help="Tables of `countae stress`."), Input()
    ] = None,
    counts: Annotated[
        Path | None,
        typer.Option(help="counts.h5ad, for intervals by donor where it has some."),
        Input(),
    ] = None,
    tests: Annotated[
        str,
        typer.Option(
            help="Tests that were asked for, with commas: says of those that the data set cannot "
            "have why. Needs --counts."
        ),
    ] = "",
    *,
    verdict: dict,
) -> None:
    """Sum up the stress tests of a data set: changes and leads over the null, with intervals.

    Example: countae stress-table results/pbmc/stress/*/*.parquet --output results/pbmc/stress.json
    """
    import pandas as pd

    from countae import stress
    from countae.counts import CountMatrix
    from countae.files import write_json
    from countae.stress_table import parted, read_stressed, summarised

    asked = stress.wanted(names(tests))
    if not tables and not (asked and counts):
        raise ConfigError(
            "Tables of `countae stress` are needed, or --tests with --counts, but there are none. "
            "Fix: name them."
        )
    full, left_out = parted([config.existing_file(path, "table") for path in tables or []])
    donors = cells = None
    if counts is not None:
        matrix = CountMatrix.load(counts)
        left_out += stress.unfit(matrix, asked)
        cells = matrix.cell_id
        if matrix.donors is not None:
            donors = dict(zip(matrix.cell_id, matrix.donors, strict=True))
    table = read_stressed(full, cells) if full else pd.DataFrame({"test": []})
    found = summarised(table, level=verdict["level"], donors=donors, left_out=left_out)
    write_json(output, found)
    for name, test in found["tests"].items():
        log.print(escaped(f"{name}: {test['sentence']}"))
    for entry in left_out:
        log.print(escaped(f"{entry['test']} left out: {entry['reason']}"))


@settings("verdict")
def downstream(
    folder: Folder,
    output: Annotated[
        Path, typer.Argument(help="downstream.json to write."), Output("downstream.json")
    ],
    likelihoods: Annotated[str, typer.Option(help="Losses to compare.")],
    seeds: Annotated[str, typer.Option(help="Seeds of the fits.")],
    protein_source: Annotated[
        str, typer.Option(help="The .h5ad file with protein counts of the cells, if any."), Input()
    ] = "",
    protein_key: Annotated[str, typer.Option(help="Their key in its obsm.")] = "",
    threads: Threads = 1,
    device: Device = "auto",
    *,
    verdict: dict,
) -> None:
    """Judge clusters, neighbours and markers of each loss, beside no denoising and log1p + PCA.

    Example: countae downstream results/pbmc results/pbmc/downstream.json --likelihoods nb,zinb
    --seeds 0,1,2
    """
    check_arms(likelihoods, seeds)
    losses, numbered = names(likelihoods), numbers(seeds, "--seeds")
    matrix = loaded(folder / "counts.h5ad", threads)
    from countae.downstream import Later, compared
    from countae.files import write_json
    from countae.fit import load
    from countae.predict import latent_of
    from countae.proteins import read_proteins

    proteins = None
    if protein_key:
        proteins = read_proteins(protein_source, protein_key, matrix.cell_id, matrix.gene_id)
        log.print(escaped(f"proteins with a gene: {', '.join(proteins.name)}"))
    fits = {name: [folder / name / f"seed{seed}" for seed in numbered] for name in losses}
    networks = {
        name: [
            load(config.existing_file(p / "model.safetensors", "model"), matrix) for p in places
        ]
        for name, places in fits.items()
    }
    judge = Later(matrix, proteins)
    measured = {
        name: [judge.of_network(network, device=device) for network in own]
        for name, own in networks.items()
    }
    width = latent_of(networks[losses[0]][0], matrix, judge.test[:1], device=device).shape[1]
    found = compared(measured, judge.of_controls(width), level=verdict["level"])
    write_json(output, found)
    for name, measure in found["measures"].items():
        log.print(escaped(f"{name}: {measure['sentence']}"))
