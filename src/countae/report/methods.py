"""The methods section, from the settings that were really used: text, references, settings."""

from __future__ import annotations

from pathlib import PurePath

from countae import config
from countae.report.glossary import entries
from countae.report.load import Dataset
from countae.report.look import percent, whole
from countae.report.network_text import network_text, references_of, short_epochs
from countae.report.tables import plain
from countae.wording import listed, short

STATISTICS = {
    "Paired differences with few seeds (Satterthwaite)": "10.2307/3002019",
    "False discovery rate (Benjamini and Hochberg)": "10.1111/j.2517-6161.1995.tb02031.x",
}
ERRORS_BY_DONOR = {"Errors by donor (Liang and Zeger)": "10.1093/biomet/73.1.13"}
ZERO_TEST = {"Test of extra zeros (Self and Liang)": "10.1080/01621459.1987.10478472"}
PROTOCOLS = {
    "thinning": "Under binomial thinning each molecule is hidden with probability one half and "
    "the other half predicts it (Batson et al.); this asks who denoises best, as in overdispersed "
    "counts both halves share the gene's own noise.",
    "nb_splitting": "NB splitting hides half of the molecules with a beta-binomial, so that both "
    "halves are independent if the counts are negative binomial (Neufeld et al.); the dispersion "
    "of a cell's split comes from other cells.",
}
PROTOCOL_REFERENCES = {
    "thinning": ("Binomial thinning (Batson et al.)", "10.1101/786269"),
    "nb_splitting": ("NB splitting (Neufeld et al.)", "10.48550/arXiv.2307.12985"),
}


def paragraphs(data: Dataset) -> list[tuple[str, str]]:
    """Heading and text of each paragraph."""
    return [
        ("Data", _data(data)),
        ("Networks", _networks(data)),
        ("Scoring", _scoring(data)),
        ("Verdict", _verdict(data)),
        ("Story", _story(data)),
        ("Other protocols", _protocols(data)),
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
    training = _used(data, "training")
    trials = record.get("tuning_trials", 0)
    searched = (
        " Step size, widths and weight decay were chosen for each loss by its own validation loss "
        f"among the same {trials} settings, with one seed; values that differ name their losses."
        if trials
        else ""
    )
    idle = training["halve_after"]
    halving = "" if idle == "0" else f" and halved after {idle} epochs in a row without progress"
    precision = training.get("precision", "32")
    rounded = "" if precision == "32" else f" Precision of training: {precision}."
    folds = data.triage["settings"]["split"]["folds"]
    return (
        f"{network_text(record['network'], _used(data, 'network'))} All started at the gene's "
        "mean, with the noise that is most probable around it where a loss has the dispersion of "
        "NB or ZINB, else with moments. All had the same budget: AdamW with step size "
        f"{training['learning_rate']}, reached over the first {record['warm_up_steps']} steps"
        f"{halving}, and weight decay {training['weight_decay']}, "
        f"{training['batch_size']} cells per step, at most "
        f"{training['max_epochs']} epochs, stopped after {training['patience']} epochs "
        f"without progress on the validation cells, the best epoch kept."
        f"{short_epochs(record, data.triage['parts']['train'])} "
        "Each step hid a random "
        f"1/{folds} of the entries and learnt to predict exactly these.{rounded} The seeds were "
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
        "spread, got one per gene from entries predicted while hidden. Around the means of every "
        "network, further noise distributions were fitted gene by gene on training and "
        "validation cells with one recipe, and widened by one number for all genes, that of "
        "the validation cells, as a network predicts the cells that it was trained on better "
        "than new ones. The log score is primary; the other measures say "
        "where a difference comes from."
    )


def _verdict(data: Dataset) -> str:
    settings, control = data.verdict["settings"], data.verdict["control"]
    arm = ""
    if control["seeds"]:
        arm = (
            f" As an A/A control, {short(control['likelihood'])} was trained with the further "
            f"seeds {listed(_strings(control['seeds']))} and compared with itself."
        )
    return (
        "Losses were compared by their difference on the same cells and seeds; its error adds "
        f"the variance over {_units(data)} and over seeds, with Satterthwaite's degrees of "
        "freedom. "
        f"Differences below {settings['equivalence']} nats per entry, or below "
        f"{percent(settings['equivalence_share'])} of the best loss' gain over the gene mean "
        f"with NB noise, count as none. The error level is {percent(settings['level'])}, with "
        "Holm's correction over pairs of losses and Benjamini and Hochberg's over genes; genes "
        f"with fewer than {settings['min_nonzeros_per_gene']} non-zero test counts are not "
        f"testable.{arm}"
    )


def by_donor(data: Dataset) -> bool:
    """Whether errors are between donors."""
    return str(data.verdict["errors_by"]).startswith("donor")


def _units(data: Dataset) -> str:
    """What counts as an independent observation."""
    if by_donor(data):
        return "donors (all cells of one donor count as one observation, after Liang and Zeger)"
    return "cells"


def _story(data: Dataset) -> str:
    """The story rule and its two tests against simulated data."""
    level = percent(data.verdict["settings"]["level"])
    return (
        "Which distribution the counts have is judged apart from which network predicts best, "
        "because errors of the means look like noise. Around the best means that any network "
        "found, Poisson, NB, ZINB and normal noise were compared. The story is Poisson unless a "
        "step is earned, and normal where normal noise is better than all the others. "
        "Overdispersion asks that the networks can be compared at all, and needs two "
        "things: NB noise leads Poisson noise by more than what does not "
        "matter, and the lead is larger than on counts drawn from the Poisson fit. Zero inflation "
        "needs four more: ZINB noise leads NB noise likewise; the share of genes that the test of "
        "extra zeros (the likelihood ratio of ZINB and NB noise around the NB network's means, "
        f"after Self and Liang) calls significant at a false discovery rate of {level} is larger "
        "than on counts drawn from the NB fit; so is the lead of the ZINB network over the NB "
        "network; and ZINB noise leads normal noise, by more than on normal counts. On each "
        "simulated data set the networks were trained and scored anew. Larger means larger than "
        "on every one of them, and further out than a new one would be at a level of "
        f"{level} (Student's t prediction). {_drawn(data)}"
    )


def _drawn(data: Dataset) -> str:
    """How many data sets were simulated from which fit."""
    said = []
    for step, family in (("overdispersion", "Poisson"), ("zero_inflation", "NB")):
        conditions = data.verdict[step]["conditions"].values()
        number = max((found.get("replicates", 0) for found in conditions), default=0)
        if number:
            said.append(f"{number} {'was' if number == 1 else 'were'} drawn from the {family} fit")
    power = data.verdict["zero_inflation"]["power"]["replicates"]
    if power:
        said.append(
            f"{power} from the NB fit with extra zeros, without which their absence is not claimed"
        )
    if said:
        return f"Of such data sets {listed(said)}."
    return "None were drawn here: they could not have changed the answer, or were not asked for."


def _protocols(data: Dataset) -> str:
    others = list(data.verdict.get("protocols") or {})
    if not others:
        return "None: only masked entries were used."
    said = [PROTOCOLS.get(name, f"Counts were also hidden by {short(name)}.") for name in others]
    return (
        f"{' '.join(said)} All losses were trained and compared anew. The verdict survives a "
        "protocol under which no loss is shown to be better than the recommended one."
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
    found |= {what: f"doi:{doi}" for what, doi in _statistics(data).items()}
    return [(what, *_identifier(text)) for what, text in found.items() if text]


def _statistics(data: Dataset) -> dict[str, str]:
    """DOI of each statistical method that was used."""
    others = data.verdict.get("protocols") or {}
    used = [PROTOCOL_REFERENCES[name] for name in others if name in PROTOCOL_REFERENCES]
    drawn = references_of(data.records[data.losses[0]][0]["network"])
    return (
        STATISTICS | ZERO_TEST | drawn | (ERRORS_BY_DONOR if by_donor(data) else {}) | dict(used)
    )


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
    if source.startswith(("builtin:", "simulate:")):
        return source
    return ";".join(PurePath(part).name for part in source.split(";"))
