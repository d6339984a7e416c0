"""The commands of docs/howto-read-your-data.md, run on made-up files of the names there."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest
from typer.testing import CliRunner

from countae.cli import app

PAGE = Path(__file__).parents[2] / "docs" / "howto-read-your-data.md"
COMMANDS = re.findall(r"^    countae (.+)$", PAGE.read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.startswith("fetch")])
def test_a_command_of_the_page_runs(named_files, monkeypatch, command):
    import shlex

    monkeypatch.chdir(named_files)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = CliRunner().invoke(app, shlex.split(command))
    assert done.exit_code == 0, (done.output, done.exception)
    assert re.search(r"\d+ cells × \d+ genes", done.output)


def test_the_page_has_a_command_for_every_format():
    from countae.counts import readers

    named = {Path(word.strip('"')) for line in COMMANDS for word in line.split()[1:2]}
    assert {path.suffix for path in named} >= {
        ".h5ad", ".zarr", ".zip", ".h5", ".mtx", ".loom", ".csv", ".gz", "",
    }  # fmt: skip
    assert len(readers.names()) == 7
