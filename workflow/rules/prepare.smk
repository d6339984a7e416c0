rule fetch:
    output:
        "results/{dataset}/source/{part}/{file}",
    log:
        "logs/{dataset}/source/{part}/{file}.log",
    benchmark:
        "benchmarks/{dataset}/source/{part}/{file}.tsv"
    wildcard_constraints:
        dataset=ONE_DATASET,
    conda:
        "../../envs/counts.yaml"
    threads: 1
    resources:
        mem_mb=scaled_memory(500),
        runtime=240,
    params:
        address=lambda wildcards: parts_of(wildcards.dataset)[int(wildcards.part)],
    message:
        "Fetch {wildcards.file}, a source of {wildcards.dataset}"
    shell:
        "countae fetch {params.address:q} {output:q} > {log:q} 2>&1"


rule prepare:
    input:
        source=source_files,
        genes=gene_files,
    output:
        counts="results/{dataset}/counts.h5ad",
        triage="results/{dataset}/triage.json",
    log:
        "logs/{dataset}/prepare.log",
    benchmark:
        "benchmarks/{dataset}/prepare.tsv"
    wildcard_constraints:
        dataset=ONE_DATASET,
    conda:
        "../../envs/counts.yaml"
    threads: 1
    resources:
        mem_mb=memory_of_source,
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        source=source_argument,
        row=row_options,
        settings=section_options("simulate", "quality", "genes", "split"),
        code=fingerprint("prepare"),
    message:
        "Check, filter and split {wildcards.dataset}"
    shell:
        "countae prepare {params.source:q} {output.counts:q} --triage {output.triage:q}"
        " {params.row} {params.settings} > {log:q} 2>&1"


rule hide:
    input:
        counts="results/{dataset}/counts.h5ad",
        triage=triage_of,
        model=network_for_hiding,
    output:
        "results/{dataset}/{protocol}/counts.h5ad",
    log:
        "logs/{dataset}/{protocol}/hide.log",
    benchmark:
        "benchmarks/{dataset}/{protocol}/hide.tsv"
    wildcard_constraints:
        dataset=ONE_DATASET,
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=memory_of("hide"),
        runtime=minutes_of("hide"),
        gpu=gpus,
        device=SETTINGS["device"],
    params:
        model=lambda wildcards, input: as_options(
            {"model": input.model} if input.model else {}
        ),
        code=fingerprint("hide"),
    message:
        "Hide molecules of {wildcards.dataset} for {wildcards.protocol}"
    shell:
        "countae hide {input.counts:q} {output:q} --protocol {wildcards.protocol}"
        " {params.model} --threads {threads} --device {resources.device} > {log:q} 2>&1"
