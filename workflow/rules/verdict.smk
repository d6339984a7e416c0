def verdict_arms(wildcards):
    """What a verdict compares, as options."""
    primary = is_primary(wildcards.dataset)
    return as_options(
        {
            "likelihoods": SETTINGS["likelihoods"],
            "seeds": SEEDS,
            "control_seeds": control_seeds_of(wildcards.dataset),
            "protocols": PROTOCOLS if primary else [],
        }
    )


rule verdict:
    input:
        "results/{dataset}/counts.h5ad",
        lambda wildcards: verdicts_of(wildcards.dataset),
        lambda wildcards: expand(
            "{fit}/{file}",
            fit=fits_of(wildcards.dataset),
            file=["fit.json", "scores.parquet", "cells.parquet", "entries.npz"],
        ),
        lambda wildcards: expand(
            "results/{dataset}/{baseline}/seed0/{file}",
            dataset=wildcards.dataset,
            baseline=baselines_of(wildcards.dataset),
            file=["scores.parquet", "cells.parquet", "entries.npz"],
        ),
    output:
        verdict="results/{dataset}/verdict.json",
        genes="results/{dataset}/verdict_genes.parquet",
    log:
        "logs/{dataset}/verdict.log",
    benchmark:
        "benchmarks/{dataset}/verdict.tsv"
    conda:
        "../../envs/counts.yaml"
    threads: 1
    resources:
        mem_mb=scaled_memory(4000),
        runtime=60,
    params:
        folder=subpath(output.verdict, parent=True),
        arms=verdict_arms,
        settings=section_options("verdict"),
        code=fingerprint("verdict"),
    message:
        "Decide which loss tells the story of {wildcards.dataset}"
    shell:
        "countae verdict {params.folder:q} {output.verdict:q} --genes {output.genes:q}"
        " {params.arms} {params.settings} > {log:q} 2>&1"


rule export:
    input:
        "results/{dataset}/verdict.json",
        "results/{dataset}/verdict_genes.parquet",
        "results/{dataset}/triage.json",
        "results/{dataset}/counts.h5ad",
        expand(
            "results/{{dataset}}/{likelihood}/seed{seed}/model.safetensors",
            likelihood=SETTINGS["likelihoods"],
            seed=SEEDS[0],
        ),
    output:
        "results/{dataset}/{dataset}.h5ad",
    log:
        "logs/{dataset}/export.log",
    benchmark:
        "benchmarks/{dataset}/export.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=scaled_memory(4000),
        runtime=60,
    wildcard_constraints:
        dataset=ONE_DATASET,
    params:
        folder=subpath(output[0], parent=True),
        arms=as_options({"likelihoods": SETTINGS["likelihoods"], "seed": SEEDS[0]}),
        code=fingerprint("export"),
    message:
        "Write {output} for scanpy"
    shell:
        "countae export {params.folder:q} {output:q} {params.arms} --threads {threads}"
        " > {log:q} 2>&1"
