"""Results of a run, for all tests of the report."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_results import Results


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of results that no test changes."""
    made = Results(tmp_path_factory.mktemp("results"))
    made.oracle, made.referee = True, made.confusion()
    made.protocols = {
        "thinning": made.other_protocol(False, "Under thinning ZINB is better than NB."),
        "nb_splitting": made.other_protocol(None, "Under nb splitting nobody can tell."),
    }
    return made.write()


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Results to change and write."""
    return Results(tmp_path)


@pytest.fixture
def ranks() -> dict:
    """Content of ranking.json for two data sets."""
    return {
        "datasets": ["toy", "other"], "losses": ["mse_log1p", "nb", "zinb"],
        "scores": {"toy": {"mse_log1p": 0.95, "nb": 0.87, "zinb": 0.88},
                   "other": {"nb": 0.5, "zinb": 0.4}},
        "ranks": {"toy": {"mse_log1p": 3.0, "nb": 1.0, "zinb": 2.0},
                  "other": {"nb": 2.0, "zinb": 1.0}},
        "mean_ranks": {"mse_log1p": 3.0, "nb": 1.5, "zinb": 1.4},
        "friedman": None, "critical_difference": None, "reason": "Below six data sets no test.",
    }  # fmt: skip
