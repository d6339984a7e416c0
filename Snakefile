# Entry point at the root. `include` alone would drop the included file's default target, so that
# snakemake found "Nothing to be done"; the rule below names it again.
include: "workflow/Snakefile"


rule default:
    default_target: True
    input:
        rules.all.input,
