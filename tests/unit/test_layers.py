"""Parts of a network against formulas: PCA's closed form, the divergence, mirrored weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import SETTINGS
from scipy import integrate, stats
from torch import nn

from countae import likelihoods
from countae.layers import Draws, Mirrored, Sampled, divergence_from_standard_normal
from countae.likelihoods._moments import gene_moments
from countae.model import CountAutoencoder

LINEAR = {"latent": 5, "dropout": 0.0, "norm": "none", "activation": "linear"}


def minimised(model, counts, size_factor):
    """Loss per entry of a network that is shown everything and predicts everything, by LBFGS."""
    optimiser = torch.optim.LBFGS(
        model.parameters(), max_iter=3000, history_size=50, tolerance_grad=1e-11,
        tolerance_change=1e-16, line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure():
        optimiser.zero_grad()
        loss = model.likelihood.loss(counts, **model(counts, size_factor)).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    return closure().item()


@pytest.mark.parametrize("weights", ["tied", "free"])
@pytest.mark.parametrize("hidden", [[], [12]], ids=["no hidden layer", "one hidden layer"])
def test_a_linear_autoencoder_of_squared_error_is_pca(small_nb, hidden, weights):
    """Oracle: the singular values of centred log1p counts, and the projection on their vectors.

    A linear autoencoder has no other minimum than the span of the first principal components
    (Baldi & Hornik 1989, doi:10.1016/0893-6080(89)90014-2). Whatever its error is above PCA's is
    of second order in how far the weights are from it, so that a gradient of 1e-7 or less leaves
    a relative error far below 1e-8; the reconstruction is first order, hence 1e-4.
    """
    train = np.flatnonzero(small_nb.part == "train")
    sizes = small_nb.size_factor[train]
    moments = gene_moments(counts=small_nb.counts[train], size_factor=sizes)
    torch.manual_seed(0)
    chosen = SETTINGS["network"] | LINEAR | {"hidden": hidden, "weights": weights}
    model = CountAutoencoder(likelihoods.get("mse_log1p")(), moments, **chosen).double()
    counts = torch.as_tensor(small_nb.counts[train].toarray(), dtype=torch.float64)
    size_factor = torch.as_tensor(sizes)[:, None]

    logged = np.log1p(counts.numpy() / sizes[:, None])
    centred = logged - logged.mean(axis=0)
    _, values, vectors = np.linalg.svd(centred, full_matrices=False)
    expected = np.square(values[5:]).sum() / counts.numel()
    assert minimised(model, counts, size_factor) == pytest.approx(expected, rel=1e-8)

    projection = vectors[:5].T @ vectors[:5]
    location = model(counts, size_factor)["location"].detach().numpy()
    np.testing.assert_allclose(location, logged.mean(axis=0) + centred @ projection, atol=1e-4)
    if weights == "tied":  # then the encoder itself is a rotation of PCA's
        parts = [layer[0].weight for layer in model.encoder[:-1]] + [model.encoder[-1].weight]
        encoder = np.linalg.multi_dot([w.detach().numpy() for w in reversed(parts)] + [np.eye(40)])
        np.testing.assert_allclose(encoder @ encoder.T, np.eye(5), atol=1e-4)
        np.testing.assert_allclose(encoder.T @ encoder, projection, atol=1e-4)


def test_mirrored_weights_are_one_set_of_weights():
    twin = nn.Linear(7, 3)
    mirrored, values = Mirrored(twin), torch.randn(5, 3)
    with torch.no_grad():
        mirrored.bias.normal_()
    torch.testing.assert_close(mirrored(values), values @ twin.weight + mirrored.bias)
    assert [name for name, _ in mirrored.named_parameters()] == ["bias"]
    mirrored(values).sum().backward()
    torch.testing.assert_close(twin.weight.grad, values.sum(0)[:, None].expand(3, 7))
    with torch.no_grad():
        twin.weight.zero_()
    assert torch.equal(mirrored(values), mirrored.bias.expand(5, 7))


@pytest.mark.parametrize("mean", [-3.0, 0.0, 0.4])
@pytest.mark.parametrize("log_variance", [-6.0, -0.5, 0.0, 2.0])
def test_divergence_agrees_with_quadrature(mean, log_variance):
    """Oracle: the integral of q log(q/p); 1e-7 is that of the quadrature."""
    own, prior = stats.norm(mean, np.exp(0.5 * log_variance)), stats.norm()
    reach = own.std() * 12
    expected, _ = integrate.quad(
        lambda z: own.pdf(z) * (own.logpdf(z) - prior.logpdf(z)), mean - reach, mean + reach,
        points=[mean], epsabs=1e-12, epsrel=1e-10,
    )  # fmt: skip
    found = divergence_from_standard_normal(
        torch.tensor([[mean, mean]], dtype=torch.float64),
        torch.tensor([[log_variance, log_variance]], dtype=torch.float64),
    )
    assert found.shape == (1,)
    assert found.item() == pytest.approx(2 * expected, rel=1e-7, abs=1e-9)


def test_divergence_keeps_its_digits_near_the_prior():
    """λ²/4 for a small λ; e^λ − 1 − λ by its textbook form is 0 or noise in float32."""
    small = torch.tensor([[1e-3]])
    found = divergence_from_standard_normal(torch.zeros(1, 1), small).item()
    assert found == pytest.approx(1e-6 / 4, rel=1e-3)


def test_a_sampled_bottleneck_draws_in_training_and_is_its_mean_outside():
    torch.manual_seed(0)
    layer, features = Sampled(4, 2, Draws()), torch.randn(1, 4)
    mean = torch.tensor([[0.5, -1.0]])
    with torch.no_grad():
        spread = (0.5 * layer.log_variance(features)).exp()
        drawn = layer.train()(mean.expand(40_000, 2), features.expand(40_000, 4))
        assert torch.equal(layer.eval()(mean, features), mean)
    # four standard errors: s/√n of a mean, s/√2n of a standard deviation
    bound = 4 / np.sqrt(40_000)
    assert ((drawn.mean(0) - mean[0]).abs() < bound * spread[0]).all()
    assert ((drawn.std(0) - spread[0]).abs() < bound / np.sqrt(2) * spread[0]).all()
    expected = divergence_from_standard_normal(mean, 2 * spread.log())
    torch.testing.assert_close(layer.divergence, expected.expand(40_000))
