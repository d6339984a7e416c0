"""What places that run the workflow rely on: container file, layout, catalog file, profiles."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROFILES = sorted((ROOT / "profiles").glob("*/config.yaml"))
RULES = "\n".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
CONTAINER = (ROOT / "Containerfile").read_text()


def test_the_container_has_the_python_and_the_packages_of_the_lock():
    lock = (ROOT / "envs/requirements.lock").read_text()
    python = re.search(r"for Python ([\d.]+)", lock)[1]
    assert re.search(r"^FROM \S*/python:([\d.]+)-slim", CONTAINER, re.M)[1] == python
    installs = re.findall(r"pip install(.*)", CONTAINER)
    assert [("--requirement envs/requirements.lock" in line) for line in installs] == [True, False]
    # nothing else than the package itself, and nothing that it would pull in
    assert installs[1].split() == ["--no-cache-dir", "--no-deps", "."]


def test_the_container_copies_what_is_there_and_what_the_package_is_built_of():
    copied = {
        word for line in re.findall(r"^COPY (.+) \S+$", CONTAINER, re.M) for word in line.split()
    }
    assert all((ROOT / name).exists() for name in copied)
    assert {"src", "workflow", "envs", "pyproject.toml", "README.md", "LICENSE"} <= copied


def test_the_layout_is_that_of_the_workflow_catalog():
    for name in ("workflow/Snakefile", "config/config.yaml", "config/README.md", "README.md"):
        assert (ROOT / name).is_file()
    readme = (ROOT / "README.md").read_text().lower()
    assert "snakemake" in readme
    assert "workflow" in readme
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert usage["software-stack-deployment"]["conda"]
    assert set(usage["mandatory-flags"]) == {"desc", "flags"}


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.parent.name)
def test_a_profile_names_rules_that_exist(path):
    """Snakemake does not tell a wrong name in `set-resources`: it would ask for nothing."""
    profile = yaml.safe_load(path.read_text())
    known = set(re.findall(r"^rule (\w+):", RULES, re.M))
    assert set(profile.get("set-resources", {})) <= known
    assert set(profile.get("groups", {})) <= known
    assert set(profile.get("group-components", {})) <= set(profile.get("groups", {}).values())


def test_profiles_for_slurm_differ_in_gpus_only():
    cpu, gpu = (
        yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text())
        for name in ("slurm", "slurm-gpu")
    )
    assert {key for key in cpu if cpu[key] != gpu[key]} == {"set-resources"}
    assert not any(line["gpu"] for line in cpu["set-resources"].values())
    asked = {rule for rule, line in gpu["set-resources"].items() if line["gpu"] == 1}
    assert asked == {"fit", "tune_trial", "bootstrap", "rehearse", "stress"}
    wish = {
        found
        for found, rest in re.findall(r"^rule (\w+):\n((?: .*\n|\n)*)", RULES, re.M)
        if "gpu=" in rest
    }
    assert set(cpu["set-resources"]) == set(gpu["set-resources"]) == wish


def test_rules_have_no_retries_of_their_own():
    """Snakemake would apply them once more inside each job of a cluster."""
    assert "retries:" not in RULES


def pins(name: str) -> dict[str, str]:
    """Versions that a lock has, by the name of the package."""
    lines = (ROOT / "envs" / name).read_text().splitlines()
    found = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {re.sub("[-_.]+", "-", package).lower(): version for package, version in found}


def test_the_lock_for_engines_has_their_plugins_and_changes_no_other_version():
    engines = pins("engines.lock")
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for line in extra["optional-dependencies"]["engines"]:
        name, least, below = re.fullmatch(r"([\w-]+)>=([\d.]+),<(\d+)", line).groups()
        version = [int(part) for part in engines[name].split(".")]
        assert [int(part) for part in least.split(".")] <= version < [int(below)], line
    assert not set(engines) & (set(pins("requirements.lock")) | set(pins("cluster.lock")))


def test_the_lock_for_clusters_has_the_plugin_that_the_package_names():
    lock = (ROOT / "envs/cluster.lock").read_text()
    version = re.search(r"^snakemake-executor-plugin-slurm==(\d+)\.(\d+)", lock, re.M)
    wanted = re.search(
        r"executor-plugin-slurm>=(\d+)\.(\d+)", (ROOT / "pyproject.toml").read_text()
    )
    assert version.groups() == wanted.groups()
