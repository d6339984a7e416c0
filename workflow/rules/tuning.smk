rule tune_trial:
    input:
        counts="results/{dataset}/counts.h5ad",
        triage=triage_of,
    output:
        "results/{dataset}/{likelihood}/tuning/trial{trial}.json",
    log:
        "logs/{dataset}/{likelihood}/tuning/trial{trial}.log",
    benchmark:
        "benchmarks/{dataset}/{likelihood}/tuning/trial{trial}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=memory_of("tune_trial"),
        runtime=minutes_of("tune_trial"),
        gpu=gpus,
        device=SETTINGS["device"],
    params:
        settings=trial_options,
        seed=SEEDS[0],
        code=fingerprint("fit"),
    message:
        "Try settings {wildcards.trial} for {wildcards.likelihood} on {wildcards.dataset}"
    shell:
        "countae tune-trial {input.counts:q} {output:q} --likelihood {wildcards.likelihood}"
        " --seed {params.seed} {params.settings}"
        " --threads {threads} --device {resources.device} > {log:q} 2>&1"


rule tune:
    input:
        expand(
            "results/{{dataset}}/{{likelihood}}/tuning/trial{trial}.json",
            trial=range(len(TRIALS)),
        ),
    output:
        "results/{dataset}/{likelihood}/tuning.json",
    log:
        "logs/{dataset}/{likelihood}/tune.log",
    benchmark:
        "benchmarks/{dataset}/{likelihood}/tune.tsv"
    conda:
        "../../envs/counts.yaml"
    threads: 1
    resources:
        mem_mb=scaled_memory(1000),
        runtime=10,
    params:
        code=fingerprint("tune"),
    message:
        "Choose the settings of {wildcards.likelihood} on {wildcards.dataset}"
    shell:
        "countae tune {input:q} --output {output:q} > {log:q} 2>&1"
