"""The verbs that hide, fit, tune and score. Heavy libraries load inside the verbs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from countae import config
from countae.errors import ConfigError, FitDivergedError
from countae.files import check_places
from countae.options import (
    Counts,
    Device,
    Devices,
    Nodes,
    Seed,
    Threads,
    completing,
    escaped,
    loaded,
    log,
    names,
    settings,
)
from countae.paths import Input, Output

Likelihood = Annotated[
    str,
    typer.Option(
        help="The loss; see `countae list likelihoods`.", autocompletion=completing("likelihoods")
    ),
]
SharedThreads = Annotated[
    int,
    typer.Option(
        "--threads",
        min=1,
        help="Processor threads of torch, shared by the devices of a machine.",
    ),
]
CheckpointSeconds = Annotated[
    float,
    typer.Option(
        min=0,
        envvar="COUNTAE_CHECKPOINT_SECONDS",
        help="Training that a kill may cost, in seconds; the result is the same.",
    ),
]


def hide(
    counts: Counts,
    output: Annotated[Path, typer.Argument(help="counts.h5ad to write."), Output("counts.h5ad")],
    protocol: Annotated[
        str,
        typer.Option(help="See `countae list protocols`.", autocompletion=completing("protocols")),
    ],
    model: Annotated[
        Path | None,
        typer.Option(help="Network around which NB splitting finds dispersions."),
        Input(),
    ] = None,
    threads: Threads = 1,
    device: Device = "auto",
) -> None:
    """Hide half of each count's molecules, for a protocol other than masked entries.

    Example: countae hide results/pbmc/counts.h5ad thinned.h5ad --protocol thinning
    """
    from countae import protocols

    protocols.check(protocol)
    matrix = loaded(counts, threads)
    from countae.fit import load
    from countae.hold_out import write_hidden

    network = None if model is None else load(config.existing_file(model, "model"), matrix)
    write_hidden(matrix, protocol, output, network=network, device=device)
    log.print(f"{protocol}: half of the molecules of {len(matrix.obs):,} cells hidden in {output}")


@settings("network", "training")
def fit(
    counts: Counts,
    output: Annotated[
        Path, typer.Argument(help="model.safetensors to write."), Output("model.safetensors")
    ],
    record: Annotated[Path, typer.Option(help="fit.json to write."), Output("fit.json")],
    likelihood: Likelihood,
    seed: Seed = 0,
    threads: SharedThreads = 1,
    device: Device = "auto",
    devices: Devices = 1,
    nodes: Nodes = 1,
    tuned: Annotated[
        Path | None,
        typer.Option(help="tuning.json from `countae tune`, in place of all settings below."),
        Input(),
    ] = None,
    checkpoint_seconds: CheckpointSeconds = 30.0,
    *,
    network: dict,
    training: dict,
) -> None:
    """Train the autoencoder under one loss.

    Example: countae fit counts.h5ad model.safetensors --record fit.json --likelihood nb --seed 0
    """
    from countae import likelihoods

    likelihoods.check(likelihood)
    budget = 0
    if tuned is not None:
        from countae.tuning import read_chosen

        chosen, budget = read_chosen(config.existing_file(tuned, "tuning.json"), likelihood)
        network = config.completed("network", chosen.network)
        training = config.completed("training", chosen.training)
    check_places(output, record)
    matrix = _for_one_of(counts, threads, devices, nodes)
    from countae import fit as training_loop
    from countae.checkpoint import Checkpoint
    from countae.devices import is_first
    from countae.files import write_together

    kept = Checkpoint(output, seconds=checkpoint_seconds, tell=_told)
    model, made = training_loop.fit(
        matrix, likelihood, seed=seed, network=network, training=training, device=device,
        devices=devices, nodes=nodes, checkpoint=kept,
    )  # fmt: skip
    if not is_first():
        return
    made.tuning_trials = budget
    write_together(
        {output: lambda aside: training_loop.save(model, made, aside), record: made.to_json}
    )
    kept.remove()
    log.print(
        f"{likelihood} seed {seed}: {made.stop_reason} after {len(made.train_loss)} epochs, best "
        f"{made.best_epoch + 1}, {made.seconds:.1f} s on {made.device}"
    )


@settings("network", "training")
def tune_trial(
    counts: Counts,
    output: Annotated[Path, typer.Argument(help="trial.json to write."), Output("trial*.json")],
    likelihood: Likelihood,
    seed: Seed = 0,
    threads: SharedThreads = 1,
    device: Device = "auto",
    devices: Devices = 1,
    nodes: Nodes = 1,
    checkpoint_seconds: CheckpointSeconds = 30.0,
    *,
    network: dict,
    training: dict,
) -> None:
    """Train under settings on trial; keep the validation loss, also of a fit that diverges.

    Example: countae tune-trial counts.h5ad trial1.json --likelihood nb --learning-rate 0.002
    """
    from countae import likelihoods
    from countae.tuning import Settings, Trial

    likelihoods.check(likelihood)
    check_places(output)
    matrix = _for_one_of(counts, threads, devices, nodes)
    from countae import fit as training_loop
    from countae.checkpoint import Checkpoint
    from countae.devices import is_first

    began, tried = time.perf_counter(), Settings(network, training)
    kept = Checkpoint(output, seconds=checkpoint_seconds, tell=_told)
    try:
        _, made = training_loop.fit(
            matrix, likelihood, seed=seed, network=network, training=training, device=device,
            devices=devices, nodes=nodes, checkpoint=kept,
        )  # fmt: skip
    except FitDivergedError as error:
        seconds = time.perf_counter() - began
        trial = Trial(likelihood, seed, tried, None, None, "diverged", seconds, str(error))
        _told(f"{likelihood}: {trial.message}")
    else:
        trial = Trial(
            likelihood, seed, tried, made.validation_loss[made.best_epoch], made.best_epoch,
            made.stop_reason, made.seconds,
        )  # fmt: skip
        _told(f"{likelihood}: validation loss {trial.validation_loss:.5f}")
    if is_first():
        trial.to_json(output)
        kept.remove()


def _for_one_of(counts: Path, threads: int, devices: int, nodes: int) -> Any:
    """Prepared counts for one of the processes that share a fit, with its share of the threads."""
    matrix = loaded(counts, max(1, threads // devices))
    from countae.devices import check_copies

    check_copies(devices, nodes)
    return matrix


def _told(sentence: str) -> None:
    """Print a sentence, once for all processes that train one network."""
    from countae.devices import is_first

    if is_first():
        log.print(escaped(sentence))


def tune(
    trials: Annotated[list[Path], typer.Argument(help="Trials of one loss."), Input()],
    output: Annotated[Path, typer.Option(help="tuning.json to write."), Output("tuning.json")],
) -> None:
    """Choose the settings of one loss: the trial with its lowest validation loss.

    Example: countae tune trial0.json trial1.json trial2.json --output tuning.json
    """
    from countae import tuning
    from countae.files import write_json

    paths = [config.existing_file(path, "trial.json") for path in trials]
    found = tuning.chosen([tuning.read_trial(path) for path in paths])
    write_json(output, found)
    log.print(f"{found['likelihood']}: best of {found['budget']} trials, {found['chosen']}")


def peer(
    counts: Counts,
    output: Annotated[
        Path, typer.Argument(help="predictions.npz to write."), Output("predictions.npz")
    ],
    name: Annotated[str, typer.Option("--peer", help="See `countae list peers`.")],
    record: Annotated[
        Path, typer.Option(help="peer.json to write: versions, epochs, cost."), Output("peer.json")
    ],
    seed: Seed = 0,
    threads: Threads = 1,
) -> None:
    """Train another program's network by its own code, and let it predict hidden entries.

    Needs the extra `peers`. Example: countae peer counts.h5ad predictions.npz --peer scvi_zinb
    --record peer.json
    """
    from countae import peers

    member = peers.get(name)()
    check_places(output, record)
    matrix = loaded(counts, threads)
    from countae.files import write_json, write_together

    found, notes = member.run(matrix, seed=seed)
    write_together(
        {
            output: lambda aside: found.save(aside, matrix.info["checksum"]),
            record: lambda aside: write_json(aside, notes),
        }
    )
    log.print(f"{member.title}, seed {seed}: {notes['seconds']:.0f} s, predictions in {output}")


def score(
    counts: Counts,
    output: Annotated[
        Path, typer.Argument(help="scores.parquet to write."), Output("scores.parquet")
    ],
    cells: Annotated[
        Path,
        typer.Option(help="cells.parquet to write: scores per cell."),
        Output("cells.parquet"),
    ],
    entries: Annotated[
        Path,
        typer.Option(help="entries.npz to write: log scores per entry."),
        Output("entries.npz"),
    ],
    model: Annotated[
        Path | None, typer.Option(help="model.safetensors to score."), Input()
    ] = None,
    baseline: Annotated[
        str,
        typer.Option(
            help="Or a baseline; see `countae list baselines`.",
            autocompletion=completing("baselines"),
        ),
    ] = "",
    metrics: Annotated[
        str,
        typer.Option(
            help="Metrics, with commas; empty for all.", autocompletion=completing("metrics")
        ),
    ] = "",
    predictions: Annotated[
        Path | None,
        typer.Option(help="Or what `countae peer` or another program predicted."),
        Input(),
    ] = None,
    threads: Threads = 1,
    device: Device = "auto",
) -> None:
    """Score a network or a baseline on masked entries of held-out cells.

    Example: countae score counts.h5ad scores.parquet --cells cells.parquet --entries entries.npz
    --model model.safetensors
    """
    from countae import metrics as known

    if [model is None, not baseline, predictions is None].count(False) != 1:
        raise ConfigError("Name exactly one of --model, --baseline and --predictions.")
    wanted = [known.check(name) for name in names(metrics)]
    check_places(output, cells, entries)
    matrix = loaded(counts, threads)
    from countae.fit import load
    from countae.score import score_baseline, score_network, score_predictions

    if model is not None:
        network = load(config.existing_file(model, "model"), matrix)
        scores = score_network(network, matrix, wanted=wanted, device=device)
    elif predictions is not None:
        path = config.existing_file(predictions, "file of predictions")
        scores = score_predictions(path, matrix, wanted=wanted)
    else:
        scores = score_baseline(baseline, matrix, wanted=wanted)
    for table in (scores.table, scores.cells):
        table.attrs["counts"] = matrix.info["checksum"]
    scores.save(output, cells, entries)
    of = model or baseline or predictions
    log.print(f"scores of {of} on {len(matrix.gene_id):,} genes written to {output}")
