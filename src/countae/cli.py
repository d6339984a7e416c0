"""The command line: one verb per step of the workflow. Heavy libraries load inside the verbs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from countae import __version__, config, sources
from countae.cli_fit import fit, hide, peer, score, tune, tune_trial
from countae.cli_list import list_members, new_likelihood
from countae.cli_report import figures, report
from countae.cli_status import status
from countae.cli_stress import downstream, stress, stress_table
from countae.cli_tell import explain, rank, referee
from countae.cli_verdict import bootstrap, rehearse, verdict
from countae.config import Source
from countae.errors import CountaeError, StorageError, told
from countae.files import lack_of_room
from countae.options import (
    LARGEST_SEED,
    Folder,
    Threads,
    completing,
    escaped,
    loaded,
    log,
    names,
    numbers,
    settings,
)
from countae.paths import Input, Output, kept_apart, names_of_results
from countae.progress import show_on
from countae.registry import PLUGINS, use_plugins

app = typer.Typer(
    name="countae",
    help="Which loss tells the story of your single-cell counts, and the model that does.\n\n"
    "Example: countae run counts.h5ad",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SourceArgument = Annotated[
    str,
    typer.Argument(help=config.schema("datasets")["properties"]["source"]["description"]),
    Input(sources.parts),
]


def _row_option(key: str) -> Any:
    rule = config.schema("datasets")["properties"][key]
    return typer.Option(f"--{key.replace('_', '-')}", help=rule["description"])


Layer = Annotated[str, _row_option("layer")]
LabelKey = Annotated[str, _row_option("label_key")]
BatchKey = Annotated[str, _row_option("batch_key")]
LibraryKey = Annotated[str, _row_option("library_size_key")]
Protocol = Annotated[str, _row_option("protocol")]
Genes = Annotated[str, _row_option("genes"), Input()]
DonorKey = Annotated[str, _row_option("donor_key")]
Orientation = Annotated[str, _row_option("orientation")]
ProteinKey = Annotated[str, _row_option("protein_key")]


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
    plugins: Annotated[
        str,
        typer.Option(help=config.schema()["properties"]["plugins"]["description"], envvar=PLUGINS),
    ] = "",
) -> None:
    """Options before the verb."""
    if plugins:
        use_plugins(plugins)


@settings("simulate")
def check(
    source: SourceArgument,
    layer: Layer = "",
    orientation: Orientation = "auto",
    protein_key: ProteinKey = "",
    written: Annotated[
        Path | None,
        typer.Option("--json", help="File for all findings, with every name."),
        Output("triage.json"),
    ] = None,
    *,
    simulate: dict,
) -> None:
    """Say what a matrix is, whether it can be used, and what to mend. Exits with 2 if it cannot.

    Example: countae check counts.h5ad --json triage.json
    """
    from countae.files import write_json
    from countae.proteins import protein_table
    from countae.triage._show import show

    if protein_key:
        protein_table(sources.parts(source)[0], protein_key)
    found = _examined(source, layer, orientation, simulate)
    if written is not None:
        write_json(written, found.to_json() | {"source_files": _provenance(source)})
    show(found, Console(highlight=False, soft_wrap=not sys.stdout.isatty()))
    found.require_counts()


def _examined(source: str, layer: str, orientation: str, simulation: dict[str, Any]) -> Any:
    """The triage of a source."""
    from countae.counts.readers import open_counts
    from countae.prepare import simulated
    from countae.triage._run import examine

    return examine(
        open_counts(
            source, layer=layer, orientation=orientation,
            simulate=lambda family: simulated(family, simulation),
        )
    )  # fmt: skip


def _provenance(source: str) -> dict[str, dict[str, Any]]:
    """Checksum and bytes of each file or folder of a source that is here."""
    from countae.files import provenance

    return {name: provenance(name) for name in sources.parts(source) if Path(name).exists()}


def fetch(
    address: Annotated[str, typer.Argument(help="A web address; `#sha256=…` is verified.")],
    output: Annotated[
        Path, typer.Argument(help="File to write; its ending tells the format."), Output()
    ],
) -> None:
    """Get a count matrix from the web, whole or not at all.

    Example: countae fetch https://example.org/counts.h5ad counts.h5ad
    """
    from countae.sources import fetch as run

    log.print(f"{output}: {run(address, output):,} bytes")


@settings("simulate")
def simulate(
    family: Annotated[
        str,
        typer.Argument(
            help="A simulator; see `countae list simulators`.",
            autocompletion=completing("simulate"),
        ),
    ],
    output: Annotated[Path, typer.Argument(help="The .h5ad file to write."), Output("*.h5ad")],
    threads: Threads = 1,
    *,
    simulate: dict,
) -> None:
    """Make counts with known truth; above 100 million entries without that of single entries.

    Example: countae simulate nb counts.h5ad --n-cells 2000 --n-genes 500
    """
    from countae.files import written_aside
    from countae.prepare import simulated
    from countae.simulate import _stream, get

    cells, genes = simulate["n_cells"], simulate["n_genes"]
    if cells * genes > _stream.MOST_WITH_TRUTH:
        _stream.write(get(family), simulate, output, threads=threads)
    else:
        with written_aside(output) as aside:
            simulated(family, simulate).write_h5ad(aside, compression="gzip")
    log.print(f"{cells:,} cells × {genes:,} genes written to {output}")


@settings("simulate", "quality", "genes", "split")
def prepare(
    source: SourceArgument,
    output: Annotated[Path, typer.Argument(help="counts.h5ad to write."), Output("counts.h5ad")],
    triage: Annotated[Path, typer.Option(help="triage.json to write."), Output("triage.json")],
    layer: Layer = "",
    label_key: LabelKey = "",
    batch_key: BatchKey = "",
    library_size_key: LibraryKey = "",
    protocol: Protocol = "auto",
    wanted_genes: Genes = "2000",
    donor_key: DonorKey = "",
    orientation: Orientation = "auto",
    protein_key: ProteinKey = "",
    *,
    simulate: dict,
    quality: dict,
    genes: dict,
    split: dict,
) -> None:
    """Check raw counts, filter, split into cells and masked folds, choose genes.

    Example: countae prepare builtin:pbmc68k_reduced counts.h5ad --triage triage.json --genes all
    """
    from countae.files import write_json, write_together
    from countae.prepare import plan
    from countae.triage._run import examine

    row = Source(
        source, layer, label_key, batch_key, library_size_key, protocol, wanted_genes, donor_key,
        orientation, protein_key,
    )  # fmt: skip
    found = plan(row, simulate=simulate, quality=quality, genes=genes, held_out=split)
    found.triage["findings"] = examine(found.reader).to_json()["findings"]
    found.triage["source_files"] = _provenance(source)
    for note in found.triage["notes"]:
        log.print(f"note: {escaped(note)}")
    write_together({triage: lambda aside: write_json(aside, found.triage), output: found.write})
    made = found.triage["modelled"]
    log.print(f"{made['cells']:,} cells × {made['genes']:,} genes written to {output}")


def export(
    folder: Folder,
    output: Annotated[
        Path, typer.Argument(help="The .h5ad file, or .zarr folder, to write."), Output()
    ],
    likelihoods: Annotated[
        str,
        typer.Option(
            help="Losses to include, with commas.", autocompletion=completing("likelihoods")
        ),
    ],
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of the networks.")] = 0,
    denoised: Annotated[
        bool, typer.Option("--denoised/--no-denoised", help="Add a dense layer per loss.")
    ] = True,
    threads: Threads = 1,
) -> None:
    """Write counts, denoised layers, latents and per-gene columns for scanpy.

    Example: countae export results/pbmc pbmc.h5ad --likelihoods nb,zinb
    """
    from countae.files import read_table, with_keys

    matrix = loaded(folder / "counts.h5ad", threads)
    from countae.export import MOST_DENOISED, check_output, fits, write
    from countae.export import export as run
    from countae.fit import load

    check_output(output)
    losses = names(likelihoods)
    folders = ((name, folder / name / f"seed{seed}") for name in losses)
    networks = ((name, load(path / "model.safetensors", matrix)) for name, path in folders)
    if denoised and not fits(matrix, len(losses)):
        denoised = False
        log.print(
            f"note: denoised layers of {len(losses)} losses are left out, since they have more "
            f"than {MOST_DENOISED:,} entries. Fix: name fewer losses, or prepare fewer genes."
        )
    adata = run(
        matrix,
        networks,
        verdict=with_keys(folder / "verdict.json", "verdict.json", "axes", "sentence"),
        genes=read_table(folder / "verdict_genes.parquet"),
        triage=with_keys(folder / "triage.json", "triage.json", "settings", "parts"),
        denoised=denoised,
    )
    write(adata, output)
    log.print(
        f"{output}: {adata.n_obs:,} cells × {adata.n_vars:,} genes, layers {[*adata.layers]}"
    )


def run(
    matrix: SourceArgument,
    out: Annotated[
        Path,
        typer.Option("--out", "--output", help="Folder for everything that is made."),
        Output(),
    ],
    layer: Layer = "",
    label_key: LabelKey = "",
    batch_key: BatchKey = "",
    library_size_key: LibraryKey = "",
    protocol: Protocol = "auto",
    genes: Genes = "2000",
    donor_key: DonorKey = "",
    orientation: Orientation = "auto",
    likelihoods: Annotated[
        str,
        typer.Option(
            help="Losses, with commas; empty for the default ones.",
            autocompletion=completing("likelihoods"),
        ),
    ] = "",
    seeds: Annotated[
        str, typer.Option(help="Seeds, with commas; empty for the default ones.")
    ] = "",
    cores: Annotated[int, typer.Option(min=1, help="Jobs at a time.")] = os.cpu_count() or 1,
) -> None:
    """Everything on one matrix: writes a configuration and runs the Snakemake workflow.

    Example: countae run counts.h5ad --out results_of_mine --label-key cell_type
    """
    from countae.launch import launch

    row = Source(
        matrix, layer, label_key, batch_key, library_size_key, protocol, genes, donor_key,
        orientation,
    )  # fmt: skip
    chosen: dict[str, Any] = {}
    if likelihoods:
        losses = chosen["likelihoods"] = names(likelihoods)
        if config.defaults("verdict")["control"] not in losses:
            chosen["verdict"] = {"control": losses[0]}
    if seeds:
        chosen["seeds"] = numbers(seeds, "--seeds")
    if os.environ.get(PLUGINS):
        chosen["plugins"] = os.environ[PLUGINS]
    page, sentence = launch(row, chosen, out, cores=cores)
    typer.echo(sentence)
    typer.echo(page)


VERBS: dict[str, list[Callable[..., None]]] = {
    "Start here": [run, check, explain, status, list_members],
    "Steps of the workflow, in their order": [
        prepare, hide, tune_trial, tune, fit, peer, score, bootstrap, verdict, rank, export,
        report,
    ],
    "More": [
        fetch, simulate, rehearse, referee, stress, stress_table, downstream, figures,
        new_likelihood,
    ],
}  # fmt: skip
RESULTS = names_of_results(verb for verbs in VERBS.values() for verb in verbs)
for panel, verbs in VERBS.items():
    for verb in verbs:
        name = "list" if verb is list_members else verb.__name__.replace("_", "-")
        app.command(name, rich_help_panel=panel)(kept_apart(verb, RESULTS))


def main() -> None:
    """Entry point: errors of the input are printed without a traceback and exit with 2."""
    sys.unraisablehook, sys.excepthook = _unraisable, _uncaught
    show_on(log)
    try:
        typer.main.get_command(app)()  # calling the app itself would set another excepthook
    except (CountaeError, OSError) as error:
        log.print(f"[bold red]error:[/] {escaped(told(error))}")
        if isinstance(error, StorageError):  # HDF5 crashes at exit after a file without room
            os._exit(2)
        sys.exit(2)


def _unraisable(found: Any) -> None:
    """Report an error where none can be raised, unless it only says again that a disk is full."""
    if not lack_of_room(found.exc_value):
        sys.__unraisablehook__(found)


def _uncaught(kind: Any, error: BaseException, trace: Any) -> None:
    """The same; h5py prints a file's failure to close as if nobody had caught it."""
    if not lack_of_room(error):
        sys.__excepthook__(kind, error, trace)
