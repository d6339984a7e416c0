rule report:
    input:
        expand("results/{dataset}/verdict.json", dataset=DATASETS),
        expand("results/{dataset}/verdict_genes.parquet", dataset=DATASETS),
        expand("results/{dataset}/triage.json", dataset=DATASETS),
        expand(
            "results/{dataset}/referee.json",
            dataset=DATASETS if REFEREE["replicates"] else [],
        ),
        expand("results/{dataset}/{dataset}.h5ad", dataset=DATASETS),
    output:
        report(
            "results/report.html",
            caption="../report/report.rst",
            category="Verdict",
            labels={"what": "Which loss tells the story"},
        ),
    log:
        "logs/report.log",
    benchmark:
        "benchmarks/report.tsv"
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=scaled_memory(4000),
        runtime=60,
    params:
        folders=[f"results/{dataset}" for dataset in DATASETS],
        title=SETTINGS["report"]["title"],
        code=fingerprint("report"),
    message:
        "Write {output}"
    shell:
        "countae report {params.folders:q} --output {output:q} --title {params.title:q}"
        " > {log:q} 2>&1"
