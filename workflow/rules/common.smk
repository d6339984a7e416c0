import os
import shlex
from importlib.util import find_spec
from itertools import chain, islice

import countae
from countae import config as contract
from countae import resources as needs
from countae import simulate, sources, stress, tuning
from countae.errors import CountaeError
from countae.fingerprint import fingerprint
from countae.options import LARGEST_SEED

try:
    SETTINGS = contract.validated(config, where="configuration")
    DATASETS = contract.read_datasets(SETTINGS["datasets"])
except CountaeError as error:
    raise WorkflowError(str(error)) from None

SEEDS = SETTINGS["seeds"]
CONTROL = SETTINGS["verdict"]["control"]
# the A/A arm: as many further seeds of one loss, so that it can be compared with itself; the next
# larger ones, and after the largest that there is the smallest free ones
_further = chain(range(max(SEEDS) + 1, LARGEST_SEED + 1), range(max(SEEDS)))
CONTROL_SEEDS = [*islice((seed for seed in _further if seed not in SEEDS), len(SEEDS))]

# settings that every loss tries before it is trained; none unless `tuning.trials` asks for them
TRIALS = tuning.trials(
    SETTINGS["tuning"], network=SETTINGS["network"], training=SETTINGS["training"]
)

# conda environments install countae from here (envs/*.post-deploy.sh)
_checkout = contract.workflow_folder().parent
os.environ.setdefault(
    "COUNTAE_SOURCE",
    (
        str(_checkout)
        if (_checkout / "pyproject.toml").is_file()
        else f"countae=={countae.__version__}"
    ),
)


def peers_that_run():
    """Peers that are asked for; none, with a message, where nothing brings their program."""
    brought = "conda" in map(str, workflow.deployment_settings.deployment_method)
    if SETTINGS["peers"] and not brought and find_spec("scvi") is None:
        logger.warning(
            f"The peers {', '.join(SETTINGS['peers'])} are left out, since scvi-tools is not "
            "installed. Fix: pip install 'countae[peers]', or run with "
            "--software-deployment-method conda."
        )
        return []
    return SETTINGS["peers"]


PEERS = peers_that_run()
ABSENT_PEERS = [name for name in SETTINGS["peers"] if name not in PEERS]
PROTOCOLS = SETTINGS["protocols"]
ONE_DATASET = "|".join(DATASETS)


# a data set under another hold-out protocol is a folder of its own: pbmc/thinning
wildcard_constraints:
    dataset=f"({ONE_DATASET})(/({'|'.join(PROTOCOLS)}))?" if PROTOCOLS else ONE_DATASET,
    protocol="|".join(PROTOCOLS) or "none",
    likelihood="|".join(SETTINGS["likelihoods"]),
    baseline="|".join(["gene_mean", *SETTINGS["baselines"], "oracle"]),
    peer="|".join(PEERS) or "none",
    seed=r"\d+",
    trial=r"\d+",
    part=r"\d+",
    file=r"[^/]+",


def is_primary(dataset):
    """Whether a folder holds masked entries, not another protocol's."""
    return dataset in DATASETS


def baselines_of(dataset):
    """Baselines of a data set: the null, those asked for, the oracle where the truth is one."""
    if not is_primary(dataset):
        return ["gene_mean"]
    kind, _, family = DATASETS[dataset]["source"].partition(":")
    truth = ["oracle"] if kind == "simulate" and simulate.has_oracle(family) else []
    return list(dict.fromkeys(["gene_mean", *SETTINGS["baselines"], *truth]))


def control_seeds_of(dataset):
    """Seeds of the A/A arm, which the primary protocol alone has."""
    return CONTROL_SEEDS if is_primary(dataset) else []


def tuned_of(wildcards):
    """What a search chose for each loss of a data set, where there was one."""
    losses = SETTINGS["likelihoods"] if TRIALS else []
    return [f"results/{wildcards.dataset}/{name}/tuning.json" for name in losses]


def verdicts_of(dataset):
    """Verdicts under other protocols, with which the primary one is compared."""
    others = PROTOCOLS if is_primary(dataset) else []
    return [f"results/{dataset}/{protocol}/verdict.json" for protocol in others]


def peer_scores():
    """Scores of every peer with every seed, which the primary protocol alone has."""
    return expand(
        "results/{dataset}/{peer}/seed{seed}/scores.parquet",
        dataset=DATASETS,
        peer=PEERS,
        seed=SEEDS,
    )


def fits_of(dataset):
    """Folders of all fits of a data set, those of the A/A arm included."""
    arms = [(name, seed) for name in SETTINGS["likelihoods"] for seed in SEEDS]
    arms += [(CONTROL, seed) for seed in control_seeds_of(dataset)]
    return [f"results/{dataset}/{name}/seed{seed}" for name, seed in arms]


def stored(address):
    """A location that one of Snakemake's storage plugins knows."""
    try:
        return storage(address)
    except Exception as error:  # each plugin has errors of its own
        scheme = address.split("://")[0]
        raise WorkflowError(
            f"{SETTINGS['datasets']}: the source {address!r} needs a Snakemake storage plugin "
            f"for {scheme}:// ({error}). Fix: install it, for example with `pip install "
            f"snakemake-storage-plugin-{scheme}`, or fetch the file and name its path."
        ) from None


def parts_of(dataset):
    """Sources that a data set joins; none for one that is made."""
    source = DATASETS[dataset]["source"]
    return [] if source.startswith(sources.MADE) else sources.parts(source)


def local_file(dataset, number, part):
    """Where a source is on this machine: as it is named, or where it is brought."""
    if sources.is_web(part):
        return f"results/{dataset}/source/{number}/{sources.file_name(part)}"
    return STORED.get(part, part)


def source_files(wildcards):
    """Files with counts that preparing a data set reads."""
    dataset = wildcards.dataset
    return [local_file(dataset, *part) for part in enumerate(parts_of(dataset))]


def source_argument(wildcards, input):
    """The source as an argument of `countae prepare`."""
    return ";".join(map(str, input.source)) or DATASETS[wildcards.dataset]["source"]


def protein_file(wildcards):
    """The file whose obsm has protein counts of a data set's cells, where a key is named."""
    return (
        source_files(wildcards)[:1]
        if DATASETS[wildcards.dataset]["protein_key"]
        else []
    )


def protein_options(wildcards, input):
    """That file and key as options of `countae downstream`."""
    key = DATASETS[wildcards.dataset]["protein_key"]
    return (
        as_options(
            {"protein_source": ";".join(map(str, input.proteins)), "protein_key": key}
        )
        if key
        else ""
    )


def gene_files(wildcards):
    """File with the genes of a data set, where one is named."""
    genes = DATASETS[wildcards.dataset]["genes"]
    return [] if genes == "all" or genes.isdigit() else [genes]


try:
    STORED = {
        part: stored(part)
        for part in chain.from_iterable(map(parts_of, DATASETS))
        if sources.is_remote(part) and not sources.is_web(part)
    }
except CountaeError as error:
    raise WorkflowError(str(error)) from None


def row_options(wildcards):
    """A data set's row as options of `countae prepare`."""
    row = dict(DATASETS[wildcards.dataset])
    del row["id"], row["source"]
    return as_options({key: value for key, value in row.items() if value})


def as_options(values):
    """Keys and values as command-line options."""
    words = []
    for key, value in values.items():
        if not isinstance(value, (str, int, float)):
            value = ",".join(map(str, value))
        words += [f"--{key.replace('_', '-')}", shlex.quote(str(value))]
    return " ".join(words)


def section_options(*sections):
    """Sections of the configuration as options."""
    return as_options({k: v for name in sections for k, v in SETTINGS[name].items()})


def metric_options():
    """The metrics as an option; none means all."""
    return as_options({"metrics": SETTINGS["metrics"]} if SETTINGS["metrics"] else {})


def scaled_memory(megabytes):
    """Memory that grows with each attempt."""
    return lambda wildcards, attempt: megabytes * attempt


def asked_for(name, wildcards, rulename, **more):
    """Number that a rule's own line or the profile's asks for under a name; 0 where none does."""
    asked = workflow.get_rule(rulename).resources.get(name)
    if asked is None:
        return 0
    value = asked.evaluate(wildcards, rulename=rulename, **more).value
    return value if isinstance(value, int) else 0


def memory_of(step):
    """Memory of a step by the size of its data and its devices, which grows with each attempt."""

    def megabytes(wildcards, input, attempt, **more):
        gpus, devices = (
            asked_for(name, wildcards, input=input, attempt=attempt, **more)
            for name in ("gpu", "devices")
        )
        return needs.memory_mb(
            step,
            input.triage,
            attempt=attempt,
            processes=max(1, devices),
            beside=SETTINGS["gpu_main_memory"] if gpus else 0,
        )

    return megabytes


def one_per_device(wildcards, **more):
    """Threads of a fit: one for the process of each device."""
    return max(1, asked_for("devices", wildcards, **more))


def minutes_of(step):
    """Time of a step by the size of its data, which grows with each attempt."""
    return lambda wildcards, input, attempt: needs.minutes(
        step,
        input.triage,
        attempt=attempt,
        latent_steps=SETTINGS["network"]["latent_steps"],
    )


def gpus(wildcards):
    """GPUs of a step that runs networks; without one not even 0, which Kubernetes would refuse."""
    return contract.gpus_per_fit(SETTINGS["device"]) or None


def memory_of_source(wildcards, input, attempt):
    """Memory to prepare counts: they are read in blocks, so that it does not grow for ever."""
    return attempt * int(1000 + min(2 * input.size_mb, 6000))


def triage_of(wildcards):
    """What says how large a data set is, and so what its steps need."""
    dataset, *_ = wildcards.dataset.split("/")
    return f"results/{dataset}/triage.json"


def network_for_hiding(wildcards):
    """The network around whose means NB splitting finds dispersions; thinning needs none."""
    if wildcards.protocol != "nb_splitting":
        return []
    return f"results/{wildcards.dataset}/{CONTROL}/seed{SEEDS[0]}/model.safetensors"


def fit_settings(wildcards, input):
    """Network and training as options: the configuration's, or what the search chose."""
    if TRIALS:
        return as_options({"tuned": input.tuned})
    return section_options("network", "training")


def trial_options(wildcards):
    """Network and training of one trial, as options."""
    trial = TRIALS[int(wildcards.trial)]
    return as_options({**trial.network, **trial.training})


def verdict_arms(wildcards):
    """What a verdict compares, as options."""
    return as_options(
        {
            "likelihoods": SETTINGS["likelihoods"],
            "seeds": SEEDS,
            "control_seeds": control_seeds_of(wildcards.dataset),
        }
    )


def what_was_scored(wildcards):
    """Everything from which a data set's verdict is made."""
    scores = ["scores.parquet", "cells.parquet", "entries.npz"]
    return [
        f"results/{wildcards.dataset}/counts.h5ad",
        *expand(
            "{fit}/{file}", fit=fits_of(wildcards.dataset), file=["fit.json", *scores]
        ),
        *expand(
            "results/{dataset}/{baseline}/seed0/{file}",
            dataset=wildcards.dataset,
            baseline=baselines_of(wildcards.dataset),
            file=scores,
        ),
    ]


def folders_of_verdicts(wildcards, input):
    """Folders of data sets' results, wherever a workflow that uses this one puts them."""
    return [os.path.dirname(path) for path in input.verdicts]


def drawn_for(wildcards):
    """The bootstrap of a data set, which the primary protocol alone has."""
    primary = is_primary(wildcards.dataset)
    return f"results/{wildcards.dataset}/bootstrap.json" if primary else []


STRESS = stress.wanted(SETTINGS["stress"]["tests"])


def stress_tests_of(dataset):
    """Stress tests that can be made of a data set: those whose column it names, if they need one."""
    keys = {name: stress.get(name).key for name in STRESS}
    return [name for name, key in keys.items() if not key or DATASETS[dataset][key]]


def stress_of(dataset):
    """Tables of the stress tests of a data set, one per test, loss and seed."""
    return expand(
        "results/{dataset}/stress/{test}/{likelihood}-seed{seed}.parquet",
        dataset=dataset,
        test=stress_tests_of(dataset),
        likelihood=SETTINGS["likelihoods"],
        seed=SEEDS,
    )


def stress_options(wildcards):
    """One test at its levels, and how hard the tests are, as options."""
    levels = [f"{wildcards.test}={level!r}" for level in STRESS[wildcards.test]]
    return as_options({**SETTINGS["stress"], "tests": levels})


# also of data sets that can have none of the tests: the file then says why
STRESSED = [f"results/{dataset}/stress.json" for dataset in DATASETS if STRESS]


DOWNSTREAM = [
    f"results/{dataset}/downstream.json"
    for dataset, row in DATASETS.items()
    if SETTINGS["downstream"] and row["label_key"]
]
