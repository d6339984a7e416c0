rule bootstrap:
    input:
        what_was_scored,
        tuned=tuned_of,
        model=f"results/{{dataset}}/{CONTROL}/seed{SEEDS[0]}/model.safetensors",
        triage=triage_of,
    output:
        "results/{dataset}/bootstrap.json",
    log:
        "logs/{dataset}/bootstrap.log",
    benchmark:
        "benchmarks/{dataset}/bootstrap.tsv"
    wildcard_constraints:
        dataset=ONE_DATASET,
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=memory_of("bootstrap"),
        runtime=minutes_of("bootstrap"),
        gpu=gpus,
        device=SETTINGS["device"],
    params:
        folder=subpath(output[0], parent=True),
        arms=verdict_arms,
        tuned=lambda wildcards, input: as_options(
            {"tuned": input.tuned} if TRIALS else {}
        ),
        settings=section_options("network", "training", "verdict"),
        code=fingerprint("bootstrap"),
    message:
        "Draw data from simpler fits of {wildcards.dataset} where a step is in question"
    shell:
        "countae bootstrap {params.folder:q} {output:q} {params.arms} {params.tuned}"
        " {params.settings} --threads {threads} --device {resources.device} > {log:q} 2>&1"


rule verdict:
    input:
        what_was_scored,
        lambda wildcards: verdicts_of(wildcards.dataset),
        drawn=drawn_for,
        triage=triage_of,
    output:
        verdict=report(
            "results/{dataset}/verdict.json",
            caption="../report/verdict.rst",
            category="Data sets",
            subcategory="{dataset}",
            labels={"data set": "{dataset}", "what": "Verdict, for machines"},
        ),
        genes="results/{dataset}/verdict_genes.parquet",
    log:
        "logs/{dataset}/verdict.log",
    benchmark:
        "benchmarks/{dataset}/verdict.tsv"
    conda:
        "../../envs/counts.yaml"
    threads: 1
    resources:
        mem_mb=memory_of("verdict"),
        runtime=minutes_of("verdict"),
    params:
        folder=subpath(output.verdict, parent=True),
        arms=verdict_arms,
        others=lambda wildcards, input: as_options(
            {"protocols": PROTOCOLS, "drawn": input.drawn} if input.drawn else {}
        ),
        settings=section_options("verdict"),
        code=fingerprint("verdict"),
    message:
        "Decide which loss tells the story of {wildcards.dataset}"
    shell:
        "countae verdict {params.folder:q} {output.verdict:q} --genes {output.genes:q}"
        " {params.arms} {params.others} {params.settings} > {log:q} 2>&1"


rule export:
    input:
        "results/{dataset}/verdict.json",
        "results/{dataset}/verdict_genes.parquet",
        "results/{dataset}/counts.h5ad",
        expand(
            "results/{{dataset}}/{likelihood}/seed{seed}/model.safetensors",
            likelihood=SETTINGS["likelihoods"],
            seed=SEEDS[0],
        ),
        triage=triage_of,
    output:
        "results/{dataset}/{dataset}.h5ad",
    log:
        "logs/{dataset}/export.log",
    benchmark:
        "benchmarks/{dataset}/export.tsv"
    wildcard_constraints:
        dataset=ONE_DATASET,
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=memory_of("export"),
        runtime=minutes_of("export"),
    params:
        folder=subpath(output[0], parent=True),
        arms=as_options({"likelihoods": SETTINGS["likelihoods"], "seed": SEEDS[0]}),
        code=fingerprint("export"),
    message:
        "Write {output} for scanpy"
    shell:
        "countae export {params.folder:q} {output:q} {params.arms} --threads {threads}"
        " > {log:q} 2>&1"
