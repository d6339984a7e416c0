"""What `countae run` calls a data set."""

from __future__ import annotations

import re

import pytest

from countae.config import schema
from countae.launch import _short_name

NAMES = {
    "counts.h5ad": "data", "my counts.h5ad": "my_counts", "a/b/pbmc.3k.h5ad": "pbmc.3k",
    "builtin:pbmc68k_reduced": "pbmc68k_reduced", "simulate:nb": "nb", "_.csv": "data",
}  # fmt: skip


@pytest.mark.parametrize("source", NAMES)
def test_the_name_of_a_file_becomes_an_id_that_the_sheet_takes(source):
    name = _short_name(source)
    assert name == NAMES[source]
    assert re.match(schema("datasets")["properties"]["id"]["pattern"], name)
