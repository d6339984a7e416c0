"""Compiled losses and slopes against the reference in double precision, over the registry."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from countae import likelihoods
from countae.fused.step import compiled_loss_of
from countae.likelihoods._cut_density import CutDensity

COMPILED = [n for n in likelihoods.names() if compiled_loss_of(likelihoods.get(n)())]
WITHOUT = [
    "beta_binomial",
    "dirichlet_multinomial",
    "mahalanobis_mse",
    "multinomial",
    "poisson_lognormal",
]  # losses of whole cells, and two of which no loop has been written
ROUNDED = {"log_location": 3 * 2.0**-24}
COUNTS = [0, 1, 2, 5, 12, 13, 31, 32, 33, 150, 10_000, 1_000_000]
SIZES = [0.05, 1.0, 20.0]
LOGITS = [-200.0, -13.8, -0.85, 0.0, 6.9, 40.0]
VALUES = {
    "log_mean": np.log([1e-6, 1e-3, 0.1, 0.9, 4.7, 13.7, 148.0, 1e4, 1e5]),
    "log_inverse_dispersion": np.log([1e-4, 1e-2, 0.7, 3.9, 15.0, 100.0, 1e4, 1e6, 1e8]),
    "zero_logit": LOGITS, "prob_zero_logit": LOGITS, "location": [-2.0, 0.01, 0.5, 3.0, 80.0],
    "log_location": np.log([1e-6, 1e-3, 0.1, 0.9, 4.7, 13.7, 148.0, 1e4, 1e5]),
    "zero_intercept": [-12.0, -0.85, 0.0, 3.0, 12.0], "zero_slope": [-2.0, -1.0, 0.0, 0.5],
    "log_scale": [-3.0, 0.0, 2.0], "log_weight": [-3.0, 0.0, 5.0],
}  # fmt: skip
RANGES = {name: (min(values), max(values)) for name, values in VALUES.items()}


def reference(name, count, size, raw):
    """Loss and slope in each head, float64, at the very same float32 numbers."""
    family = likelihoods.get(name)()
    at = {
        head: torch.as_tensor(raw[head], dtype=torch.float64).requires_grad_()
        if head in raw
        else torch.zeros(1, dtype=torch.float64)
        for head in family.heads
    }
    parameters = family.constrain(at, torch.as_tensor(size, dtype=torch.float64))
    loss = family.loss(torch.as_tensor(count, dtype=torch.float64), **parameters)
    loss.sum().backward()
    slopes = [np.zeros(len(count)) if at[h].grad is None else at[h].grad.numpy() for h in raw]
    return np.stack([loss.detach().numpy(), *slopes])


def errors(name, grid):
    """Largest error of value and of slopes, each over max(1, |expected|).

    A location s e^h is rounded three times, which is as if h were 3 · 2⁻²⁴ off: less than what
    float32 leaves unsaid of any h beyond 4, but where a count of 10,000 meets a location of
    9,999.999 it is a quarter of the residual. So what the reference itself changes by when h
    moves that far is no error.
    """
    loss = likelihoods.get(name)().compiled_loss()
    count, *rest = np.asarray(grid, dtype=np.float32).T
    lanes = np.ascontiguousarray(rest)
    size, *raw = lanes.copy()
    at = dict(zip(loss.heads, (value.astype(np.float64) for value in raw), strict=True))
    expected, *moved = (
        reference(name, count, size, {h: v + sign * ROUNDED.get(h, 0.0) for h, v in at.items()})
        for sign in (0, -1, 1)
    )
    loss.run(np.ascontiguousarray(count), lanes)
    assert np.isfinite(lanes).all()
    conditioned = np.abs(np.stack(moved) - expected).max(axis=0)
    beyond = np.maximum(np.abs(lanes - expected) - conditioned, 0)
    error = beyond / np.maximum(1, np.abs(expected))
    return error[0].max(), error[1:].max()


def test_the_losses_of_the_package_have_one_but_for_those_that_are_named():
    """Others, and plugins, are trained by the reference (see fused/test_step.py)."""
    assert sorted([*COMPILED, *WITHOUT]) == likelihoods.names()


@pytest.mark.parametrize("name", COMPILED)
def test_agrees_with_the_reference(name):
    """Oracle: ``loss`` and autograd in float64, which agree with 50 digits to 1e-14.

    Counts to 1e6, μ 1e-6 … 1e5 × size, θ 1e-4 … 1e8, π 1e-87 … 1 − 1e-17: values to 2e-6 and
    slopes to 1e-5. A residual loses what its location's rounding takes; see ``errors``.
    """
    heads = likelihoods.get(name)().compiled_loss().heads
    grid = list(itertools.product(COUNTS, SIZES, *(VALUES[head] for head in heads)))
    value, slope = errors(name, grid)
    assert value <= 2e-6
    assert slope <= 1e-5


@pytest.mark.parametrize("name", COMPILED)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_agrees_with_the_reference_anywhere(name, data):
    """Oracle: the same, at points that Hypothesis looks for."""
    heads = likelihoods.get(name)().compiled_loss().heads
    point = st.tuples(
        st.integers(0, 2_000), st.floats(0.0625, 20, width=32),
        *(st.floats(*np.float32(RANGES[head]).tolist(), width=32) for head in heads),
    )  # fmt: skip
    value, slope = errors(name, data.draw(st.lists(point, min_size=1, max_size=40)))
    assert value <= 2e-6
    assert slope <= 1e-5


@pytest.mark.parametrize("name", COMPILED)
def test_an_entry_does_not_depend_on_its_neighbours(name):
    """Zeros are done eight at a time, counts one by one: every place in a list gives the same."""
    loss = likelihoods.get(name)().compiled_loss()
    rng = np.random.default_rng(0)
    count = rng.poisson(0.5, 101).astype(np.float32)
    lanes = rng.normal(0, 1, (1 + len(loss.heads), 101)).astype(np.float32)
    lanes[0] = np.exp(lanes[0])
    together, single = lanes.copy(), lanes.copy()
    loss.run(count, together)
    for e in range(101):
        one = np.ascontiguousarray(single[:, e : e + 1])
        loss.run(count[e : e + 1].copy(), one)
        single[:, e] = one[:, 0]
    np.testing.assert_allclose(together, single, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.parametrize("count", [0.0, 3.0])
def test_what_is_no_number_is_not_hidden(name, count):
    """A network that has diverged must be told of: its loss is not finite either."""
    loss = likelihoods.get(name)().compiled_loss()
    lanes = np.full((1 + len(loss.heads), 9), np.nan, np.float32)
    lanes[0] = 1
    loss.run(np.full(9, count, np.float32), lanes)
    assert not np.isfinite(lanes[0]).any()


@pytest.mark.parametrize("name", COMPILED)
def test_nothing_is_asked_for(name):
    loss = likelihoods.get(name)().compiled_loss()
    loss.run(np.empty(0, np.float32), np.empty((1 + len(loss.heads), 0), np.float32))


def test_heads_are_those_of_the_loss():
    for name in COMPILED:
        family = likelihoods.get(name)()
        assert set(family.compiled_loss().heads) <= set(family.heads)
        if not isinstance(family, CutDensity):
            assert family.compiled_loss().heads == tuple(family.heads)
