# ranks over data sets, once there are two
RANKING = ["results/ranking.json"] if len(DATASETS) > 1 else []


rule rank:
    input:
        verdicts=expand("results/{dataset}/verdict.json", dataset=DATASETS),
    output:
        "results/ranking.json",
    log:
        "logs/rank.log",
    benchmark:
        "benchmarks/rank.tsv"
    conda:
        "../../envs/counts.yaml"
    threads: 1
    resources:
        mem_mb=scaled_memory(1000),
        runtime=10,
    params:
        folders=folders_of_verdicts,
        code=fingerprint("rank"),
    message:
        "Rank the losses over the data sets"
    shell:
        "countae rank {params.folders:q} --output {output:q} > {log:q} 2>&1"


rule report:
    input:
        expand("results/{dataset}/verdict_genes.parquet", dataset=DATASETS),
        expand("results/{dataset}/triage.json", dataset=DATASETS),
        expand(
            "results/{dataset}/referee.json",
            dataset=DATASETS if REFEREE["replicates"] else [],
        ),
        expand("results/{dataset}/{dataset}.h5ad", dataset=DATASETS),
        peer_scores(),
        RANKING,
        STRESSED,
        DOWNSTREAM,
        verdicts=expand("results/{dataset}/verdict.json", dataset=DATASETS),
    output:
        report(
            "results/report.html",
            caption="../report/report.rst",
            category="Verdict",
            labels={"data set": "all", "what": "Which loss tells the story"},
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
        folders=folders_of_verdicts,
        title=SETTINGS["report"]["title"],
        absent=as_options({"absent_peers": ABSENT_PEERS} if ABSENT_PEERS else {}),
        code=fingerprint("report"),
    message:
        "Write {output}"
    shell:
        "countae report {params.folders:q} --output {output:q} --title {params.title:q}"
        " {params.absent} > {log:q} 2>&1"
