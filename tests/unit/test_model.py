"""Equal beginnings: one network for every loss, and each loss at the genes' moments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import SETTINGS

from countae import likelihoods
from countae.layers import HEAD_GAIN
from countae.likelihoods._base import GeneMoments
from countae.likelihoods._moments import gene_moments
from countae.model import CountAutoencoder

NAMES = likelihoods.names()
ON_LOG1P = {
    "mse_log1p",
    "mahalanobis_mse",
}  # their mean is transformed back from the mean of log1p counts
# zeros that follow depth by a rule of their own
ONLY_AT_SIZE_ONE = {"hurdle_nb", "hurdle_nb_focal", "zinb_logistic"}
# splatter's slope of −1; without a look at counts no correlation
CONSTANT = {"zero_slope", *(f"loading_{k}" for k in range(1, 9))}
# An output weight is uniform within ±HEAD_GAIN/√H, variance HEAD_GAIN²/3H, and the H units behind
# it, LayerNorm cut at zero, have a mean square of about ½: six standard deviations of their sum.
NOISE = 6 * HEAD_GAIN * np.sqrt(0.5 / 3)


@pytest.fixture(scope="module")
def moments(small_nb):
    train = np.flatnonzero(small_nb.part == "train")
    return gene_moments(counts=small_nb.counts[train], size_factor=small_nb.size_factor[train])


def network(name, moments):
    torch.manual_seed(0)
    return CountAutoencoder(likelihoods.get(name)(), moments, **SETTINGS["network"]).eval()


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_every_loss_has_the_same_encoder_and_decoder(name, moments):
    """The same layers, and under one seed the same first weights; only heads differ."""
    one, other = network(name, moments), network(NAMES[0], moments)
    genes, [width], latent = (
        len(moments.mean),
        *(SETTINGS["network"][k] for k in ("hidden", "latent")),
    )
    layer_norms = 2 * width
    assert size(one.encoder) == (genes + 1) * width + layer_norms + (width + 1) * latent
    assert size(one.decoder) == (latent + 1) * width + layer_norms
    for part in ("encoder", "decoder"):
        expected = getattr(other, part).state_dict()
        for key, value in getattr(one, part).state_dict().items():
            assert torch.equal(value, expected[key]), (part, key)
    heads = list(one.likelihood.heads.values())
    assert size(one.entry_heads) == heads.count("entry") * (width + 1) * genes
    assert size(one.gene_heads) == (heads.count("gene") + heads.count("batch")) * genes


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_every_loss_starts_at_the_moments_of_the_genes(name, small_nb, moments):
    """At initialisation the prediction is the gene's moment at the cell's size factor."""
    model = network(name, moments)
    counts = torch.as_tensor(small_nb.counts[:60].toarray(), dtype=torch.float32)
    size_factor = torch.as_tensor(small_nb.size_factor[:60, None], dtype=torch.float32)
    if name in ONLY_AT_SIZE_ONE:
        size_factor = torch.ones_like(size_factor)
    started = model.likelihood.start(moments)
    decoded = model.decoder(model.encoded(counts, size_factor)[0])
    for head, layer in model.entry_heads.items():
        gap = (layer(decoded) - started[head].float()).abs()
        assert 0 < gap.max() < NOISE, head
    for head, value in model.gene_heads.items():
        assert torch.equal(value, started[head].float().expand_as(value)), head

    for layer in model.entry_heads.values():
        layer.weight.zero_()  # no noise: what is left must be the moment itself
    mean = model.likelihood.mean(**model(counts, size_factor))
    share = torch.expm1(moments.log1p_mean) if name in ON_LOG1P else moments.mean
    np.testing.assert_allclose(mean, size_factor * share.float(), rtol=1e-4)  # float32


@pytest.mark.parametrize("name", NAMES)
def test_no_head_starts_at_a_constant(name, moments):
    """Each head, also of dispersions and extra zeros, follows what was measured on the gene."""
    factor = torch.linspace(2, 2.9, len(moments.mean), dtype=torch.float64)
    other = GeneMoments(
        factor * moments.mean, 2 * moments.log1p_mean, 3 * moments.inverse_dispersion,
        0.5 * moments.zero_probability,
    )  # fmt: skip
    family = likelihoods.get(name)()
    here, there = family.start(moments), family.start(other)
    assert set(here) == set(family.heads)
    for head, value in here.items():
        assert value.shape == moments.mean.shape
        assert head in CONSTANT or (value != there[head]).all(), head


@torch.no_grad()
def test_a_head_per_batch_has_the_numbers_of_each_cells_batch(small_nb, moments):
    """Oracle: by hand, θ = 1 in the first of two batches and θ = e in the second."""
    model = CountAutoencoder(
        likelihoods.get("nb_batch")(), moments, **SETTINGS["network"], n_batches=2
    ).eval()
    head = model.gene_heads["log_inverse_dispersion"]
    assert head.shape == (2, len(moments.mean))
    head.copy_(torch.tensor([[0.0], [1.0]]).expand_as(head))
    counts = torch.as_tensor(small_nb.counts[:3].toarray(), dtype=torch.float32)
    size, batch = torch.ones(3, 1), torch.tensor([1, 0, 1])
    theta = model(counts, size, batch=batch)["inverse_dispersion"]
    np.testing.assert_allclose(theta[:, 5], [np.e, 1.0, np.e], rtol=1e-6)
    some = model(counts, size, entries=torch.tensor([3, 41, 119]), batch=batch)[
        "inverse_dispersion"
    ]
    np.testing.assert_allclose(some, [np.e, 1.0, np.e], rtol=1e-6)


@torch.no_grad()
def test_better_starts_replace_those_of_the_moments(moments):
    found = {"log_inverse_dispersion": torch.full_like(moments.mean, 0.25)}
    model = network("nb", replace(moments, heads=found))
    assert (model.gene_heads["log_inverse_dispersion"] == 0.25).all()
