rule prepare:
    input:
        source_files,
    output:
        counts="results/{dataset}/counts.h5ad",
        triage="results/{dataset}/triage.json",
    log:
        "logs/{dataset}/prepare.log",
    benchmark:
        "benchmarks/{dataset}/prepare.tsv"
    conda:
        "../../envs/counts.yaml"
    threads: 1
    resources:
        mem_mb=scaled_memory(4000),
        runtime=60,
    params:
        source=lambda wildcards: DATASETS[wildcards.dataset]["source"],
        row=row_options,
        settings=section_options("simulate", "quality", "genes", "split"),
        code=fingerprint("prepare"),
    message:
        "Check, filter and split {wildcards.dataset}"
    shell:
        "countae prepare {params.source:q} {output.counts:q} --triage {output.triage:q}"
        " {params.row} {params.settings} > {log:q} 2>&1"
