REFEREE = SETTINGS["referee"]


rule rehearse:
    input:
        counts="results/{dataset}/counts.h5ad",
        triage=triage_of,
        tuned=tuned_of,
        model=f"results/{{dataset}}/{CONTROL}/seed{SEEDS[0]}/model.safetensors",
    output:
        "results/{dataset}/referee/{family}-{replicate}.json",
    log:
        "logs/{dataset}/referee/{family}-{replicate}.log",
    benchmark:
        "benchmarks/{dataset}/referee/{family}-{replicate}.tsv"
    wildcard_constraints:
        dataset=ONE_DATASET,
        family="|".join(REFEREE["families"]),
        replicate=r"\d+",
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=memory_of("rehearse"),
        runtime=minutes_of("rehearse"),
        gpu=gpus,
        device=SETTINGS["device"],
    params:
        arms=as_options({"likelihoods": SETTINGS["likelihoods"], "seeds": SEEDS}),
        tuned=lambda wildcards, input: as_options(
            {"tuned": input.tuned} if TRIALS else {}
        ),
        settings=section_options("network", "training", "verdict"),
        code=fingerprint("rehearse"),
    message:
        "Rehearse {wildcards.dataset} with {wildcards.family} counts ({wildcards.replicate})"
    shell:
        "countae rehearse {input.counts:q} {output:q} --model {input.model:q}"
        " --family {wildcards.family} --replicate {wildcards.replicate} {params.arms}"
        " {params.tuned} {params.settings} --threads {threads} --device {resources.device} > {log:q} 2>&1"


rule referee:
    input:
        expand(
            "results/{{dataset}}/referee/{family}-{replicate}.json",
            family=REFEREE["families"],
            replicate=range(REFEREE["replicates"]),
        ),
    output:
        "results/{dataset}/referee.json",
    log:
        "logs/{dataset}/referee.log",
    benchmark:
        "benchmarks/{dataset}/referee.tsv"
    wildcard_constraints:
        dataset=ONE_DATASET,
    conda:
        "../../envs/counts.yaml"
    threads: 1
    resources:
        mem_mb=scaled_memory(1000),
        runtime=10,
    params:
        code=fingerprint("referee"),
    message:
        "Tell what can be told apart on data like {wildcards.dataset}"
    shell:
        "countae referee {input:q} --output {output:q} > {log:q} 2>&1"
