"""The losses as a library: imports by class name, Torch's interface, and every example."""

from __future__ import annotations

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import countae.likelihoods as library
from countae import likelihoods
from countae.new_likelihood import write
from countae.registry import PLUGINS

ROOT = Path(__file__).parents[3]
NAMES = likelihoods.names()
PARAMETERS = {
    "location": 1.3,
    "zero_logit": -0.4,
    "prob_zero_logit": 0.2,
    "share_logit": -2.0,
    "trials": 3.0,
}


def distribution(name, **more):
    family = likelihoods.get(name)()
    at = {key: torch.tensor(PARAMETERS.get(key, 1.7)) for key in family.parameters} | more
    return family.distribution(**at)


@pytest.mark.parametrize("name", NAMES)
def test_every_class_is_found_by_its_name(name):
    """And is listed."""
    member = likelihoods.get(name)
    assert getattr(library, member.__name__) is member
    assert member.__name__ in dir(library)


def test_type_checkers_know_the_same_classes():
    """Each line for them names a class that is found; a new loss works without one."""
    text = Path(library.__file__).read_text()
    named = set(re.findall(r"import \(?\s*(\w+) as \1", text))
    assert named - {"Likelihood", "CountDistribution"} <= {
        likelihoods.get(name).__name__ for name in NAMES
    }
    assert len(named) > 20


def test_plugins_are_found_by_their_class(tmp_path, monkeypatch):
    (tmp_path / "likelihoods").mkdir()
    write("bursty_loss", tmp_path / "likelihoods")
    monkeypatch.setenv(PLUGINS, str(tmp_path))
    before = [*library.__path__]
    try:
        family = library.BurstyLoss()
        np.testing.assert_allclose(family.distribution(mean=1.0).prob_zero, 0.5)
    finally:
        library.__path__[:] = before
        likelihoods.registry._members.pop("bursty_loss", None)


def test_what_is_not_there_is_told():
    with pytest.raises(AttributeError, match="no attribute 'NegativeBinomal'"):
        library.NegativeBinomal  # noqa: B018


def test_importing_the_library_loads_no_torch():
    code = "import sys, countae.likelihoods; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("name", NAMES)
def test_has_an_example(name):
    """A line to copy in the docstring of every class, run below."""
    member = likelihoods.get(name)
    assert f">>> from countae.likelihoods import {member.__name__}\n" in member.__doc__


@pytest.mark.parametrize("name", ["_base", *NAMES])
def test_examples_in_docstrings_are_true(name):
    module = importlib.import_module(f"countae.likelihoods.{name}")
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


def test_the_how_to_page_is_true():
    page = ROOT / "docs" / "howto-likelihoods-as-a-library.md"
    found = doctest.testfile(str(page), module_relative=False)
    assert found.attempted > 10
    assert found.failed == 0


@pytest.mark.parametrize("name", NAMES)
def test_speaks_as_torch_distributions_do(name):
    """Oracle: the likelihood's own methods, tested elsewhere; shapes as Torch has them."""
    made = distribution(name, **{likelihoods.get(name).parameters[0]: torch.tensor([0.5, 0.9])})
    assert isinstance(made, torch.distributions.Distribution)
    family, at = made.likelihood, made.parameters
    assert made.batch_shape == (2,)
    assert made.event_shape == ()
    counts = torch.tensor([[0.0, 1.0], [5.0, 2.0], [3.0, 0.0]])
    wide = {key: value.expand(3, 2) for key, value in at.items()}
    assert torch.equal(made.log_prob(counts), family.log_pmf(counts, **wide))
    assert torch.equal(made.cdf(counts), family.cdf(counts, **wide))
    assert made.log_prob(torch.tensor(3)).shape == (2,)
    assert torch.equal(made.mean, family.mean(**at))
    assert torch.equal(made.variance, family.variance(**at))
    torch.testing.assert_close(made.stddev, made.variance.sqrt())
    assert torch.equal(made.prob_zero, family.prob_zero(**at))
    more = made.expand((4, 2))
    assert more.batch_shape == (4, 2)
    assert more.log_prob(torch.zeros(4, 2)).shape == (4, 2)
    assert family.title.split()[0].isprintable()
    assert type(family).__name__ in repr(made)


@pytest.mark.parametrize("name", NAMES)
def test_samples_follow_torchs_seed(name):
    made = distribution(name)
    drawn = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        drawn.append(made.sample((200,)))
    assert drawn[0].shape == (200,)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert made.support.check(drawn[0]).all()


def test_gradients_flow_into_parameters():
    mean = torch.tensor(2.0, requires_grad=True)
    distribution("poisson", mean=mean).log_prob(torch.tensor(5.0)).backward()
    torch.testing.assert_close(mean.grad, torch.tensor(1.5))  # x/μ − 1


@pytest.mark.parametrize("name", NAMES)
def test_bad_parameters_are_told(name):
    """Outside their range, missing, or of another loss; without validation they pass."""
    family = likelihoods.get(name)()
    positive = [key for key in family.parameters if key not in PARAMETERS]
    for key in positive:
        with pytest.raises(ValueError, match=rf"`{key}` must be a \w+ number > 0, but holds -2"):
            distribution(name, **{key: torch.tensor([1.0, -2.0])})
    for key in {*family.parameters} - {*positive}:
        with pytest.raises(ValueError, match="must be a .*number.*, but holds nan"):
            distribution(name, **{key: torch.tensor(torch.nan)})
    with pytest.raises(TypeError, match=f"needs the parameters {family.parameters[0]}"):
        family.distribution(rate=torch.tensor(1.0))
    distribution(name, **{family.parameters[-1]: torch.tensor(1.0)})
    unchecked = {key: torch.tensor(-1.0) for key in family.parameters}
    assert family.distribution(validate_args=False, **unchecked).batch_shape == ()


@pytest.mark.parametrize("bad", [-1.0, 0.5])
def test_bad_counts_are_told(bad):
    with pytest.raises(ValueError, match="support"):
        distribution("nb").log_prob(torch.tensor([1.0, bad]))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("Poisson", {"mean": 2}),
        ("NegativeBinomial", {"mean": 2, "inverse_dispersion": 1}),
        ("MseCounts", {"location": 2, "scale": 1, "size_factor": 1}),
        (
            "ZeroInflatedNegativeBinomial",
            {"mean": torch.tensor([2, 3]), "inverse_dispersion": 1, "zero_logit": 0},
        ),
    ],
)
def test_whole_numbers_are_numbers(name, parameters):
    counts, kind = torch.tensor([0, 5]), getattr(library, name)()
    whole = kind.distribution(**parameters)
    given = kind.distribution(**{key: value * 1.0 for key, value in parameters.items()})
    for method in ("log_prob", "cdf"):
        found = getattr(whole, method)(counts)
        assert torch.equal(found, getattr(given, method)(counts.float()))
        assert found.dtype == torch.float32
    for value in ("mean", "variance", "prob_zero"):
        assert torch.equal(getattr(whole, value), getattr(given, value))


@pytest.mark.parametrize("bad", [{"mean": torch.inf}, {"inverse_dispersion": torch.inf}])
def test_infinite_parameters_are_refused(bad):
    with pytest.raises(ValueError, match="must be a finite number > 0, but holds inf"):
        library.NegativeBinomial().distribution(**({"mean": 1.0, "inverse_dispersion": 1.0} | bad))
    with pytest.raises(ValueError, match="`trials` must be a whole number > 0, but holds 2.5"):
        library.BetaBinomial().distribution(share_logit=0.0, concentration=1.0, trials=2.5)


@pytest.mark.parametrize("name", [n for n in likelihoods.names() if likelihoods.get(n).by_cell])
def test_a_loss_of_whole_cells_has_no_compiled_one(name):
    assert likelihoods.get(name)().compiled_loss() is None
