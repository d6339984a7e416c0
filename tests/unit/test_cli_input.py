"""Wrong options and damaged files, told without a traceback; run in this process."""

from __future__ import annotations

import copy
import json

import pytest
from made_up_verdict import VERDICT
from typer.testing import CliRunner

from countae.cli import app
from countae.cli_verdict import _replicates, _results
from countae.errors import ConfigError, CountaeError, ScoreError, told
from countae.options import LARGEST_SEED, completing, numbers

HUGE = "99999999999999999999"


def run(*words):
    return CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "200", "NO_COLOR": "1"})


@pytest.mark.parametrize(
    "words",
    [
        ("prepare", "simulate:nb", "c.h5ad", "--triage", "t.json", "--test-fraction", "nan"),
        ("fit", "c", "m.safetensors", "--record", "r.json", "--likelihood", "nb",
         "--learning-rate", "nan"),
        ("fit", "c", "m.safetensors", "--record", "r.json", "--likelihood", "nb",
         "--learning-rate", "inf"),
        ("verdict", "f", "v.json", "--genes", "g.parquet", "--likelihoods", "nb,zinb",
         "--seeds", "0", "--level", "nan"),
    ],
)  # fmt: skip
def test_an_option_must_be_a_finite_number(words):
    done = run(*words)
    assert isinstance(done.exception, ConfigError)
    assert f"{words[-2][2:].replace('-', '_')}: must be a finite number" in str(done.exception)


@pytest.mark.parametrize(
    "words",
    [
        ("fit", "c", "m", "--record", "r", "--likelihood", "nb", "--seed", HUGE),
        ("tune-trial", "c", "t", "--likelihood", "nb", "--seed", LARGEST_SEED + 1),
        ("export", "f", "o", "--likelihoods", "nb", "--seed", HUGE),
        ("export", "f", "o", "--likelihoods", "nb", "--seed=-1"),
    ],
)
def test_a_seed_has_32_bits(words):
    done = run(*words)
    assert done.exit_code == 2
    assert isinstance(done.exception, SystemExit)
    assert "Invalid value for '--seed'" in done.output


@pytest.mark.parametrize("seed", [HUGE, "-1", str(LARGEST_SEED + 1)])
@pytest.mark.parametrize("option", ["--seeds", "--control-seeds"])
def test_lists_of_seeds_have_32_bits_too(tmp_path, seed, option):
    seeds = {"--seeds": "0,1", "--control-seeds": "2,3"}
    seeds[option] += f",{seed}"
    with pytest.raises(ConfigError, match=f"^{option} must be .* but has {seed}. Fix"):
        _results(tmp_path, "nb,zinb", *seeds.values(), {"control": "nb"})
    largest = _results(tmp_path, "nb,zinb", "0", str(LARGEST_SEED), {"control": "nb"})
    assert largest.control_seeds == [LARGEST_SEED]


def verdict_without(key):
    """A verdict.json as `explain` reads it, without one key."""
    found = copy.deepcopy(VERDICT) | {"protocols": {"thinning": {"reason": "It survives."}}}
    *path, last = key.split(".") if key else [""]
    inner = found
    for step in path:
        inner = inner[step]
    inner.pop(last, None)
    return found


def test_a_whole_verdict_is_explained(tmp_path):
    path = tmp_path / "verdict.json"
    path.write_text(json.dumps(verdict_without("")))
    done = run("explain", path, path)
    assert done.exit_code == 0, done.exception
    assert done.output.count("\n  What to do next\n") == 2
    assert "    It survives." in done.output
    assert max(map(len, done.output.splitlines())) <= 100
    assert run("explain", "--short", path).output == f"{VERDICT['sentence']}\n"


@pytest.mark.parametrize(
    "key",
    [
        "sentence", "axes", "story", "overdispersion", "zero_inflation", "protocols", "genes",
        "axes.overall.outcome", "axes.overall.reason", "overdispersion.reason", "n_test_cells",
        "protocols.thinning.reason",
    ],
)  # fmt: skip
def test_a_verdict_that_lacks_what_is_explained_is_refused(tmp_path, key):
    path = tmp_path / "verdict.json"
    path.write_text(json.dumps(verdict_without(key)))
    done = run("explain", path)
    assert isinstance(done.exception, ScoreError)
    outer, inner = key.split(".")[0], key.split(".")[-1]
    assert outer in str(done.exception)
    assert inner in str(done.exception)
    assert "Fix: name the right file" in str(done.exception)


NB = {"significant_share": 0.0, "network_gap": -0.003, "normal_gap": 0.1}
WHOLE = {
    "poisson": [{"same_means_gap": 0.01}],
    "nb": [NB, NB],
    "gaussian": [{"normal_gap": 1}],
    "zinb_logistic": [NB | {"zero_p": 1e-4}],
}


def test_a_whole_bootstrap_is_read(tmp_path):
    path = tmp_path / "bootstrap.json"
    for found in (WHOLE, {}, {"nb": []}):
        path.write_text(json.dumps(found))
        assert _replicates(path) == found


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"nb": [{}]}, "nb.0: must be an object"),
        ({"nb": [1]}, "nb.0: must be an object"),
        ({"nb": [NB, None]}, "nb.1: must be an object"),
        ({"nb": [NB, {"network_gap": 0}]}, "has none for significant_share, normal_gap"),
        ({"nb": [NB | {"network_gap": "0"}]}, "has none for network_gap"),
        ({"nb": [NB | {"network_gap": True}]}, "has none for network_gap"),
        ({"nb": [NB | {"network_gap": None}]}, "has none for network_gap"),
        ({"poisson": [{"zero_p": 1}]}, "poisson.0: must be .* has none for same_means_gap"),
        ({"gaussian": [NB, {"zero_p": 1}]}, "gaussian.1: .* has none for normal_gap"),
        ({"zinb_logistic": [NB]}, "zinb_logistic.0: .* has none for zero_p"),
        ({"zinb_logistic": [{"zero_p": 1}]}, "has none for significant_share"),
        ({"nb": {}}, "must be a bootstrap.json"),
        ([], "must be a bootstrap.json"),
    ],
)
def test_a_bootstrap_that_lacks_a_statistic_is_refused(tmp_path, found, words):
    path = tmp_path / "bootstrap.json"
    path.write_text(json.dumps(found))
    with pytest.raises(ScoreError, match=words) as told:
        _replicates(path)
    assert str(told.value).startswith(str(path))
    assert "`countae bootstrap`" in str(told.value)
    assert isinstance(told.value, CountaeError)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda place: place.mkdir(), "a folder is needed there, but a file is"),
        (lambda place: (place / "x").touch(), "a folder is needed on the way"),
        (lambda place: place.parent.write_text(""), "a file is needed there, but a folder is"),
        (lambda place: (place.parent / "none").read_text(), "there is nothing of that name"),
    ],
)
def test_what_the_system_says_of_a_place_is_told_in_words(tmp_path, make, words):
    place = tmp_path / "file"
    place.touch()
    with pytest.raises(OSError, match="Errno") as caught:
        make(place)
    assert words in told(caught.value)
    assert str(tmp_path) in told(caught.value)
    assert "Fix: " in told(caught.value)


def test_other_errors_are_told_as_they_are():
    assert told(ScoreError("a.json: is damaged.")) == "a.json: is damaged."
    assert told(OSError("no place")) == "no place"


@pytest.mark.parametrize(
    ("words", "proposed"),
    [("nb", {"nb", "nb_batch", "nb_cell"}), ("nb,zip", {"nb,zip"}), ("unknown", set())],
)
def test_the_shell_is_told_names_of_losses(words, proposed):
    assert set(completing("likelihoods")(words)) == proposed


def test_a_list_that_is_no_numbers_names_its_option():
    with pytest.raises(ConfigError, match="--seeds must be whole numbers .* but is '0;1'"):
        numbers("0;1", "--seeds")
