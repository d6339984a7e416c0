rule stress:
    input:
        counts="results/{dataset}/counts.h5ad",
        triage=triage_of,
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
        mem_mb=memory_of("stress"),
        runtime=minutes_of("stress"),
        gpu=gpus,
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
        triage=triage_of,
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
        mem_mb=memory_of("stress_table"),
        runtime=minutes_of("stress_table"),
    params:
        settings=as_options(
            {"level": SETTINGS["verdict"]["level"], "tests": list(STRESS)}
        ),
        code=fingerprint("stress_table"),
    message:
        "Sum up the stress tests of {wildcards.dataset}"
    shell:
        "countae stress-table {input.tables:q} --output {output:q} --counts {input.counts:q}"
        " {params.settings} > {log:q} 2>&1"


rule downstream:
    input:
        expand(
            "results/{{dataset}}/{likelihood}/seed{seed}/model.safetensors",
            likelihood=SETTINGS["likelihoods"],
            seed=SEEDS,
        ),
        counts="results/{dataset}/counts.h5ad",
        triage=triage_of,
        proteins=protein_file,
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
        mem_mb=memory_of("downstream"),
        runtime=minutes_of("downstream"),
        gpu=gpus,
        device=SETTINGS["device"],
    params:
        folder=subpath(output[0], parent=True),
        arms=as_options({"likelihoods": SETTINGS["likelihoods"], "seeds": SEEDS}),
        settings=as_options({"level": SETTINGS["verdict"]["level"]}),
        proteins=protein_options,
        code=fingerprint("downstream"),
    message:
        "Judge clusters, neighbours and markers of each loss on {wildcards.dataset}"
    shell:
        "countae downstream {params.folder:q} {output:q} {params.arms} {params.settings} {params.proteins}"
        " --threads {threads} --device {resources.device} > {log:q} 2>&1"
