"""The methods section, from the settings that were really used: text, references, commands."""

from __future__ import annotations

import shlex
from pathlib import PurePath
from typing import Any

from countae import config
from countae.report.glossary import entries
from countae.report.load import Dataset
from countae.report.look import percent, whole
from countae.report.tables import plain
from countae.wording import listed

STATISTICS = {
    "Paired differences with few seeds (Satterthwaite)": "10.2307/3002019",
    "False discovery rate (Benjamini and Hochberg)": "10.1111/j.2517-6161.1995.tb02031.x",
}


def paragraphs(data: Dataset) -> list[tuple[str, str]]:
    """Heading and text of each paragraph."""
    return [
        ("Data", _data(data)),
        ("Networks", _networks(data)),
        ("Scoring", _scoring(data)),
        ("Verdict", _verdict(data)),
    ]


def _data(data: Dataset) -> str:
    triage, settings = data.triage, data.triage["settings"]
    raw, parts, quality = triage["raw"], triage["parts"], settings["quality"]
    kept = triage["modelled"]
    removed = triage["removed_genes"].get("not_highly_variable")
    if removed:
        genes = (
            f"The {whole(kept['genes'])} most variable genes were chosen with "
            f"{settings['genes']['gene_selection']}, on training cells only."
        )
    else:
        genes = f"{whole(kept['genes'])} genes were modelled."
    held = settings["split"]
    mitochondrial = quality["max_mitochondrial_fraction"]
    most = (
        f", at most {percent(mitochondrial)} of them mitochondrial," if mitochondrial < 1 else ""
    )
    return (
        f"{source_name(triage['source'])}: {whole(raw['cells'])} cells × {whole(raw['genes'])} "
        f"genes. Kept were cells with at least {whole(quality['min_counts_per_cell'])} counts"
        f"{most} in at least {whole(quality['min_genes_per_cell'])} genes, and genes seen in at "
        f"least {whole(quality['min_cells_per_gene'])} training cells. {genes} The cells were "
        f"split into {whole(parts['train'])} for training, {whole(parts['validation'])} for "
        f"early stopping and noise fits, and {whole(parts['test'])} that were only scored (split "
        f"seed {held['split_seed']})."
    )


def _networks(data: Dataset) -> str:
    record = data.records[data.losses[0]][0]
    network, training = _used(data, "network"), _used(data, "training")
    trials = record.get("tuning_trials", 0)
    searched = (
        " Step size, widths and weight decay were chosen for each loss by its own validation loss "
        f"among the same {trials} settings, with one seed; values that differ name their losses."
        if trials
        else ""
    )
    folds = data.triage["settings"]["split"]["folds"]
    return (
        f"Each loss trained the same autoencoder: encoder widths {network['hidden']}, "
        f"mirrored in the decoder, a bottleneck of {network['latent']}, dropout "
        f"{network['dropout']}. All had the same budget: AdamW with step size "
        f"{training['learning_rate']} and weight decay {training['weight_decay']}, "
        f"{training['batch_size']} cells per step, at most "
        f"{training['max_epochs']} epochs, stopped after {training['patience']} epochs "
        "without progress on the validation cells, the best epoch kept. Each step hid a random "
        f"1/{folds} of the entries and learnt to predict exactly these. The seeds were "
        f"{listed(_strings(data.seeds))}.{searched}"
    )


def _used(data: Dataset, section: str) -> dict[str, str]:
    """Settings that the fits really had; where losses differ, each value with its losses."""
    shown = {}
    for key in data.records[data.losses[0]][0][section]:
        found: dict[str, list[str]] = {}
        for loss in data.losses:
            found.setdefault(plain(data.records[loss][0][section][key]), []).append(loss)
        several = [f"{value} ({listed(losses)})" for value, losses in found.items()]
        shown[key] = next(iter(found)) if len(found) == 1 else "; ".join(several)
    return shown


def _scoring(data: Dataset) -> str:
    folds = data.triage["settings"]["split"]["folds"]
    return (
        f"Each count of the test cells was predicted once, in {folds} folds, while it was hidden "
        "from the network and from the cell's library size. Every loss was scored as a "
        "probability mass function on 0, 1, 2 …; a squared error, which says nothing of its "
        "spread, got one per gene from hidden validation entries. Around the means of every "
        "network, further noise distributions were fitted gene by gene on training and "
        "validation cells with one recipe. The log score is primary; the other measures say "
        "where a difference comes from."
    )


def _verdict(data: Dataset) -> str:
    settings, control = data.verdict["settings"], data.verdict["control"]
    arm = ""
    if control["seeds"]:
        arm = (
            f" As an A/A control, {control['likelihood']} was trained with the further seeds "
            f"{listed(_strings(control['seeds']))} and compared with itself."
        )
    return (
        "Losses were compared by their difference on the same cells and seeds; its error adds "
        "the variance over cells and over seeds, with Satterthwaite's degrees of freedom. "
        f"Differences below {settings['equivalence']} nats per entry, or below "
        f"{percent(settings['equivalence_share'])} of the best loss' gain over the gene mean "
        f"with NB noise, count as none. The error level is {percent(settings['level'])}, with "
        "Holm's correction over pairs of losses and Benjamini and Hochberg's over genes; genes "
        f"with fewer than {settings['min_nonzeros_per_gene']} non-zero test counts are not "
        f"testable.{arm}"
    )


def _strings(numbers: list[int]) -> list[str]:
    return [str(number) for number in numbers]


def references(data: Dataset) -> list[tuple[str, str, str]]:
    """What is cited, its identifier, and its address where it has one."""
    found = {
        f"{data.title(loss)}, loss": data.records[loss][0]["reference"] for loss in data.losses
    }
    found |= {
        f"{entry.title}, measure": f"doi:{entry.doi}"
        for entry in entries(data.metrics)
        if entry.doi
    }
    found |= {what: f"doi:{doi}" for what, doi in STATISTICS.items()}
    return [(what, *_identifier(text)) for what, text in found.items() if text]


def _identifier(text: str) -> tuple[str, str]:
    """Identifier for people, and its address for DOIs."""
    doi = text.removeprefix("doi:")
    if doi.startswith("10."):
        return f"doi:{doi}", f"https://doi.org/{doi}"
    return text, ""


def parameters(data: Dataset) -> list[tuple[str, str, str]]:
    """Key, value and meaning of every setting."""
    settings = dict(data.triage["settings"])
    if not data.triage["source"].startswith("simulate:"):
        settings.pop("simulate", None)
    sections = settings | {name: _used(data, name) for name in ("network", "training")}
    sections |= {"verdict": data.verdict["settings"]}
    rows = []
    for name, values in sections.items():
        rules = config.schema()["properties"].get(name, {}).get("properties", {})
        rows += [
            (f"{name}.{key}", plain(value), rules.get(key, {}).get("description", ""))
            for key, value in values.items()
        ]
    return rows


def versions(data: Dataset) -> list[tuple[str, str]]:
    """Versions of what the results depend on; several where fits differ."""
    found: dict[str, set[str]] = {}
    for records in data.records.values():
        for record in records:
            for name, version in record["versions"].items():
                found.setdefault(name, set()).add(version)
    return [(name, ", ".join(sorted(values))) for name, values in found.items()]


def source_name(source: str) -> str:
    """A source without the folders of this machine."""
    return source if source.startswith(("builtin:", "simulate:")) else PurePath(source).name


def commands(data: Dataset) -> str:
    """The verbs that make these results again, for a shell."""
    root, control = shlex.quote(f"results/{data.name}"), data.verdict["control"]
    lines = [_prepare(data, root), _fits(data, root, data.losses, data.seeds)]
    if control["seeds"]:
        arm = _fits(data, root, [control["likelihood"]], control["seeds"])
        lines.append(f"# the A/A control\n{arm}")
    for name in map(shlex.quote, data.baselines):
        of_it = f"{root}/{name}/seed0"
        lines.append(f"{_score(root, of_it)} --baseline {name}")
    joined = shlex.quote(_commas(data.losses))
    arm = f" --control-seeds {_commas(control['seeds'])}" if control["seeds"] else ""
    lines += [
        f"countae verdict {root} {root}/verdict.json --genes {root}/verdict_genes.parquet "
        f"--likelihoods {joined} --seeds {_commas(data.seeds)}{arm} "
        f"{_options(data.verdict['settings'])}",
        f"countae export {root} {root}/{shlex.quote(data.name)}.h5ad --likelihoods {joined} "
        f"--seed {data.seeds[0]}",
        f"countae report {root} --output results/report.html",
    ]
    return "\n\n".join(lines)


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
