"""The command line: one verb per step of the workflow. Heavy libraries load inside the verbs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from countae import __version__, config
from countae.config import Source
from countae.errors import ConfigError, CountaeError
from countae.options import choice, names, numbers, settings

app = typer.Typer(
    name="countae",
    help="Which loss tells the story of your single-cell counts, and the model that does.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
log = Console(stderr=True, highlight=False, soft_wrap=True)
EPOCHS_BETWEEN_LINES = 25


Threads = Annotated[int, typer.Option("--threads", min=1, help="Processor threads of torch.")]
if TYPE_CHECKING:
    Device = str
else:
    _DEVICE = config.schema()["properties"]["device"]
    Device = Annotated[
        choice(_DEVICE["enum"]), typer.Option("--device", help=_DEVICE["description"])
    ]
SourceArgument = Annotated[
    str, typer.Argument(help=config.schema("datasets")["properties"]["source"]["description"])
]


def _row_option(key: str) -> Any:
    rule = config.schema("datasets")["properties"][key]
    return typer.Option(f"--{key.replace('_', '-')}", help=rule["description"])


Layer = Annotated[str, _row_option("layer")]
LabelKey = Annotated[str, _row_option("label_key")]
BatchKey = Annotated[str, _row_option("batch_key")]
LibraryKey = Annotated[str, _row_option("library_size_key")]
Protocol = Annotated[str, _row_option("protocol")]
Genes = Annotated[str, _row_option("genes")]
DonorKey = Annotated[str, _row_option("donor_key")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"countae {__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and stop.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Options before the verb."""


@app.command("list")
def list_members(
    kind: Annotated[
        Literal["likelihoods", "metrics", "baselines", "simulators", "protocols"],
        typer.Argument(help="What to list."),
    ],
) -> None:
    """Show what exists: losses, metrics, baselines, simulators, hold-out protocols.

    Example: countae list likelihoods
    """
    import importlib

    package = importlib.import_module(f"countae.{'simulate' if kind == 'simulators' else kind}")
    table = Table("name", "what it is")
    for name in package.names():
        member = package.get(name)
        meaning = getattr(member, "title", None) or getattr(member, "meaning", None)
        table.add_row(name, meaning or (member.__doc__ or "").strip().splitlines()[0])
    Console(soft_wrap=True).print(table)


@app.command()
@settings("simulate", "quality", "genes", "split")
def check(
    source: SourceArgument,
    layer: Layer = "",
    label_key: LabelKey = "",
    batch_key: BatchKey = "",
    library_size_key: LibraryKey = "",
    protocol: Protocol = "auto",
    wanted_genes: Genes = "all",
    donor_key: DonorKey = "",
    *,
    simulate: dict,
    quality: dict,
    genes: dict,
    split: dict,
) -> None:
    """Say what a matrix is and whether it can be used; writes nothing.

    Example: countae check counts.h5ad --label-key cell_type
    """
    from countae.prepare import prepare as run

    row = Source(
        source, layer, label_key, batch_key, library_size_key, protocol, wanted_genes, donor_key
    )
    _, triage = run(row, simulate=simulate, quality=quality, genes=genes, held_out=split)
    table = Table("", "raw", "modelled", title=source)
    for key, value in triage["raw"].items():
        table.add_row(key.replace("_", " "), _shown(value), _shown(triage["modelled"][key]))
    out = Console(soft_wrap=True, highlight=False)
    out.print(table)
    out.print("cells: " + ", ".join(f"{n:,} {part}" for part, n in triage["parts"].items()))
    for note in triage["notes"]:
        out.print(f"note: {note}")


def _shown(value: Any) -> str:
    """A number for a person."""
    if isinstance(value, list):
        return " to ".join(map(_shown, value))
    return (
        f"{value:,.4g}"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int)
        else value
    )


@app.command()
@settings("simulate")
def simulate(
    family: Annotated[str, typer.Argument(help="A simulator; see `countae list simulators`.")],
    output: Annotated[Path, typer.Argument(help="The .h5ad file to write.")],
    *,
    simulate: dict,
) -> None:
    """Make counts with known truth.

    Example: countae simulate nb counts.h5ad --n-cells 2000 --n-genes 500
    """
    from countae.files import written_aside
    from countae.prepare import simulated

    adata = simulated(family, simulate)
    with written_aside(output) as aside:
        adata.write_h5ad(aside, compression="gzip")
    log.print(f"{adata.n_obs:,} cells × {adata.n_vars:,} genes written to {output}")


@app.command()
@settings("simulate", "quality", "genes", "split")
def prepare(
    source: SourceArgument,
    output: Annotated[Path, typer.Argument(help="counts.h5ad to write.")],
    triage: Annotated[Path, typer.Option(help="triage.json to write.")],
    layer: Layer = "",
    label_key: LabelKey = "",
    batch_key: BatchKey = "",
    library_size_key: LibraryKey = "",
    protocol: Protocol = "auto",
    wanted_genes: Genes = "2000",
    donor_key: DonorKey = "",
    *,
    simulate: dict,
    quality: dict,
    genes: dict,
    split: dict,
) -> None:
    """Check raw counts, filter, split into cells and masked folds, choose genes.

    Example: countae prepare builtin:pbmc68k_reduced counts.h5ad --triage triage.json --genes all
    """
    from countae.files import write_json, written_aside
    from countae.prepare import prepare as run

    row = Source(
        source, layer, label_key, batch_key, library_size_key, protocol, wanted_genes, donor_key
    )
    matrix, found = run(row, simulate=simulate, quality=quality, genes=genes, held_out=split)
    for note in found["notes"]:
        log.print(f"note: {_escaped(note)}")
    with written_aside(triage) as aside:
        write_json(aside, found)
        matrix.save(output)
    log.print(f"{len(matrix.obs):,} cells × {len(matrix.gene_id):,} genes written to {output}")


@app.command()
def hide(
    counts: Annotated[Path, typer.Argument(help="counts.h5ad from `countae prepare`.")],
    output: Annotated[Path, typer.Argument(help="counts.h5ad to write.")],
    protocol: Annotated[str, typer.Option(help="See `countae list protocols`.")],
    model: Annotated[
        Path | None, typer.Option(help="Network around which NB splitting finds dispersions.")
    ] = None,
    threads: Threads = 1,
    device: Device = "auto",
) -> None:
    """Hide half of each count's molecules, for a protocol other than masked entries.

    Example: countae hide results/pbmc/counts.h5ad thinned.h5ad --protocol thinning
    """
    from countae import protocols

    protocols.check(protocol)
    matrix = _loaded(counts, threads)
    from countae.fit import load
    from countae.hold_out import hide as run

    network = None if model is None else load(config.existing_file(model, "model"), matrix)
    run(matrix, protocol, network=network, device=device).save(output)
    log.print(f"{protocol}: half of the molecules of {len(matrix.obs):,} cells hidden in {output}")


@app.command()
@settings("network", "training")
def fit(
    counts: Annotated[Path, typer.Argument(help="counts.h5ad from `countae prepare`.")],
    output: Annotated[Path, typer.Argument(help="model.safetensors to write.")],
    record: Annotated[Path, typer.Option(help="fit.json to write.")],
    likelihood: Annotated[str, typer.Option(help="The loss; see `countae list likelihoods`.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, order and masks.")] = 0,
    threads: Threads = 1,
    device: Device = "auto",
    *,
    network: dict,
    training: dict,
) -> None:
    """Train the autoencoder under one loss.

    Example: countae fit counts.h5ad model.safetensors --record fit.json --likelihood nb --seed 0
    """
    from countae import likelihoods

    likelihoods.check(likelihood)
    matrix = _loaded(counts, threads)
    from countae import fit as training_loop

    def progress(epoch: int, loss: float) -> None:
        if epoch % EPOCHS_BETWEEN_LINES == 0:
            log.print(f"epoch {epoch + 1}: validation loss {loss:.5f}")

    model, made = training_loop.fit(
        matrix, likelihood, seed=seed, network=network, training=training, device=device,
        progress=progress,
    )  # fmt: skip
    training_loop.save(model, made, output)
    made.to_json(record)
    log.print(
        f"{likelihood} seed {seed}: {made.stop_reason} after {len(made.train_loss)} epochs, best "
        f"{made.best_epoch + 1}, {made.seconds:.1f} s on {made.device}"
    )


@app.command()
def score(
    counts: Annotated[Path, typer.Argument(help="counts.h5ad from `countae prepare`.")],
    output: Annotated[Path, typer.Argument(help="scores.parquet to write.")],
    cells: Annotated[Path, typer.Option(help="cells.parquet to write: scores per cell.")],
    entries: Annotated[Path, typer.Option(help="entries.npz to write: log scores per entry.")],
    model: Annotated[Path | None, typer.Option(help="model.safetensors to score.")] = None,
    baseline: Annotated[
        str, typer.Option(help="Or a baseline; see `countae list baselines`.")
    ] = "",
    metrics: Annotated[str, typer.Option(help="Metrics, with commas; empty for all.")] = "",
    threads: Threads = 1,
    device: Device = "auto",
) -> None:
    """Score a network or a baseline on masked entries of held-out cells.

    Example: countae score counts.h5ad scores.parquet --cells cells.parquet --entries entries.npz
    --model model.safetensors
    """
    from countae import metrics as known

    if (model is None) == (not baseline):
        raise ConfigError("Name exactly one of --model and --baseline.")
    wanted = [known.check(name) for name in names(metrics)]
    matrix = _loaded(counts, threads)
    from countae.fit import load
    from countae.score import score_baseline, score_network

    if model is None:
        scores = score_baseline(baseline, matrix, wanted=wanted)
    else:
        network = load(config.existing_file(model, "model"), matrix)
        scores = score_network(network, matrix, wanted=wanted, device=device)
    scores.save(output, cells, entries)
    log.print(
        f"scores of {model or baseline} on {len(matrix.gene_id):,} genes written to {output}"
    )


@app.command()
@settings("verdict")
def verdict(
    folder: Annotated[Path, typer.Argument(help="Folder of one data set's results.")],
    output: Annotated[Path, typer.Argument(help="verdict.json to write.")],
    genes: Annotated[Path, typer.Option(help="verdict_genes.parquet to write.")],
    likelihoods: Annotated[str, typer.Option(help="Losses to compare.")],
    seeds: Annotated[str, typer.Option(help="Seeds of the fits.")],
    control_seeds: Annotated[str, typer.Option(help="Further seeds of the A/A arm.")] = "",
    protocols: Annotated[
        str, typer.Option(help="Further hold-out protocols whose verdicts are compared.")
    ] = "",
    *,
    verdict: dict,
) -> None:
    """Compare the losses of one data set: winner, tie, undecided, or abstain with the reason.

    Example: countae verdict results/pbmc verdict.json --genes genes.parquet --likelihoods nb,zinb
    --seeds 0,1,2
    """
    from countae.counts import CountMatrix
    from countae.files import read_json, write_json, written_aside
    from countae.gene_verdict import describe_genes
    from countae.protocol_verdict import compared
    from countae.results import Results
    from countae.verdict import decide

    results = Results(
        folder, names(likelihoods), numbers(seeds), verdict["control"], numbers(control_seeds)
    )
    matrix = CountMatrix.load(folder / "counts.h5ad")
    name = folder.name if matrix.protocol == "masked" else folder.parent.name
    found, table = decide(
        results, verdict, dataset=name, gene_table=describe_genes(matrix),
        donors=matrix.test_donors,
    )  # fmt: skip
    found["protocol"] = matrix.protocol
    others = {other: read_json(results.verdict_of(other)) for other in names(protocols)}
    found["protocols"] = compared(found, others)
    with written_aside(genes) as aside:
        table.to_parquet(aside, index=False)
    write_json(output, found)
    log.print(found["sentence"])


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Folder of one data set's results.")],
    output: Annotated[Path, typer.Argument(help="The .h5ad file to write.")],
    likelihoods: Annotated[str, typer.Option(help="Losses to include.")],
    seed: Annotated[int, typer.Option(help="Seed of the networks.")] = 0,
    denoised: Annotated[
        bool, typer.Option("--denoised/--no-denoised", help="Add a dense layer per loss.")
    ] = True,
    threads: Threads = 1,
) -> None:
    """Write counts, denoised layers, latents and per-gene columns for scanpy.

    Example: countae export results/pbmc pbmc.h5ad --likelihoods nb,zinb
    """
    import pandas as pd

    from countae.files import read_json, written_aside

    matrix = _loaded(folder / "counts.h5ad", threads)
    from countae.export import export as run
    from countae.fit import load

    losses = names(likelihoods)
    fits = ((name, folder / name / f"seed{seed}") for name in losses)
    networks = ((name, load(path / "model.safetensors", matrix)) for name, path in fits)
    adata = run(
        matrix,
        networks,
        verdict=read_json(folder / "verdict.json"),
        genes=pd.read_parquet(folder / "verdict_genes.parquet"),
        triage=read_json(folder / "triage.json"),
        denoised=denoised,
    )
    with written_aside(output) as aside:
        adata.write_h5ad(aside, compression="gzip")
    log.print(
        f"{output}: {adata.n_obs:,} cells × {adata.n_vars:,} genes, layers {[*adata.layers]}"
    )


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="Folders of data sets' results.")],
    output: Annotated[Path, typer.Option(help="The .html page to write.")],
    title: Annotated[
        str, typer.Option(help=config.section("report")["title"]["description"])
    ] = config.defaults("report")["title"],
) -> None:
    """Write the report: one page that opens from disk without a network.

    Example: countae report results/pbmc results/simulated_nb --output report.html
    """
    from countae.report import write_report

    write_report(folders, output, title=title)
    log.print(f"{output}: {output.stat().st_size / 1e6:.1f} MB")


@app.command()
def rank(
    folders: Annotated[list[Path], typer.Argument(help="Folders of data sets' results.")],
    output: Annotated[Path, typer.Option(help="ranking.json to write.")],
) -> None:
    """Rank the losses over data sets, with Friedman's test when there are enough.

    Example: countae rank results/pbmc results/simulated_nb --output ranking.json
    """
    from countae import ranking
    from countae.files import write_json

    found = ranking.rank(ranking.read_verdicts(folders))
    write_json(output, found)
    log.print(_escaped(found["reason"]))


@app.command()
def explain(
    verdicts: Annotated[list[Path], typer.Argument(help="verdict.json files.")],
    short: Annotated[
        bool, typer.Option("--short/--long", help="One sentence, or the reasons as well.")
    ] = False,
) -> None:
    """Tell verdicts as prose.

    Example: countae explain results/pbmc68k/verdict.json
    """
    from countae.files import read_json

    for path in verdicts:
        found = read_json(config.existing_file(path, "verdict.json"))
        typer.echo(found["sentence"])
        if short:
            continue
        for name, axis in found["axes"].items():
            typer.echo(f"  {name} ({axis['outcome']}): {axis['reason']}")
        typer.echo(f"  zero inflation: {found['zero_inflation']['reason']}")


@app.command()
def run(
    matrix: SourceArgument,
    out: Annotated[Path, typer.Option("--out", help="Folder for everything that is made.")],
    layer: Layer = "",
    label_key: LabelKey = "",
    batch_key: BatchKey = "",
    library_size_key: LibraryKey = "",
    protocol: Protocol = "auto",
    genes: Genes = "2000",
    donor_key: DonorKey = "",
    likelihoods: Annotated[str, typer.Option(help="Losses; empty for the default ones.")] = "",
    seeds: Annotated[str, typer.Option(help="Seeds; empty for the default ones.")] = "",
    cores: Annotated[int, typer.Option(min=1, help="Jobs at a time.")] = os.cpu_count() or 1,
) -> None:
    """Everything on one matrix: writes a configuration and runs the Snakemake workflow.

    Example: countae run counts.h5ad --out results_of_mine --label-key cell_type
    """
    from countae.launch import launch

    row = Source(matrix, layer, label_key, batch_key, library_size_key, protocol, genes, donor_key)
    chosen: dict[str, Any] = {}
    if likelihoods:
        losses = chosen["likelihoods"] = names(likelihoods)
        if config.defaults("verdict")["control"] not in losses:
            chosen["verdict"] = {"control": losses[0]}
    if seeds:
        chosen["seeds"] = numbers(seeds)
    page, sentence = launch(row, chosen, out, cores=cores)
    typer.echo(sentence)
    typer.echo(page)


def _loaded(counts: Path, threads: int) -> Any:
    """Prepared counts, with torch's threads set; torch loads after the file was found good."""
    from countae.counts import CountMatrix

    matrix = CountMatrix.load(counts)
    import torch

    torch.set_num_threads(threads)
    return matrix


def main() -> None:
    """Entry point: errors of the input are printed without a traceback and exit with 2."""
    try:
        app()
    except (CountaeError, OSError) as error:
        log.print(f"[bold red]error:[/] {_escaped(str(error))}")
        sys.exit(2)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
