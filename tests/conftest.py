"""Shared fixtures: small simulated counts, prepared like real ones."""

from __future__ import annotations

import os
from pathlib import Path

import named_files as named
import numpy as np
import pytest

from countae import config
from countae.config import Source
from countae.prepare import prepare

SETTINGS = config.validated({})


def prepared(source: str, *, cells: int = 150, genes: int = 40, **row: str):
    """Counts and triage of a small data set."""
    size = {"n_cells": cells, "n_genes": genes, "n_types": 3, "depth": 4.0 * genes}
    return prepare(
        Source(source, **({"genes": "all"} | row)),
        simulate=SETTINGS["simulate"] | size,
        quality=SETTINGS["quality"],
        genes=SETTINGS["genes"],
        held_out=SETTINGS["split"],
    )


def pytest_collection_modifyitems(items):
    """Skip what needs a GPU where there is none."""
    import torch

    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session")
def small_nb():
    """150 × 40 negative binomial counts with split and folds."""
    return prepared("simulate:nb")[0]


@pytest.fixture(scope="session")
def named_files(tmp_path_factory):
    """Folder with every file that a page of docs/ names."""
    return named.write(tmp_path_factory.mktemp("named_files"))


@pytest.fixture
def rng():
    return np.random.default_rng(20240501)


@pytest.fixture(scope="session")
def real_data():
    """Folder with real count matrices, where COUNTAE_DATA names one."""
    folder = os.environ.get("COUNTAE_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("COUNTAE_DATA is not set")
    return Path(folder)
