"""The verbs that make a report's results again."""

from __future__ import annotations

import shlex
from typing import Any

from countae.report.load import NULL, Dataset
from countae.report.methods import source_name


def commands(data: Dataset) -> str:
    """The verbs that make these results again, for a shell."""
    root, control = shlex.quote(f"results/{data.name}"), data.verdict["control"]
    others = list(map(shlex.quote, data.verdict.get("protocols") or {}))
    lines = [_prepare(data, root), *_compared(data, root, data.baselines, control["seeds"])]
    for name in others:
        lines.append(f"# {name}\n{_hide(data, root, name)}")
        lines += [*_compared(data, f"{root}/{name}", [NULL], []), _decide(data, f"{root}/{name}")]
    arm = f" --control-seeds {_commas(control['seeds'])}" if control["seeds"] else ""
    more = f" --protocols {_commas(others)}" if others else ""
    lines += [
        _bootstrap(data, root, arm),
        _decide(data, root, f"{arm}{more} --drawn {root}/bootstrap.json"),
        f"countae export {root} {root}/{shlex.quote(data.name)}.h5ad --likelihoods "
        f"{shlex.quote(_commas(data.losses))} --seed {data.seeds[0]}",
        f"countae report {root} --output results/report.html",
    ]
    return "\n\n".join(lines)


def _compared(
    data: Dataset, root: str, baselines: list[str], control_seeds: list[int]
) -> list[str]:
    """What fits and scores all losses, and some baselines, in one folder."""
    lines = [_fits(data, root, data.losses, data.seeds)]
    if control_seeds:
        arm = _fits(data, root, [data.verdict["control"]["likelihood"]], control_seeds)
        lines.append(f"# the A/A control\n{arm}")
    for name in (name for name in baselines if name not in data.peers):
        name = shlex.quote(name)
        lines.append(f"{_score(root, f'{root}/{name}/seed0')} --baseline {name}")
    lines += [_peer(data, root, name) for name in baselines if name in data.peers]
    return lines


def _peer(data: Dataset, root: str, name: str) -> str:
    """A loop that trains another program's network with each seed, and scores it."""
    folder = f"{root}/{shlex.quote(name)}/seed$seed"
    return (
        f"for seed in {' '.join(map(str, data.seeds))}; do\n"
        f"  countae peer {root}/counts.h5ad {folder}/predictions.npz --record {folder}/peer.json "
        f"--peer {shlex.quote(name)} --seed $seed\n"
        f"  {_score(root, folder)} --predictions {folder}/predictions.npz\ndone"
    )


def _hide(data: Dataset, root: str, protocol: str) -> str:
    """What hides molecules; NB splitting finds dispersions around a network's means."""
    fit = f"{root}/{shlex.quote(data.verdict['control']['likelihood'])}/seed{data.seeds[0]}"
    model = f" --model {fit}/model.safetensors" if protocol == "nb_splitting" else ""
    return (
        f"countae hide {root}/counts.h5ad {root}/{protocol}/counts.h5ad --protocol "
        f"{protocol}{model}"
    )


def _bootstrap(data: Dataset, root: str, arm: str) -> str:
    """What draws data from simpler fits, where a step of the story is in question."""
    record = data.records[data.losses[0]][0]
    chosen = _options(record["network"], record["training"], data.verdict["settings"])
    return (
        f"countae bootstrap {root} {root}/bootstrap.json "
        f"--likelihoods {shlex.quote(_commas(data.losses))} --seeds {_commas(data.seeds)}{arm} "
        f"{chosen} --threads {record['threads']} --device {shlex.quote(record['device'])}"
    )


def _decide(data: Dataset, folder: str, more: str = "") -> str:
    """What makes the verdict of one folder."""
    return (
        f"countae verdict {folder} {folder}/verdict.json --genes {folder}/verdict_genes.parquet "
        f"--likelihoods {shlex.quote(_commas(data.losses))} --seeds {_commas(data.seeds)}{more} "
        f"{_options(data.verdict['settings'])}"
    )


def _prepare(data: Dataset, root: str) -> str:
    row, settings = data.triage["row"], data.triage["settings"]
    of_row = {key: value for key, value in row.items() if value and key != "source"}
    if "genes" in of_row:
        of_row["genes"] = source_name(of_row["genes"])
    sections = [settings["quality"], settings["genes"], settings["split"]]
    if row["source"].startswith("simulate:"):
        sections.insert(0, settings["simulate"])
    return (
        f"countae prepare {shlex.quote(source_name(row['source']))} {root}/counts.h5ad "
        f"--triage {root}/triage.json {_options(of_row, *sections)}"
    )


def _fits(data: Dataset, root: str, losses: list[str], seeds: list[int]) -> str:
    """Loops that fit and score each loss with each seed, one per choice of settings."""
    chosen: dict[str, list[str]] = {}
    for loss in losses:
        record = data.records[loss][0]
        chosen.setdefault(_options(record["network"], record["training"]), []).append(loss)
    loops = (_loop(data, root, same, seeds, options) for options, same in chosen.items())
    return "\n".join(loops)


def _loop(data: Dataset, root: str, losses: list[str], seeds: list[int], options: str) -> str:
    """A loop over losses that have the same settings."""
    record, folder = data.records[losses[0]][0], f"{root}/$loss/seed$seed"
    return (
        f"for loss in {' '.join(map(shlex.quote, losses))}; do "
        f"for seed in {' '.join(map(str, seeds))}; do\n"
        f"  countae fit {root}/counts.h5ad {folder}/model.safetensors --record {folder}/fit.json "
        f"--likelihood $loss --seed $seed {options} "
        f"--threads {record['threads']} --device {shlex.quote(record['device'])}\n"
        f"  {_score(root, folder)} --model {folder}/model.safetensors\ndone; done"
    )


def _score(root: str, folder: str) -> str:
    return (
        f"countae score {root}/counts.h5ad {folder}/scores.parquet --cells {folder}/cells.parquet "
        f"--entries {folder}/entries.npz"
    )


def _options(*sections: dict[str, Any]) -> str:
    """Settings as options of the command line."""
    words = []
    for key, value in (pair for section in sections for pair in section.items()):
        text = _commas(value) if isinstance(value, list) else str(value)
        words += [f"--{key.replace('_', '-')}", shlex.quote(text)]
    return " ".join(words)


def _commas(values: list[Any]) -> str:
    return ",".join(map(str, values))
