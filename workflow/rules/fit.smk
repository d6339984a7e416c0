rule fit:
    input:
        counts="results/{dataset}/counts.h5ad",
        triage=triage_of,
        tuned="results/{dataset}/{likelihood}/tuning.json" if TRIALS else [],
    output:
        model="results/{dataset}/{likelihood}/seed{seed}/model.safetensors",
        record="results/{dataset}/{likelihood}/seed{seed}/fit.json",
    log:
        "logs/{dataset}/{likelihood}/seed{seed}/fit.log",
    benchmark:
        "benchmarks/{dataset}/{likelihood}/seed{seed}/fit.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: one_per_device
    resources:
        mem_mb=memory_of("fit"),
        runtime=minutes_of("fit"),
        gpu=gpus,
        device=SETTINGS["device"],
        devices=1,
    params:
        settings=fit_settings,
        code=fingerprint("fit"),
    message:
        "Fit the {wildcards.likelihood} autoencoder on {wildcards.dataset} (seed {wildcards.seed})"
    shell:
        "countae fit {input.counts:q} {output.model:q} --record {output.record:q}"
        " --likelihood {wildcards.likelihood} --seed {wildcards.seed} {params.settings}"
        " --threads {threads} --device {resources.device} --devices {resources.devices}"
        " > {log:q} 2>&1"
