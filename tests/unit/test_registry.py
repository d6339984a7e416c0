from __future__ import annotations

import sys

import pytest

from countae import baselines, likelihoods, metrics, peers, simulate
from countae.errors import ConfigError
from countae.new_likelihood import write
from countae.registry import PLUGINS, Registry, did_you_mean, use_plugins


@pytest.mark.parametrize("package", [baselines, likelihoods, metrics, peers, simulate])
def test_every_file_registers_a_member_of_its_name(package):
    for name in package.names():
        assert package.get(name) is not None


def test_an_unknown_name_is_answered_with_the_nearest_one():
    with pytest.raises(ConfigError, match=r"no likelihood called 'zimb'. Did you mean 'zinb'\?"):
        likelihoods.get("zimb")


def test_a_member_must_live_in_a_file_of_its_name():
    with pytest.raises(TypeError, match="must live in a file of that name"):
        Registry("countae.likelihoods", "likelihood").register("other")(type("X", (), {}))


def test_a_long_list_of_known_names_is_cut():
    known = [f"gene{i:03}" for i in range(500)]
    assert did_you_mean("zzz", known).endswith("… (500 in all).")


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """A folder of plugins in use; the registry and imports are as before afterwards."""
    monkeypatch.setenv(PLUGINS, "")
    monkeypatch.setattr(likelihoods, "__path__", [*likelihoods.__path__])
    monkeypatch.setattr(likelihoods.registry, "_members", dict(likelihoods.registry._members))
    folder = tmp_path / "plugins"
    (folder / "likelihoods").mkdir(parents=True)
    use_plugins(folder)
    yield folder / "likelihoods"
    for name in [n for n in sys.modules if n.startswith("countae.likelihoods.mine")]:
        del sys.modules[name]


def test_a_plugin_is_a_member_like_any_other(plugins):
    write("mine", plugins)
    assert "mine" in likelihoods.names()
    assert likelihoods.get("mine").title == "A new loss (mine)"
    assert likelihoods.check("mine") == "mine"
    assert "mine" not in metrics.names()


def test_a_plugin_may_not_replace_a_member(plugins):
    (plugins / "nb.py").write_text("")
    with pytest.raises(ConfigError, match=r"nb.py: there is a likelihood called 'nb' already"):
        likelihoods.names()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1", "registers no likelihood called 'mine_broken'"),
        ("import (", "cannot be imported: SyntaxError"),
        ("import no_such_module", "cannot be imported: ModuleNotFoundError"),
        ("import sys; sys.exit(3)", "cannot be imported: SystemExit: 3"),
        ("raise SystemExit", "cannot be imported: SystemExit"),
        ("{}['theta']", "cannot be imported: KeyError: 'theta'"),
    ],
)
def test_a_plugin_that_does_not_load_is_told_with_its_file(plugins, text, words):
    (plugins / "mine_broken.py").write_text(text)
    with pytest.raises(ConfigError, match=r"mine_broken.py: .*Fix") as told:
        likelihoods.get("mine_broken")
    assert words in str(told.value)


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        *((name, "baseline") for name in ("gene_mean", "oracle")),
        ("scvi_nb", "peer"),
        *((name, "hold-out protocol") for name in ("masked", "thinning", "nb_splitting")),
        *((name, "word") for name in ("referee", "tie", "undecided", "not_testable", "native")),
    ],
)
def test_a_new_loss_may_not_have_the_name_of_something_else_in_results(tmp_path, name, meaning):
    with pytest.raises(ConfigError, match=rf"'{name}' cannot name a loss.* a {meaning}.*Fix"):
        write(name, tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_new_loss_may_have_the_name_of_a_simulator(tmp_path):
    """Limit: simulators and losses never stand in the same place."""
    assert write("heavy_tailed", tmp_path).exists()
