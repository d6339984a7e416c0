"""Print config/README.md from the schemas: `python docs/config_table.py > config/README.md`."""

from __future__ import annotations

import json

from countae.config import schema

INTRO = """# Configuration

Made from `workflow/schemas/` by `make docs`; do not edit.

Two files describe a run. `config.yaml` says what is compared and how; a key that is left out has
the default below, and a key that does not exist is an error with a proposal. `datasets.tsv` has
one row per data set, columns separated by tabs: **to use your own counts, edit one row**.

Every verb of `countae` takes the keys of its sections as options (`--max-epochs 500`), with the
same defaults. Relative paths start at the folder in which Snakemake runs.
"""


def table() -> str:
    """The page."""
    lines = [
        INTRO,
        "## config.yaml",
        "",
        "| key | type | default | meaning |",
        "|---|---|---|---|",
    ]
    for key, rule in schema()["properties"].items():
        lines += _rows(key, rule)
    lines += ["", "## datasets.tsv", "", "| column | default | meaning |", "|---|---|---|"]
    for key, rule in schema("datasets")["properties"].items():
        default = (
            f"`{rule['default']}`"
            if rule.get("default")
            else "empty"
            if "default" in rule
            else "required"
        )
        lines.append(f"| `{key}` | {default} | {rule['description']} |")
    return "\n".join(lines) + "\n"


def _rows(key: str, rule: dict) -> list[str]:
    """Lines of the table for a key, or for a section's keys."""
    if rule["type"] == "object":
        head = f"| **{key}** | | | {rule['description']} |"
        parts = [_rows(f"{key}.{name}", inner) for name, inner in rule["properties"].items()]
        return [head, *(row for part in parts for row in part)]
    kind = " or ".join(map(str, rule["enum"])) if "enum" in rule else rule["type"]
    if kind == "array":
        kind = f"list of {rule['items']['type']}"
    return [f"| `{key}` | {kind} | `{json.dumps(rule['default'])}` | {rule['description']} |"]


if __name__ == "__main__":
    print(table(), end="")
