rule score:
    input:
        counts="results/{dataset}/counts.h5ad",
        triage=triage_of,
        model="results/{dataset}/{likelihood}/seed{seed}/model.safetensors",
    output:
        scores="results/{dataset}/{likelihood}/seed{seed}/scores.parquet",
        cells="results/{dataset}/{likelihood}/seed{seed}/cells.parquet",
        entries="results/{dataset}/{likelihood}/seed{seed}/entries.npz",
    log:
        "logs/{dataset}/{likelihood}/seed{seed}/score.log",
    benchmark:
        "benchmarks/{dataset}/{likelihood}/seed{seed}/score.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=memory_of("score"),
        runtime=minutes_of("score"),
        gpu=gpus,
        device=SETTINGS["device"],
    params:
        metrics=metric_options(),
        code=fingerprint("score"),
    message:
        "Score the {wildcards.likelihood} network on held-out counts of {wildcards.dataset}"
        " (seed {wildcards.seed})"
    shell:
        "countae score {input.counts:q} {output.scores:q} --model {input.model:q}"
        " --cells {output.cells:q} --entries {output.entries:q} {params.metrics}"
        " --threads {threads} --device {resources.device} > {log:q} 2>&1"


rule score_baseline:
    input:
        counts="results/{dataset}/counts.h5ad",
        triage=triage_of,
    output:
        scores="results/{dataset}/{baseline}/seed0/scores.parquet",
        cells="results/{dataset}/{baseline}/seed0/cells.parquet",
        entries="results/{dataset}/{baseline}/seed0/entries.npz",
    log:
        "logs/{dataset}/{baseline}/score.log",
    benchmark:
        "benchmarks/{dataset}/{baseline}/score.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=memory_of("score"),
        runtime=minutes_of("score"),
    params:
        metrics=metric_options(),
        code=fingerprint("score"),
    message:
        "Score the baseline {wildcards.baseline} on {wildcards.dataset}"
    shell:
        "countae score {input.counts:q} {output.scores:q} --baseline {wildcards.baseline}"
        " --cells {output.cells:q} --entries {output.entries:q} {params.metrics}"
        " --threads {threads} > {log:q} 2>&1"


rule fit_peer:
    input:
        counts="results/{dataset}/counts.h5ad",
        triage=triage_of,
    output:
        predictions="results/{dataset}/{peer}/seed{seed}/predictions.npz",
        record="results/{dataset}/{peer}/seed{seed}/peer.json",
    log:
        "logs/{dataset}/{peer}/seed{seed}/peer.log",
    benchmark:
        "benchmarks/{dataset}/{peer}/seed{seed}/peer.tsv"
    conda:
        "../../envs/peers.yaml"
    threads: 1
    resources:
        mem_mb=memory_of("fit_peer"),
        runtime=minutes_of("fit_peer"),
        gpu=gpus,
    params:
        code=fingerprint("peer"),
    message:
        "Train the peer {wildcards.peer} on {wildcards.dataset} (seed {wildcards.seed})"
    shell:
        "countae peer {input.counts:q} {output.predictions:q} --record {output.record:q}"
        " --peer {wildcards.peer} --seed {wildcards.seed} --threads {threads} > {log:q} 2>&1"


rule score_peer:
    input:
        counts="results/{dataset}/counts.h5ad",
        triage=triage_of,
        predictions="results/{dataset}/{peer}/seed{seed}/predictions.npz",
    output:
        scores="results/{dataset}/{peer}/seed{seed}/scores.parquet",
        cells="results/{dataset}/{peer}/seed{seed}/cells.parquet",
        entries="results/{dataset}/{peer}/seed{seed}/entries.npz",
    log:
        "logs/{dataset}/{peer}/seed{seed}/score.log",
    benchmark:
        "benchmarks/{dataset}/{peer}/seed{seed}/score.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=memory_of("score"),
        runtime=minutes_of("score"),
    params:
        metrics=metric_options(),
        code=fingerprint("score"),
    message:
        "Score the peer {wildcards.peer} on {wildcards.dataset} (seed {wildcards.seed})"
    shell:
        "countae score {input.counts:q} {output.scores:q} --predictions {input.predictions:q}"
        " --cells {output.cells:q} --entries {output.entries:q} {params.metrics}"
        " --threads {threads} > {log:q} 2>&1"
