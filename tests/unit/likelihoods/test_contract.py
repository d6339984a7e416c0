"""What every likelihood must keep to, over the registry: newcomers are tested unasked."""

from __future__ import annotations

import itertools
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from countae import likelihoods
from countae.likelihoods._base import GeneMoments
from countae.likelihoods._cut_density import CutDensity
from countae.noise import noise_families

NAMES = likelihoods.names()
SIZES = (0.05, 1.0, 20.0)
COUNTS = (0.0, 1.0, 2.0, 12.0, 13.0, 150.0, 1e4, 1e6)
EXTREME = list(
    itertools.product(
        (1e-6, 1e-4, 1e-2, 1.0, 30.0, 1e4, 1e5),  # mean
        (1e-4, 1e-3, 1e-1, 15.9, 16.1, 1e3, 1e6, 1e8),  # inverse dispersion
        (1e-6, 0.3, 0.999),  # zero probability
    )
)
MODERATE = [(0.05, 0.3, 0.1), (0.8, 1.5, 0.4), (4.0, 20.0, 0.05), (20.0, 1e3, 0.6)]


@pytest.fixture(params=NAMES)
def likelihood(request):
    return likelihoods.get(request.param)()


def moments_of(rows):
    """A gene per (mean, inverse dispersion, zero probability)."""
    mean, theta, zero = torch.tensor(rows, dtype=torch.float64).T
    return GeneMoments(mean, torch.log1p(mean), theta, zero)


def at_start(likelihood, rows, sizes=SIZES, dtype=torch.float64):
    """Head values, and counts and size factors, so that every cell meets every gene's start."""
    raw = {name: value.to(dtype) for name, value in likelihood.start(moments_of(rows)).items()}
    counts, size = torch.tensor(list(itertools.product(COUNTS, sizes)), dtype=dtype).T
    counts = counts[:, None].expand(-1, len(rows)).contiguous()
    return raw, counts, size[:, None]


def probabilities(likelihood, upto=30_000):
    """Counts 0 … upto and their log-probabilities, (count, gene), at moderate parameters."""
    raw = likelihood.start(moments_of(MODERATE))
    parameters = likelihood.constrain(raw, torch.ones(1, 1, dtype=torch.float64))
    counts = torch.arange(upto + 1, dtype=torch.float64)[:, None].expand(-1, len(MODERATE))
    return counts, likelihood.log_pmf(counts.contiguous(), **parameters), parameters


@pytest.mark.parametrize("name", NAMES)
def test_has_an_oracle_file(name):
    """A likelihood without tests of its own against an independent implementation fails here."""
    path = Path(__file__).with_name(f"test_{name}.py")
    assert path.is_file(), f"write {path.name}: log_pmf against SciPy or mpmath"
    text = path.read_text()
    assert "Oracle:" in text
    assert re.search(rf'likelihoods\.get\("{name}"\)', text)


def test_is_described(likelihood):
    """Reports and the verdict read these."""
    assert likelihood.name in NAMES
    assert likelihood.title.strip()
    assert re.match(r"10\.\d{4,}/\S+$|isbn:[\d-]{10,}$", likelihood.reference)
    assert isinstance(likelihood.complexity, int)
    assert likelihood.complexity >= 0
    assert set(likelihood.heads.values()) <= {"entry", "gene", "batch"}
    assert {likelihood.heads[name] for name in likelihood.fixed_heads} <= {"gene"}
    assert set(likelihood.noise_heads or ()) <= set(likelihood.heads)


def test_names_and_titles_are_unique():
    """Two losses of one title could not be told apart in a figure."""
    members = [likelihoods.get(name) for name in NAMES]
    assert [member.name for member in members] == NAMES
    assert len({member.title for member in members}) == len(NAMES)


def test_start_has_the_heads_and_constrain_the_parameters(likelihood):
    """The network builds its outputs from ``heads``; the other methods take ``parameters``."""
    raw = likelihood.start(moments_of(MODERATE))
    assert set(raw) == set(likelihood.heads)
    for value in raw.values():
        assert value.shape == (len(MODERATE),)
        assert value.dtype == torch.float64
        assert torch.isfinite(value).all()
    made = likelihood.constrain(raw, torch.ones(3, 1, dtype=torch.float64))
    assert set(made) == set(likelihood.parameters)
    assert torch.broadcast_shapes(*(v.shape for v in made.values())) == (3, len(MODERATE))


def test_per_gene_parameters_know_no_cell(likelihood):
    """``held_out_parameters`` keeps a (gene,) parameter as it is: no size factor in it."""
    raw = likelihood.start(moments_of(MODERATE))
    raw = {
        name: value if likelihood.heads[name] == "gene" else value.expand(3, -1)
        for name, value in raw.items()
    }
    sizes = torch.tensor([[0.5], [1.0], [2.0]], dtype=torch.float64)
    made, other = likelihood.constrain(raw, sizes), likelihood.constrain(raw, 3 * sizes)
    flat = {name: value for name, value in made.items() if value.dim() == 1}
    assert len(flat) <= sum(kind == "gene" for kind in likelihood.heads.values())
    for name, value in flat.items():
        assert torch.equal(value, other[name])


def of_cells(likelihood, dtype=torch.float64):
    """Counts, wanted entries, heads and size factors of five cells; the last wants nothing."""
    rng = np.random.default_rng(8)
    raw = likelihood.start(moments_of(MODERATE * 3))
    genes = len(next(iter(raw.values())))
    counts = torch.as_tensor(rng.poisson(3.0, (5, genes)), dtype=dtype)
    wanted = torch.as_tensor(rng.random((5, genes)) < 0.5, dtype=dtype)
    wanted[-1], counts[3] = 0, 0
    raw = {
        name: value.to(dtype) if likelihood.heads[name] == "gene"
        else value.to(dtype) + torch.as_tensor(rng.normal(0, 0.3, (5, genes)), dtype=dtype)
        for name, value in raw.items()
    }  # fmt: skip
    size = torch.as_tensor(rng.lognormal(0, 0.3, (5, 1)), dtype=dtype)
    return counts, wanted, raw, size


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_losses_of_cells_look_at_wanted_counts_only(likelihood, dtype):
    """And learn all heads but the fixed ones; other losses refuse."""
    counts, wanted, raw, size = of_cells(likelihood, dtype)
    if not likelihood.by_cell:
        with pytest.raises(TypeError, match="single counts"):
            likelihood.loss_of_cells(counts, wanted, raw, size)
        return
    raw = {name: value.clone().requires_grad_() for name, value in raw.items()}
    loss = likelihood.loss_of_cells(counts, wanted, raw, size)
    assert loss.shape == counts.shape
    assert (loss[wanted == 0] == 0).all()
    other = likelihood.loss_of_cells(torch.where(wanted > 0, counts, 77.0), wanted, raw, size)
    assert torch.equal(loss, other)
    alone = [
        likelihood.loss_of_cells(
            counts[[i]], wanted[[i]],
            {k: v if likelihood.heads[k] == "gene" else v[[i]] for k, v in raw.items()}, size[[i]],
        )
        for i in range(5)
    ]  # fmt: skip
    torch.testing.assert_close(torch.cat(alone), loss)
    loss.sum().backward()
    for name, value in raw.items():
        if name in likelihood.fixed_heads:
            assert value.grad is None, name
        elif value.grad is not None:
            assert torch.isfinite(value.grad).all(), name


def test_the_first_head_is_that_of_the_mean(likelihood):
    """Tied weights give the input back by it: one number per entry, and more of it means more.

    Of one gene: a composition knows shares only, which a change of all its genes leaves alone.
    """
    first, kind = next(iter(likelihood.heads.items()))
    assert kind == "entry"
    raw, more = likelihood.start(moments_of(MODERATE)), 0.5 * torch.eye(len(MODERATE))
    for size in SIZES:
        here, there = (
            likelihood.mean(**likelihood.constrain(raw | {first: head}, torch.full((4, 1), size)))
            for head in (raw[first].expand(4, -1), raw[first] + more)
        )
        assert (there.diagonal() > here.diagonal()).all()


def test_broadcasts(likelihood):
    """Parameters of (cell, gene), (gene,) and (cell, 1) give (cell, gene), as expanded."""
    raw, counts, size = at_start(likelihood, MODERATE)
    made = likelihood.constrain(raw, size)
    wide = {name: value.expand_as(counts).contiguous() for name, value in made.items()}
    for method in ("log_pmf", "loss", "cdf"):
        value = getattr(likelihood, method)(counts, **made)
        assert value.shape == counts.shape
        torch.testing.assert_close(value, getattr(likelihood, method)(counts, **wide))
    for method in ("mean", "variance", "prob_zero"):
        value = getattr(likelihood, method)(**made)
        assert value.expand_as(counts).shape == counts.shape
        torch.testing.assert_close(
            value.expand_as(counts), getattr(likelihood, method)(**wide).expand_as(counts)
        )
    flat = {name: value.reshape(-1) for name, value in wide.items()}
    torch.testing.assert_close(
        likelihood.log_pmf(counts.reshape(-1), **flat),
        likelihood.log_pmf(counts, **wide).reshape(-1),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_loss_and_its_gradient_are_finite(likelihood, dtype):
    """On extreme parameters: μ 1e-6 … 1e5 × size, θ 1e-4 … 1e8, π 1e-6 … .999, counts to 1e6."""
    raw, counts, size = at_start(likelihood, EXTREME, dtype=dtype)
    raw = {name: value.expand_as(counts).clone().requires_grad_() for name, value in raw.items()}
    loss = likelihood.loss(counts, **likelihood.constrain(raw, size))
    assert loss.dtype == dtype
    assert torch.isfinite(loss).all()
    loss.sum().backward()
    for name, value in raw.items():
        assert value.grad is None or name not in likelihood.fixed_heads, name
        if value.grad is not None:  # a squared error does not train its scale
            assert torch.isfinite(value.grad).all(), name


def test_log_pmf_is_finite_and_at_most_zero(likelihood):
    """In float64, as in scoring: an infinite score of one entry would decide a whole comparison.

    A log-probability may exceed 0 by the rounding of its largest term, no more.
    """
    raw, counts, size = at_start(likelihood, EXTREME)
    value = likelihood.log_pmf(counts, **likelihood.constrain(raw, size))
    assert torch.isfinite(value).all()
    assert value.max() <= 1e-12


def test_float32_agrees_with_float64_for_common_counts(likelihood):
    """Counts to 150, means to 100: 2e-6 of max(1, |loss|) and 1e-5 of max(1, |gradient|)."""
    value, gradient = float32_errors(likelihood, most=150, highest=100)
    assert value.max() <= 2e-6
    assert gradient.max() <= 1e-5


def float32_errors(likelihood, *, most, highest):
    """Training loss in float32 against float64 at the very same (rounded) parameters.

    The gradient is per relative change of a parameter: what a head on the log scale sees.
    """
    rows = [row for row in EXTREME if row[0] / (1 - row[2]) <= highest]  # a ZINB's own mean
    raw, counts, size = at_start(likelihood, rows, sizes=(0.5, 1.0, 2.0), dtype=torch.float32)
    kept = counts[:, 0] <= most
    parameters = {
        name: value.expand_as(counts)[kept]
        for name, value in likelihood.constrain(raw, size).items()
    }
    losses, gradients = [], []
    for dtype in (torch.float32, torch.float64):
        at = {
            name: value.detach().to(dtype).requires_grad_() for name, value in parameters.items()
        }
        loss = likelihood.loss(counts[kept].to(dtype), **at)
        loss.sum().backward()
        losses.append(loss.detach().double())
        gradients.append(
            torch.stack(
                [
                    (value.grad * value.detach()).double()
                    for name, value in at.items()
                    if value.grad is not None and name != "size_factor"  # given, not learned
                ]
            )
        )
    return tuple(
        (single - double).abs() / double.abs().clamp(min=1)
        for single, double in (losses, gradients)
    )


def test_pmf_sums_to_one(likelihood):
    """Limit: Σ P(k) to 30,000 and the tail beyond make 1, and nothing lies at infinity."""
    counts, log_pmf, parameters = probabilities(likelihood)
    tail = 1 - likelihood.cdf(counts[-1:], **parameters)[0]
    assert tail.max() < 1e-4
    np.testing.assert_allclose(log_pmf.exp().sum(dim=0) + tail, 1.0, atol=1e-12)
    far = torch.full((1, len(MODERATE)), 1e15, dtype=torch.float64)
    np.testing.assert_allclose(likelihood.cdf(far, **parameters), 1.0, atol=1e-12)


def test_cdf_is_the_cumulated_pmf(likelihood):
    """Limit: F(k) = Σ_{j≤k} P(j), F(−1) = 0, and F rises between the integers."""
    counts, log_pmf, parameters = probabilities(likelihood, upto=300)
    cdf = likelihood.cdf(counts, **parameters)
    np.testing.assert_allclose(cdf, log_pmf.exp().cumsum(dim=0), atol=1e-12)
    below = torch.full((1, len(MODERATE)), -1.0, dtype=torch.float64)
    assert (likelihood.cdf(below, **parameters) == 0).all()
    between = likelihood.cdf(counts[:20] + 0.5, **parameters)
    assert (between >= cdf[:20]).all()
    assert (between <= cdf[1:21]).all()


def test_prob_zero_is_the_pmf_at_zero(likelihood):
    """Limit: closed forms of P(0) agree with exp(log_pmf(0)), also at extreme parameters."""
    raw, counts, size = at_start(likelihood, EXTREME)
    made = likelihood.constrain(raw, size)
    expected = likelihood.log_pmf(torch.zeros_like(counts), **made).exp()
    actual = likelihood.prob_zero(**made).expand_as(expected)
    np.testing.assert_allclose(actual, expected, rtol=1e-11, atol=1e-300)


def test_mean_is_that_of_the_pmf(likelihood):
    """Limit: Σ k P(k). A squared error reports a back-transform, tested in its own file."""
    if isinstance(likelihood, CutDensity):
        pytest.skip("reports a back-transformed location")
    counts, log_pmf, parameters = probabilities(likelihood)
    mean = likelihood.mean(**parameters).expand(1, len(MODERATE))[0]
    np.testing.assert_allclose(mean, (counts * log_pmf.exp()).sum(dim=0), rtol=1e-9)


def test_variance_is_that_of_the_pmf(likelihood):
    """Limit: Σ k² P(k) − (Σ k P(k))². Dawid–Sebastiani and Pearson's residuals rely on it.

    The sum ends at 30,000, which a log-normal with a mean of 4 exceeds by 1e-5 of its variance;
    the last, wider gene is left out.
    """
    if isinstance(likelihood, CutDensity):
        pytest.skip("its variance is that of the density before it is cut into integers")
    counts, log_pmf, parameters = probabilities(likelihood)
    variance = likelihood.variance(**parameters).expand(1, len(MODERATE))[0]
    mean = (counts * log_pmf.exp()).sum(dim=0)
    expected = (counts**2 * log_pmf.exp()).sum(dim=0) - mean**2
    np.testing.assert_allclose(variance[:3], expected[:3], rtol=1e-4)


def test_samples_are_counts_of_the_right_shape_and_seeded(likelihood):
    """Non-negative integers, (cell, gene), the same from the same seed, others from another."""
    raw, counts, size = at_start(likelihood, MODERATE)
    made = likelihood.constrain(raw, size)
    wide = {name: value.expand_as(counts) for name, value in made.items()}
    draw = [likelihood.sample(np.random.default_rng(seed), **wide) for seed in (1, 1, 2)]
    assert draw[0].shape == counts.shape
    assert (draw[0] >= 0).all()
    assert torch.equal(draw[0], draw[0].round())
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])


def test_from_mean_keeps_the_mean(likelihood):
    """A noise family around given means must expect exactly these; another loss must refuse."""
    raw = likelihood.start(moments_of(EXTREME))
    mean = torch.tensor([[1e-4], [1.0], [1e4]], dtype=torch.float64).expand(-1, len(EXTREME))
    if likelihood.noise_heads is None:
        with pytest.raises(TypeError, match="cannot be put around"):
            likelihood.from_mean(mean)
        assert likelihood.name not in noise_families()
        return
    made = likelihood.from_mean(mean, **{name: raw[name] for name in likelihood.noise_heads})
    assert set(made) >= set(likelihood.parameters)
    assert torch.isfinite(likelihood.log_pmf(torch.zeros_like(mean), **made)).all()
    np.testing.assert_allclose(likelihood.mean(**made), mean, rtol=1e-12)


def test_calibrate_returns_gene_heads_only(likelihood):
    """``fit`` copies these values into the network's per-gene parameters."""
    raw, counts, size = at_start(likelihood, MODERATE)
    made = likelihood.calibrate(counts, likelihood.constrain(raw, size))
    for name, value in made.items():
        assert likelihood.heads[name] == "gene"
        assert value.shape == (len(MODERATE),)
        assert torch.isfinite(value).all()


def test_variants_are_distributions_too(likelihood):
    """Other readings of a fit get a column of their own: same parameters, finite scores."""
    raw, counts, size = at_start(likelihood, MODERATE)
    made = likelihood.constrain(raw, size)
    wide = {name: value.expand_as(counts) for name, value in made.items()}
    for name, parameters in likelihood.variants(wide).items():
        assert name.isidentifier()
        assert set(parameters) == set(likelihood.parameters)
        value = likelihood.log_pmf(counts, **parameters)
        assert value.shape == counts.shape
        assert torch.isfinite(value).all()


def test_pickles(likelihood):
    """A copy through pickle gives the same numbers."""
    raw, counts, size = at_start(likelihood, MODERATE)
    made = likelihood.constrain(raw, size)
    copy = pickle.loads(pickle.dumps(likelihood))
    assert torch.equal(copy.log_pmf(counts, **made), likelihood.log_pmf(counts, **made))
