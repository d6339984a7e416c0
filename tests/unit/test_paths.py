"""No verb writes over what it reads: declared for every parameter, refused before anything."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.main import get_command

from countae.cli import RESULTS, app
from countae.cli import VERBS as PANELS
from countae.errors import ConfigError
from countae.paths import Input, Output, declared, kept_apart

COMMANDS = get_command(app).commands
VERBS = {verb.__name__.replace("_", "-"): verb for verbs in PANELS.values() for verb in verbs}
VERBS["list"] = VERBS.pop("list-members")


def marked(verb, kind):
    return {name: mark for name, (_, mark) in declared(VERBS[verb]).items() if type(mark) is kind}


NO_PLACE = {"library_size_key", "donor_key", "protein_key"}  # keys, whose help tells of files
READ_AND_WRITTEN = [
    (verb, one, other)
    for verb in VERBS
    for one in marked(verb, Input)
    for other in marked(verb, Output)
]
WRITTEN_TWICE = [
    (verb, one, other)
    for verb in VERBS
    for number, one in enumerate(marked(verb, Output))
    for other in [*marked(verb, Output)][:number]
]


def call(verb, folder, /, **given):
    """Run a verb in this process, with some value for every parameter that must have one."""
    words = []
    for parameter in COMMANDS[verb].params:
        name = parameter.name
        if name not in given and not parameter.required:
            continue
        value = given.get(name) or _some_value(verb, parameter, folder)
        if parameter.param_type_name == "option":
            words.append(parameter.opts[0])
        words.append(str(value))
    COMMANDS[verb].main(words, standalone_mode=False)


def _some_value(verb, parameter, folder):
    mark = {name: mark for name, (_, mark) in declared(VERBS[verb]).items()}.get(parameter.name)
    if isinstance(mark, Output):
        return folder / f"{parameter.name}{ending(mark)}"
    if isinstance(mark, Input):
        return folder / f"{parameter.name}.in"
    return "nb"


def ending(mark):
    return mark.endings[0] if mark.endings else ".any"


def test_every_verb_declares_what_it_reads_and_writes():
    """A path without a mark does not even get into the command line; nor does a file in a text."""
    assert {*VERBS} == {*COMMANDS}
    for verb, command in COMMANDS.items():
        known = declared(VERBS[verb])
        for parameter in command.params:
            told = re.search(r"\b(file|folder)s?\b|\.(json|h5ad)\b", parameter.help or "")
            settings = "settings" in (parameter.rich_help_panel or "").lower()
            if told and not settings and parameter.name not in NO_PLACE:
                assert parameter.name in known, (verb, parameter.name)
    silent = {verb for verb in VERBS if not marked(verb, Output)}
    assert silent == {"explain", "status", "list"}


def test_a_path_without_a_mark_is_no_verb():
    def verb(output: Annotated[Path | None, typer.Argument(help="A file.")] = None) -> None: ...

    with pytest.raises(TypeError, match="output needs the mark"):
        kept_apart(verb, set())


@pytest.mark.parametrize(("verb", "source", "output"), READ_AND_WRITTEN)
def test_no_verb_writes_over_what_it_reads(verb, source, output, tmp_path):
    path = tmp_path / f"mine{ending(marked(verb, Output)[output])}"
    path.write_bytes(b"precious")
    with pytest.raises(ConfigError, match=r"must be another place than .*Fix: name another"):
        call(verb, tmp_path, **{source: path, output: path})
    assert path.read_bytes() == b"precious"
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize(("verb", "one", "other"), WRITTEN_TWICE)
def test_no_verb_writes_two_things_into_one_file(verb, one, other, tmp_path):
    marks = marked(verb, Output)
    path = tmp_path / f"new{ending(marks[one])}"
    wrong = "must be two places" if ending(marks[one]) == ending(marks[other]) else "file, but"
    with pytest.raises(ConfigError, match=wrong):
        call(verb, tmp_path, **{one: path, other: path})
    assert not [*tmp_path.iterdir()]


def test_a_source_of_several_files_is_each_of_them(tmp_path):
    """Also by a pattern, which would find the output of an earlier run."""
    for name in ("a.h5ad", "b.h5ad"):
        (tmp_path / name).write_bytes(b"precious")
    for source in (f"{tmp_path}/a.h5ad;{tmp_path}/b.h5ad", f"{tmp_path}/*.h5ad"):
        with pytest.raises(
            ConfigError, match=r"b\.h5ad: OUTPUT must be another place than SOURCE"
        ):
            call("prepare", tmp_path, source=source, output=tmp_path / "b.h5ad")
    with pytest.raises(ConfigError, match="--genes"):
        call("prepare", tmp_path, source="simulate:nb", wanted_genes=tmp_path / "a.h5ad",
             output=tmp_path / "a.h5ad")  # fmt: skip


@pytest.mark.parametrize("way", ["symbolic", "hard", "folder", "spelled"])
def test_links_are_followed(way, tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    raw, other = tmp_path / "real" / "raw.h5ad", tmp_path / "real" / "other.h5ad"
    raw.write_bytes(b"precious")
    if way == "symbolic":
        other.symlink_to(raw)
    elif way == "hard":
        os.link(raw, other)
    elif way == "folder":
        (tmp_path / "link").symlink_to(tmp_path / "real")
        other = tmp_path / "link" / "raw.h5ad"
    else:
        monkeypatch.chdir(tmp_path)
        other = Path("real/../real/raw.h5ad")
    with pytest.raises(ConfigError, match="but is the same as"):
        call("hide", tmp_path, counts=raw, output=other)
    assert raw.read_bytes() == other.read_bytes() == b"precious"


def test_outputs_that_are_not_there_yet_are_the_same_through_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigError, match="OUTPUT and --cells must be two places"):
        call("score", tmp_path, output=tmp_path / "real" / "s.parquet",
             cells=tmp_path / "link" / "s.parquet")  # fmt: skip


RESULT = Annotated[Path, typer.Argument(help="What comes out."), Output("verdict.json")]
FOLDER = Annotated[Path, typer.Argument(help="Results."), Input()]


def decide(folder: FOLDER, output: RESULT) -> None:
    """As `verdict` reads a folder and writes into it."""
    output.write_text("new")


@pytest.mark.parametrize("name", ["verdict.json", "sub/verdict.json", "mine.json"])
def test_a_folder_that_is_read_gets_its_results(name, tmp_path):
    """Also when they are there from before, whatever they are called."""
    (tmp_path / "sub").mkdir()
    for _ in range(2):
        kept_apart(decide, RESULTS)(folder=tmp_path, output=tmp_path / name)
    assert (tmp_path / name).read_text() == "new"


def test_what_other_steps_left_in_a_folder_that_is_read_is_not_replaced(tmp_path):
    (tmp_path / "nb" / "seed0").mkdir(parents=True)
    record = tmp_path / "nb" / "seed0" / "fit.json"
    record.write_text("{}")
    (tmp_path / "link.json").symlink_to(record)
    for path in (record, tmp_path / "link.json"):
        with pytest.raises(ConfigError, match=r"must not replace .* but a fit\.json is there"):
            call("verdict", tmp_path, folder=tmp_path, output=path)
    assert record.read_text() == "{}"
    (tmp_path / "counts.h5ad").write_text("precious")
    with pytest.raises(ConfigError, match=r"but a counts\.h5ad is there"):
        call("export", tmp_path, folder=tmp_path, output=tmp_path / "counts.h5ad")


def test_a_file_outside_of_the_folder_that_is_read_is_nobodys(tmp_path):
    (tmp_path / "read").mkdir()
    (tmp_path / "fit.json").write_text("{}")
    kept_apart(decide, RESULTS)(folder=tmp_path / "read", output=tmp_path / "fit.json")
    assert (tmp_path / "fit.json").read_text() == "new"


@pytest.mark.parametrize(
    ("verb", "given", "fix"),
    [
        ("stress", {"output": "foo.csv"}, "name it foo.parquet"),
        ("score", {"cells": "cells"}, "but its name has no ending. Fix: name it cells.parquet"),
        ("prepare", {"output": "counts.zarr"}, "name it counts.h5ad"),
        ("report", {"output": "page.pdf"}, "must be a .html or .htm file"),
        ("verdict", {"genes": "genes.tsv"}, "name it genes.parquet"),
    ],
)
def test_a_name_that_tells_another_format_is_refused(verb, given, fix, tmp_path):
    with pytest.raises(ConfigError, match=re.escape(fix)):
        call(verb, tmp_path, **{name: tmp_path / path for name, path in given.items()})
    assert not [*tmp_path.iterdir()]


def test_the_raw_file_of_a_user_survives(tmp_path):
    """As a person meets it: exit 2, the message alone, nothing written."""
    raw = tmp_path / "raw.h5ad"
    raw.write_bytes(b"precious")
    words = ["prepare", raw, raw, "--triage", tmp_path / "t.json"]
    done = subprocess.run(
        [sys.executable, "-m", "countae", *map(str, words)], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "OUTPUT must be another place than SOURCE" in done.stderr
    assert "Traceback" not in done.stderr
    assert [*tmp_path.iterdir()] == [raw]
    assert raw.read_bytes() == b"precious"


def test_the_walk_is_not_empty():
    assert len(READ_AND_WRITTEN) > 40
    assert ("prepare", "source", "triage") in READ_AND_WRITTEN
    assert inspect.signature(kept_apart(decide, set())) == inspect.signature(decide)
