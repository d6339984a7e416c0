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


def main() -> None:
    """Print the page."""
    print(INTRO)
    print("## config.yaml\n\n| key | type | default | meaning |\n|---|---|---|---|")
    for key, rule in schema()["properties"].items():
        _rows(key, rule)
    print("\n## datasets.tsv\n\n| column | default | meaning |\n|---|---|---|")
    for key, rule in schema("datasets")["properties"].items():
        default = (
            f"`{rule['default']}`"
            if rule.get("default")
            else "empty"
            if "default" in rule
            else "required"
        )
        print(f"| `{key}` | {default} | {rule['description']} |")


def _rows(key: str, rule: dict) -> None:
    """Lines of the table for a key, or for a section's keys."""
    if rule["type"] == "object":
        print(f"| **{key}** | | | {rule['description']} |")
        for name, inner in rule["properties"].items():
            _rows(f"{key}.{name}", inner)
        return
    kind = " or ".join(map(str, rule["enum"])) if "enum" in rule else rule["type"]
    if kind == "array":
        kind = f"list of {rule['items']['type']}"
    print(f"| `{key}` | {kind} | `{json.dumps(rule['default'])}` | {rule['description']} |")


if __name__ == "__main__":
    main()
