"""What only a GPU can show; skipped elsewhere. `make test-gpu` prints numbers besides."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import SETTINGS

from countae import likelihoods, protocols
from countae.devices import choose_place, repeatable, seeded
from countae.fit import fit
from countae.model import CountAutoencoder
from countae.predict import predict_hidden
from countae.start import best_constants
from countae.stepping import Stepper
from countae.training import losses_of

pytestmark = pytest.mark.gpu
NETWORK = {"hidden": [16], "latent": 4, "dropout": 0.1}
TRAINING = SETTINGS["training"] | {"max_epochs": 8, "batch_size": 32}
WAITING = {"poisson_lognormal"}


def fitted(matrix, likelihood="nb", device="cuda", **training):
    return fit(
        matrix, likelihood, seed=0, network=NETWORK, training=TRAINING | training, device=device
    )


def stepper_of(matrix, likelihood):
    place = choose_place("cuda")
    data = protocols.get("masked")(matrix, place.device)
    train = np.flatnonzero(matrix.part == "train")
    moments = best_constants(
        likelihoods.get(likelihood)(),
        counts=matrix.targets(train),
        size_factor=data.full_size_factor(train),
    )
    settings = SETTINGS["network"] | NETWORK | {"dropout": 0.0}
    with seeded(place.device, 0):
        model = CountAutoencoder(likelihoods.get(likelihood)(), moments, **settings)
    return Stepper(model, data, place, compiled=False), data, train


@pytest.mark.parametrize("likelihood", likelihoods.names())
def test_a_step_has_the_loss_of_the_cpu(small_nb, likelihood):
    """The same mask on both: drawn on the GPU, taken to the CPU."""
    stepper, data, train = stepper_of(small_nb, likelihood)
    step = stepper.step(train[:40], 40, torch.Generator().manual_seed(1))
    there = stepper.loss(step).item()
    model = stepper.model.cpu()
    here = protocols.get("masked")(small_nb)
    task = here._task(train[:40], np.ascontiguousarray(step.wanted.cpu().numpy().T))
    assert losses_of(model, task)[0].mean().item() == pytest.approx(there, rel=1e-4)


@pytest.mark.parametrize("likelihood", likelihoods.names())
def test_a_fit_is_like_that_of_the_cpu_and_the_same_twice(small_nb, likelihood):
    """Other masks, as of another seed; and the same bytes again."""
    here, (first, there), (second, _) = (
        fitted(small_nb, likelihood, device) for device in ("cpu", "cuda", "cuda")
    )
    assert there.device == "cuda"
    assert there.validation_loss[-1] == pytest.approx(here[1].validation_loss[-1], rel=0.05)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


@pytest.mark.parametrize("likelihood", [n for n in likelihoods.names() if n not in WAITING])
def test_no_step_waits_for_the_gpu(small_nb, likelihood):
    """Torch raises an error where something would."""
    stepper, _, train = stepper_of(small_nb, likelihood)
    optimiser = torch.optim.AdamW(stepper.model.parameters(), lr=1e-3, fused=True)
    optimiser.found_inf = torch.zeros((), device="cuda")
    generator = torch.Generator().manual_seed(1)
    with repeatable(stepper.place.device, "deterministic"):
        for checked in (False, True):  # the first step makes buffers
            torch.cuda.set_sync_debug_mode("error" if checked else "default")
            try:
                loss = stepper.module(stepper.step(train[:40], 40, generator))
                stepper.place.backward(loss)
                optimiser.step()
            finally:
                torch.cuda.set_sync_debug_mode("default")


def test_predictions_are_those_of_the_cpu(small_nb):
    model, _ = fitted(small_nb, device="cpu")
    cells = np.flatnonzero(small_nb.part == "test")
    here = predict_hidden(model, small_nb, cells, device="cpu").mean
    there = predict_hidden(model, small_nb, cells, device="cuda").mean
    np.testing.assert_allclose(there, here, rtol=1e-3)


@pytest.mark.parametrize("changed", [{"precision": "bf16-mixed"}, {"implementation": "compile"}])
def test_other_ways_to_train_agree(small_nb, changed):
    plain, other = fitted(small_nb)[1], fitted(small_nb, **changed)[1]
    assert other.validation_loss[-1] == pytest.approx(plain.validation_loss[-1], rel=0.05)
