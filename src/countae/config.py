"""The configuration: read, checked against the schema, defaults filled in from it."""

from __future__ import annotations

import csv
import math
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from countae.errors import ConfigError
from countae.registry import did_you_mean, use_plugins


@dataclass(frozen=True)
class Source:
    """One row of the table of data sets (see workflow/schemas/datasets.schema.yaml)."""

    source: str
    layer: str = ""
    label_key: str = ""
    batch_key: str = ""
    library_size_key: str = ""
    protocol: str = "auto"
    genes: str = "2000"
    donor_key: str = ""
    orientation: str = "auto"
    protein_key: str = ""


def workflow_folder() -> Path:
    """Folder of the Snakemake workflow: inside an installed package, or beside ``src``."""
    inside = Path(__file__).parent / "_workflow"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "workflow"


@cache
def schema(name: str = "config") -> dict[str, Any]:
    """Schema of ``config`` or ``datasets``: keys, types, defaults and meanings."""
    import yaml

    text = (workflow_folder() / "schemas" / f"{name}.schema.yaml").read_text()
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def section(name: str) -> dict[str, dict[str, Any]]:
    """Schema of each key of one section of the configuration, such as ``network``."""
    return schema()["properties"][name]["properties"]


def defaults(name: str) -> dict[str, Any]:
    """Default of each key of one section."""
    return {key: rule["default"] for key, rule in section(name).items()}


def check_section(name: str, values: dict[str, Any]) -> None:
    """Raise ConfigError when values of one section, given as options, break the schema."""
    _check(values, schema()["properties"][name], f"options of `{name}`")
    if name == "network":
        _check_network(defaults(name) | values, f"options of `{name}`")


def completed(name: str, values: dict[str, Any]) -> dict[str, Any]:
    """Values of one section, checked, with the schema's defaults for what is absent."""
    full = defaults(name) | values
    check_section(name, full)
    return full


def check_row(row: Source) -> None:
    """Raise ConfigError when a data set's row, given as options, breaks the schema."""
    given = {key: value for key, value in asdict(row).items() if value}
    _check({"id": "row", **given}, schema("datasets"), "data set")


def validated(config: dict[str, Any], *, where: str = "configuration") -> dict[str, Any]:
    """A complete configuration: checked, with every default filled in, its plugins in use.

    Parameters
    ----------
    config : dict
        What the user wrote; not changed.
    where : str
        Name of the file, for messages.

    Raises
    ------
    ConfigError
        For an unknown key ("did you mean"), a value of the wrong type or range, a likelihood,
        baseline, peer, metric or stress test that does not exist, parts of a network that make no
        sense together, or more tuning trials than different settings.
    """
    from countae import baselines, likelihoods, metrics, peers, protocols, simulate, stress, tuning

    _check(config, schema(), where)
    full = _filled(config, schema())
    if full["plugins"]:
        use_plugins(full["plugins"])
    for kind in (likelihoods, baselines, peers, metrics, protocols):
        for name in full[kind.__name__.rsplit(".", 1)[-1]]:
            kind.check(name)
    for name in full["referee"]["families"]:
        simulate.check(name)
    stress.wanted(full["stress"]["tests"])
    if "masked" in full["protocols"]:
        raise ConfigError(
            f"{where}: protocols names those besides masked entries, the primary one, which is "
            "always there. Fix: remove `masked` from `protocols`."
        )
    likelihoods.check(full["verdict"]["control"])
    if full["verdict"]["control"] not in full["likelihoods"]:
        raise ConfigError(
            f"{where}: verdict.control must be one of the likelihoods that are compared, but "
            f"{full['verdict']['control']!r} is not. Fix: add it to `likelihoods` or choose from "
            f"{', '.join(full['likelihoods'])}."
        )
    _check_network(full["network"], where)
    tuning.trials(full["tuning"], network=full["network"], training=full["training"])
    return full


def read_config(path: str | Path) -> dict[str, Any]:
    """Validated configuration from a YAML file."""
    import yaml

    path = existing_file(path, "configuration file")
    try:
        content = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not readable as YAML. {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must hold `key: value` lines, found {type(content).__name__}.")
    return validated(content, where=str(path))


def read_datasets(path: str | Path) -> dict[str, dict[str, str]]:
    """Rows of the table of data sets by ``id``, checked, with defaults filled in.

    Raises
    ------
    ConfigError
        For a missing file, an unknown column, an id that occurs twice, no row at all, or a cell
        that the schema does not allow.
    """
    from countae import simulate

    path = existing_file(path, "table of data sets")
    with path.open(newline="", encoding="utf-8-sig") as lines:
        rows = list(csv.DictReader((line for line in lines if line.strip()), delimiter="\t"))
    if not rows:
        raise ConfigError(
            f"{path}: needs a header line and one line per data set; found no data set."
        )
    datasets: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows, start=2):
        where = f"{path}, line {number}"
        if None in row:
            raise ConfigError(
                f"{where}: has more cells than the header has columns. Fix: separate cells by one "
                "tab each."
            )
        given = {key: value.strip() for key, value in row.items() if value and value.strip()}
        _check(dict.fromkeys(row, "x") | given, schema("datasets"), where, only_keys=True)
        _check(given, schema("datasets"), where)
        if given["id"] in datasets:
            raise ConfigError(
                f"{where}: id {given['id']!r} stands in the table twice; ids must differ."
            )
        if given["source"].startswith("simulate:"):
            simulate.check(given["source"].removeprefix("simulate:"))
        datasets[given["id"]] = _filled(given, schema("datasets"))
    return datasets


def gpus_per_fit(device: str) -> int:
    """1 where a fit should get a GPU: asked for, or ``auto`` and this machine has one, else 0."""
    here = shutil.which("nvidia-smi") is not None and Path("/dev/nvidia0").exists()
    return int(device == "cuda" or (device == "auto" and here))


def existing_file(path: str | Path, what: str) -> Path:
    """``path`` if it is a file; otherwise ConfigError with the nearest name in its folder."""
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing there"
        near = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        near = [name for name in near if name != path.name]
        hint = did_you_mean(path.name, near).split(" Known:")[0] if near else ""
        hint = "" if hint.startswith("Known:") else f" {hint}"
        raise ConfigError(
            f"{path}: expected a {what}, found {found} (from {Path.cwd()}).{hint} "
            "Fix: correct the path."
        )
    return path


def _check(value: Any, rules: dict[str, Any], where: str, *, only_keys: bool = False) -> None:
    """Raise ConfigError for the first violation of a schema, unknown keys before all others.

    A number must be finite besides: NaN breaks no bound, since every comparison with it is false.
    """
    import jsonschema

    errors = list(jsonschema.Draft202012Validator(rules).iter_errors(value))
    errors.sort(key=lambda error: error.validator != "additionalProperties")
    for error in errors:
        place = ".".join(map(str, error.absolute_path))
        if error.validator == "additionalProperties":
            unknown = next(key for key in error.instance if key not in error.schema["properties"])
            within = f" in {place}" if place else ""
            raise ConfigError(
                f"{where}: unknown key {unknown!r}{within}. "
                f"{did_you_mean(unknown, error.schema['properties'])}"
            )
        if not only_keys:
            meaning = error.schema.get("description", "")
            raise ConfigError(
                f"{where}: {place or 'top level'}: {error.message}. {meaning}".rstrip()
            )
    for place, number in _not_finite(value):
        raise ConfigError(
            f"{where}: {place or 'top level'}: must be a finite number, but is {number}. Fix: "
            "write a number, or leave the key out for its default."
        )


def _check_network(network: dict[str, Any], where: str) -> None:
    """Raise ConfigError for parts of a network that make no sense together."""
    for key in ("kl_weight", "kl_warm_up"):
        if network["bottleneck"] == "plain" and network[key] != defaults("network")[key]:
            raise ConfigError(
                f"{where}: network.{key} is {network[key]}, but only a variational bottleneck has "
                "a KL divergence, and this one is plain. Fix: set network.bottleneck to "
                f"variational, or leave {key} out."
            )
    if network["activation"] == "linear" and network["norm"] == "layer" and network["hidden"]:
        raise ConfigError(
            f"{where}: network.activation is linear, but network.norm is layer, which divides "
            "every cell's hidden units by their own spread, so the network would not be linear. "
            "Fix: set network.norm to none, or to batch."
        )
    if network["weights"] == "tied" and network["conditions"]:
        raise ConfigError(
            f"{where}: network.weights is tied, but network.conditions are "
            f"{', '.join(network['conditions'])}: what encoder and decoder are told enters both "
            "at their inputs, which have no mirror image. Fix: set network.weights to free, or "
            "leave conditions out."
        )


def _not_finite(value: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """Place and value of each NaN or infinity inside nested values."""
    if isinstance(value, float) and not math.isfinite(value):
        yield place, value
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _not_finite(inner, f"{place}.{key}" if place else str(key))


def _filled(value: dict[str, Any], rules: dict[str, Any]) -> dict[str, Any]:
    """Copy of ``value`` with the schema's defaults for what is absent, in the schema's order."""
    full = {}
    for key, rule in rules["properties"].items():
        if rule.get("type") == "object":
            full[key] = _filled(value.get(key) or {}, rule)
        elif key in value or "default" in rule:
            full[key] = value.get(key, rule.get("default"))
    return full
