"""The verbs that decide: bootstrap, verdict, rehearsals, referee, explain."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from countae import config
from countae.errors import ConfigError, ScoreError
from countae.files import check_places
from countae.options import (
    LARGEST_SEED,
    Counts,
    Device,
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
from countae.paths import Input, Output

if TYPE_CHECKING:
    from countae.counts import CountMatrix
    from countae.results import Results

Losses = Annotated[
    str,
    typer.Option(
        "--likelihoods",
        help="Losses to compare, with commas.",
        autocompletion=completing("likelihoods"),
    ),
]
Seeds = Annotated[str, typer.Option("--seeds", help="Seeds of the fits, with commas.")]
ControlSeeds = Annotated[str, typer.Option(help="Further seeds of the A/A arm, with commas.")]
Tuned = Annotated[
    str,
    typer.Option("--tuned", help="tuning.json of each loss, with commas; empty for none."),
    Input(names),
]


@settings("network", "training", "verdict")
def bootstrap(
    folder: Folder,
    output: Annotated[
        Path, typer.Argument(help="bootstrap.json to write."), Output("bootstrap.json")
    ],
    likelihoods: Losses,
    seeds: Seeds,
    control_seeds: ControlSeeds = "",
    tuned: Tuned = "",
    threads: Threads = 1,
    device: Device = "auto",
    *,
    network: dict,
    training: dict,
    verdict: dict,
) -> None:
    """Draw data from simpler families' fits, where overdispersion or extra zeros are in question.

    Example: countae bootstrap results/pbmc results/pbmc/bootstrap.json --likelihoods poisson,nb
    --seeds 0,1,2
    """
    check_places(output)
    matrix = loaded(folder / "counts.h5ad", threads)
    from countae.files import write_json
    from countae.fit import load
    from countae.rehearsal import draw_simpler, fitted_design
    from countae.story import questions

    results = _results(folder, likelihoods, seeds, control_seeds, verdict)
    found, _ = _decided(matrix, results, verdict)
    asked, drawn = questions(found), {}
    if asked and verdict["bootstrap"]:
        place = results.existing(results.control, results.seeds[0], "model.safetensors")
        model = load(place, matrix)
        plan = fitted_design(model, matrix, device=device)
        drawn = draw_simpler(
            matrix, plan, found, device=device,
            settings={
                "network": network, "training": training, "verdict": verdict,
                "tuned": _tuned(tuned, likelihoods),
            },
        )  # fmt: skip
    write_json(output, drawn)
    log.print(
        f"{folder.name}: "
        + (
            ", ".join(f"{len(made)} data sets drawn from {name}" for name, made in drawn.items())
            or (
                "switched off by verdict.bootstrap: 0"
                if asked
                else "no question that data drawn from a fit could answer"
            )
        )
    )


@settings("verdict")
def verdict(
    folder: Folder,
    output: Annotated[Path, typer.Argument(help="verdict.json to write."), Output("verdict.json")],
    genes: Annotated[
        Path, typer.Option(help="verdict_genes.parquet to write."), Output("verdict_genes.parquet")
    ],
    likelihoods: Losses,
    seeds: Seeds,
    control_seeds: ControlSeeds = "",
    protocols: Annotated[
        str,
        typer.Option(
            help="Further hold-out protocols whose verdicts are compared, with commas.",
            autocompletion=completing("protocols"),
        ),
    ] = "",
    drawn: Annotated[
        Path | None, typer.Option(help="bootstrap.json of `countae bootstrap`."), Input()
    ] = None,
    *,
    verdict: dict,
) -> None:
    """Compare the losses of one data set: winner, tie, undecided, or abstain with the reason.

    Example: countae verdict results/pbmc verdict.json --genes genes.parquet --likelihoods nb,zinb
    --seeds 0,1,2
    """
    from countae.counts import CountMatrix
    from countae.files import read_json, write_json, write_table, write_together
    from countae.protocol_verdict import compared

    results = _results(folder, likelihoods, seeds, control_seeds, verdict)
    matrix = CountMatrix.load(folder / "counts.h5ad")
    replicates = {} if drawn is None else _replicates(drawn)
    found, table = _decided(matrix, results, verdict, drawn=replicates)
    found["protocol"] = matrix.protocol
    others = {other: read_json(results.verdict_of(other)) for other in names(protocols)}
    found["protocols"] = compared(found, others)
    write_together(
        {
            genes: lambda aside: write_table(aside, table),
            output: lambda aside: write_json(aside, found),
        }
    )
    log.print(escaped(found["sentence"]))


@settings("network", "training", "verdict")
def rehearse(
    counts: Counts,
    output: Annotated[Path, typer.Argument(help="The .json file to write."), Output("*.json")],
    model: Annotated[
        Path, typer.Option(help="Network whose means are simulated around."), Input()
    ],
    family: Annotated[
        str,
        typer.Option(
            help="True family; see `countae list simulators`.",
            autocompletion=completing("simulate"),
        ),
    ],
    likelihoods: Losses,
    seeds: Seeds,
    tuned: Tuned = "",
    replicate: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of the simulated counts.")
    ] = 0,
    threads: Threads = 1,
    device: Device = "auto",
    *,
    network: dict,
    training: dict,
    verdict: dict,
) -> None:
    """Run the whole comparison on counts of a known family, drawn from your own fit.

    Example: countae rehearse results/pbmc/counts.h5ad nb-0.json --family nb --likelihoods nb,zinb
    --model results/pbmc/nb/seed0/model.safetensors --seeds 0,1,2
    """
    from countae import simulate

    simulate.check(family)
    check_arms(likelihoods, seeds)
    check_places(output)
    matrix = loaded(counts, threads)
    if matrix.protocol != "masked":
        raise ConfigError(
            f"{counts}: rehearsals need the counts.h5ad of `countae prepare`, but this one hides "
            f"molecules ({matrix.protocol}). Fix: name the one in the folder above."
        )
    from countae.files import write_json
    from countae.fit import load
    from countae.rehearsal import fitted_design
    from countae.rehearsal import rehearse as run

    plan = fitted_design(load(config.existing_file(model, "model"), matrix), matrix, device=device)
    made = run(
        matrix, plan, family, replicate=replicate, likelihoods=names(likelihoods),
        seeds=numbers(seeds, "--seeds"), device=device,
        settings={
            "network": network, "training": training, "verdict": verdict,
            "tuned": _tuned(tuned, likelihoods),
        },
    )  # fmt: skip
    write_json(output, made)
    log.print(f"{family} {replicate}: {made['story']['reason']}")


def check_arms(likelihoods: str, seeds: str) -> None:
    """Raise ConfigError unless two losses and a seed are compared, none of them twice."""
    losses, numbered = names(likelihoods), numbers(seeds, "--seeds")
    if len(losses) < 2 or len(set(losses)) < len(losses):
        raise ConfigError(
            f"--likelihoods must name two or more different losses, but is {likelihoods!r}. Fix: "
            "write them with commas, like poisson,nb,zinb."
        )
    if not numbered or len(set(numbered)) < len(numbered):
        raise ConfigError(
            f"--seeds must name one or more different seeds, but is {seeds!r}: the same fit twice "
            "would pass for two. Fix: write them with commas, like 0,1,2."
        )
    _check_seeds(numbered, "--seeds")


def _check_seeds(seeds: list[int], option: str) -> None:
    """Raise ConfigError for a seed that the generators do not take."""
    wrong = [seed for seed in seeds if not 0 <= seed <= LARGEST_SEED]
    if wrong:
        raise ConfigError(
            f"{option} must be whole numbers from 0 to {LARGEST_SEED}, but has {wrong[0]}. Fix: "
            "choose smaller ones, like 0,1,2."
        )


def _replicates(path: Path) -> dict[str, list[dict[str, Any]]]:
    """What ``countae bootstrap`` wrote; ScoreError for another file or a lacking statistic."""
    from countae.files import read_json
    from countae.story import RIVALS

    found = read_json(config.existing_file(path, "bootstrap.json"))
    if (
        not isinstance(found, dict)
        or set(found) - set(RIVALS)
        or not all(isinstance(made, list) for made in found.values())
    ):
        raise ScoreError(
            f"{path}: must be a bootstrap.json, with lists of statistics by family, but is not. "
            "Fix: name the file that `countae bootstrap` wrote."
        )
    for family, made in found.items():
        for number, record in enumerate(made):
            _check_replicate(record, family, f"{path}: {family}.{number}")
    return found


def _check_replicate(record: Any, family: str, where: str) -> None:
    """Raise ScoreError unless a replicate has a number for each statistic that is read of it."""
    from countae.story import ASKED, DROPOUT, PLAIN

    needed = [name for asked in ASKED.values() for name, of in asked.items() if of == family]
    if family in (PLAIN, DROPOUT):  # these two are compared with each other
        needed = [*ASKED["zero_inflation"]]
    needed += ["zero_p"] if family == DROPOUT else []
    known = record if isinstance(record, dict) else {}
    wrong = [name for name in needed if not _is_number(known.get(name))]
    if wrong or not isinstance(record, dict):
        raise ScoreError(
            f"{where}: must be an object with a number for each of {', '.join(needed)}, but "
            + (f"has none for {', '.join(wrong)}" if known else f"is {record!r}"[:80])
            + ". The file is damaged, or of another version of countae. Fix: make it again with "
            "`countae bootstrap`."
        )


def _is_number(value: Any) -> bool:
    """Whether a value of a JSON file is a finite number."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)


def _tuned(files: str, likelihoods: str) -> dict[str, dict[str, Any]]:
    """Network and training of each loss that a search chose."""
    from dataclasses import asdict

    from countae.tuning import chosen_of

    paths = [config.existing_file(Path(name), "tuning.json") for name in names(files)]
    return {name: asdict(own) for name, own in chosen_of(paths, names(likelihoods)).items()}


def _results(
    folder: Path, likelihoods: str, seeds: str, control_seeds: str, rule: dict[str, Any]
) -> Results:
    from countae.results import Results

    check_arms(likelihoods, seeds)
    control = numbers(control_seeds, "--control-seeds")
    _check_seeds(control, "--control-seeds")
    return Results(folder, names(likelihoods), numbers(seeds, "--seeds"), rule["control"], control)


def _decided(
    matrix: CountMatrix, results: Results, rule: dict[str, Any], *, drawn: dict | None = None
) -> tuple[dict[str, Any], Any]:
    """Verdict and table of genes of the results in a folder."""
    from dataclasses import replace

    from countae.gene_verdict import describe_genes
    from countae.verdict import decide

    folder, results = results.folder, replace(results, counts=matrix.info["checksum"])
    name = folder.name if matrix.protocol == "masked" else folder.parent.name
    return decide(
        results, rule, dataset=name, gene_table=describe_genes(matrix),
        donors=matrix.test_donors, drawn=drawn, masked=matrix.protocol == "masked",
    )  # fmt: skip
