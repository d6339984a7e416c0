"""The workflow inside another one, under a prefix and with a part of that one's configuration."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
CONFIG = {
    "lab": "ours",  # a key of the other workflow
    "story": {
        "datasets": "config/datasets.tsv",
        "likelihoods": ["mse_log1p", "nb"],
        "seeds": [0],
        "protocols": ["thinning"],
    },
}
OTHER = f"""
configfile: "config/config.yaml"

module story:
    snakefile: "{ROOT}/workflow/Snakefile"
    config: config["story"]
    prefix: "story"

use rule * from story as story_*

rule everything:
    default_target: True
    input: rules.story_all.input
"""


def test_another_workflow_plans_all_of_it_under_its_prefix(tmp_path):
    source = tmp_path / "counts.h5ad"
    source.write_bytes(b"")  # the prefix leaves a whole path alone
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    (tmp_path / "config" / "datasets.tsv").write_text(
        f"id\tsource\tgenes\nmine\t{source}\tall\nmade\tsimulate:nb\tall\n"
    )
    (tmp_path / "Snakefile").write_text(OTHER)
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--printshellcmds", "--cores", "1"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"}
    )
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    commands = [line.split("command: ")[1] for line in text.splitlines() if "countae " in line]
    named = [word for line in commands for word in line.split() if "results/" in word]
    assert len(named) > 100
    assert all(word.startswith("story/results/") for word in named if "," not in word)
    assert all(" > story/logs/" in line for line in commands)
    assert any(line.startswith(f"countae prepare {source} story/results/") for line in commands)
    assert any(
        line.startswith("countae rank story/results/mine story/results/made") for line in commands
    )
    assert any(
        line.startswith("countae report story/results/mine story/results/made")
        for line in commands
    )
