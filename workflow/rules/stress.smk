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


STRESSED = [
    f"results/{dataset}/stress.json" for dataset in DATASETS if stress_tests_of(dataset)
]


rule stress:
    input:
        counts="results/{dataset}/counts.h5ad",
        model="results/{dataset}/{likelihood}/seed{seed}/model.safetensors",
        record="results/{dataset}/{likelihood}/seed{seed}/fit.json",
    output:
        "results/{dataset}/stress/{test}/{likelihood}-seed{seed}.parquet",
    log:
        "logs/{dataset}/stress/{test}/{likelihood}-seed{seed}.log",
    benchmark:
        "benchmarks/{dataset}/stress/{test}/{likelihood}-seed{seed}.tsv"
    wildcard_constraints:
        dataset=ONE_DATASET,
        test="|".join(STRESS) or "none",
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=scaled_memory(4000),
        runtime=600,
        gpu=contract.gpus_per_fit(SETTINGS["device"]),
        device=SETTINGS["device"],
    params:
        settings=stress_options,
        code=fingerprint("stress"),
    message:
        "Stress the {wildcards.likelihood} network of {wildcards.dataset} with {wildcards.test}"
        " (seed {wildcards.seed})"
    shell:
        "countae stress {input.counts:q} {output:q} --model {input.model:q}"
        " --record {input.record:q} {params.settings}"
        " --threads {threads} --device {resources.device} > {log:q} 2>&1"


rule stress_table:
    input:
        tables=lambda wildcards: stress_of(wildcards.dataset),
        counts="results/{dataset}/counts.h5ad",
    output:
        "results/{dataset}/stress.json",
    log:
        "logs/{dataset}/stress.log",
    benchmark:
        "benchmarks/{dataset}/stress.tsv"
    wildcard_constraints:
        dataset=ONE_DATASET,
    conda:
        "../../envs/counts.yaml"
    threads: 1
    resources:
        mem_mb=scaled_memory(2000),
        runtime=10,
    params:
        settings=as_options({"level": SETTINGS["verdict"]["level"]}),
        code=fingerprint("stress_table"),
    message:
        "Sum up the stress tests of {wildcards.dataset}"
    shell:
        "countae stress-table {input.tables:q} --output {output:q} --counts {input.counts:q}"
        " {params.settings} > {log:q} 2>&1"


DOWNSTREAM = [
    f"results/{dataset}/downstream.json"
    for dataset, row in DATASETS.items()
    if SETTINGS["downstream"] and row["label_key"]
]


rule downstream:
    input:
        expand(
            "results/{{dataset}}/{likelihood}/seed{seed}/model.safetensors",
            likelihood=SETTINGS["likelihoods"],
            seed=SEEDS,
        ),
        counts="results/{dataset}/counts.h5ad",
    output:
        "results/{dataset}/downstream.json",
    log:
        "logs/{dataset}/downstream.log",
    benchmark:
        "benchmarks/{dataset}/downstream.tsv"
    wildcard_constraints:
        dataset=ONE_DATASET,
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=scaled_memory(4000),
        runtime=120,
        gpu=contract.gpus_per_fit(SETTINGS["device"]),
        device=SETTINGS["device"],
    params:
        folder=subpath(output[0], parent=True),
        arms=as_options({"likelihoods": SETTINGS["likelihoods"], "seeds": SEEDS}),
        settings=as_options({"level": SETTINGS["verdict"]["level"]}),
        code=fingerprint("downstream"),
    message:
        "Judge clusters, neighbours and markers of each loss on {wildcards.dataset}"
    shell:
        "countae downstream {params.folder:q} {output:q} {params.arms} {params.settings}"
        " --threads {threads} --device {resources.device} > {log:q} 2>&1"
