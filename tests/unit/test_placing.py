"""Cells that are moved to where their visible counts want them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import SETTINGS, prepared
from scipy import optimize, stats
from scipy.sparse import csr_matrix

from countae import likelihoods, placing
from countae.baselines._base import hold_out
from countae.counts import CountMatrix
from countae.fit import fit, load, save
from countae.likelihoods._moments import gene_moments
from countae.model import CountAutoencoder
from countae.predict import latent_of, predict_hidden, reconstruct

NETWORK = {"hidden": [16], "latent": 3, "dropout": 0.1}
TRAINING = SETTINGS["training"] | {"max_epochs": 25, "batch_size": 32}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def moved(small_nb):
    """A network whose cells are moved, and its record."""
    return fit(
        small_nb, "nb", seed=0, network=NETWORK | {"latent_steps": 12}, training=TRAINING,
        device="cpu",
    )  # fmt: skip


def untrained(matrix, name, **network):
    train = matrix.part == "train"
    moments = gene_moments(counts=matrix.counts[train], size_factor=matrix.size_factor[train])
    torch.manual_seed(0)
    network = SETTINGS["network"] | NETWORK | network
    return CountAutoencoder(likelihoods.get(name)(), moments, **network).eval()


def one_task(matrix, cells):
    return next(iter(hold_out(matrix).held_out_tasks(cells)))


def with_other_hidden_counts(matrix, cells, fold):
    """Counts of one fold of some cells raised, and their libraries with them."""
    adata, hidden = matrix.adata.copy(), matrix.fold_of(cells) == fold
    counts = adata.X.toarray()
    counts[cells] += 50 * hidden
    adata.X = csr_matrix(counts)
    library = adata.obs["library_size"].to_numpy().copy()
    library[cells] += 50.0 * hidden.sum(axis=1)
    adata.obs["library_size"] = library
    return CountMatrix(adata, "changed"), hidden


def test_a_linear_poisson_network_ends_at_the_likeliest_place(small_nb):
    """Oracle: SciPy's BFGS on scipy.stats.poisson of the visible counts, cell by cell."""
    model = untrained(small_nb, "poisson", activation="linear", norm="none")
    with torch.no_grad():
        model.entry_heads["log_mean"].weight.mul_(20)
        at = model.values_at(torch.cat([torch.zeros(1, 3), torch.eye(3)]))["log_mean"].double()
    level, slope = at[0].numpy(), (at[1:] - at[0]).numpy()
    cells = np.flatnonzero(small_nb.part == "test")[:4]
    task = one_task(small_nb, cells)
    model.latent_steps = 800
    with torch.no_grad():
        latent, size = placing.located(model, task)
        found = model.values_at(latent)["log_mean"].numpy()
    counts, visible = small_nb.counts[cells].toarray(), ~task.mask.T
    for row in range(len(cells)):

        def loss(z, row=row):
            mean = float(size[row]) * np.exp(level + z @ slope)
            return -stats.poisson.logpmf(counts[row], mean)[visible[row]].sum()

        best = optimize.minimize(loss, np.zeros(3))
        np.testing.assert_allclose(found[row], level + best.x @ slope, atol=0.02)
        assert loss(latent[row].double().numpy()) < best.fun + 1e-3


def test_hidden_counts_change_no_bit_of_their_own_prediction(small_nb, moved):
    cells = np.flatnonzero(small_nb.part == "test")
    changed, hidden = with_other_hidden_counts(small_nb, cells, 2)
    assert moved[0].latent_steps > 0
    before, after = (
        predict_hidden(moved[0], matrix, cells, device="cpu").mean
        for matrix in (small_nb, changed)
    )
    np.testing.assert_array_equal(after[hidden], before[hidden])
    assert not np.isclose(after[~hidden], before[~hidden]).all()


@pytest.mark.parametrize("name", likelihoods.names())
def test_the_loss_of_visible_counts_falls_under_every_loss(small_nb, name):
    model = untrained(small_nb, name)
    task = one_task(small_nb, np.flatnonzero(small_nb.part == "test"))
    places = [*placing.path(model, task, 8)]
    assert len(places) == 9
    with torch.no_grad():
        losses = [float(placing.visible_loss(model, task, *place)) for place in places]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_loss_of_whole_cells_is_that_of_their_visible_counts(small_nb):
    """Oracle: scipy.stats.multinomial of the visible counts given their total, at two places."""
    model = untrained(small_nb, "multinomial")
    with torch.no_grad():
        model.entry_heads["log_weight"].weight.mul_(20)
    task = one_task(small_nb, np.flatnonzero(small_nb.part == "test")[:5])
    counts, visible = small_nb.counts[task.seen.cells].toarray(), ~task.mask.T
    found, expected = [], []
    for latent in (torch.zeros(5, 3), torch.ones(5, 3)):
        with torch.no_grad():
            found.append(float(placing.visible_loss(model, task, latent, task.size_factor)))
            rate = model.values_at(latent)["log_weight"].double().exp().numpy() * visible
        share, seen = rate / rate.sum(axis=1, keepdims=True), counts * visible
        expected.append(-stats.multinomial.logpmf(seen, seen.sum(axis=1), share).sum())
    np.testing.assert_allclose(found[1] - found[0], expected[1] - expected[0], rtol=1e-4)
    assert abs(found[1] - found[0]) > 1


def test_without_steps_a_cell_lies_to_the_bit_where_the_encoder_puts_it(small_nb):
    model, cells = untrained(small_nb, "zinb"), np.flatnonzero(small_nb.part == "test")
    task = one_task(small_nb, cells)
    with torch.no_grad():
        expected = model(task.counts, task.size_factor, task.hidden)
        found = placing.held_out_parameters(model, [task])
    hidden = task.hidden.bool()
    assert torch.equal(found["mean"][hidden], expected["mean"][hidden])


def test_a_cell_is_moved_alike_in_whatever_company(small_nb, moved, monkeypatch):
    cells = np.flatnonzero(small_nb.part == "test")
    together = predict_hidden(moved[0], small_nb, cells, device="cpu").mean
    monkeypatch.setattr(placing, "ENTRIES", 1)
    alone = predict_hidden(moved[0], small_nb, cells, device="cpu").mean
    np.testing.assert_allclose(alone, together, rtol=1e-3)  # float32, other orders of sums


def test_validation_cells_choose_the_number_of_steps(small_nb, moved):
    """Oracle: log scores of their hidden counts, by the way of predictions."""
    network, record = moved
    cells = np.flatnonzero(small_nb.part == "validation")
    counts, chosen, scores = small_nb.counts[cells].toarray(), network.latent_steps, []
    for steps in range(13):
        network.latent_steps = steps
        found = predict_hidden(network, small_nb, cells, device="cpu")
        scores.append(-found.log_pmf(counts).mean())
    network.latent_steps = chosen
    assert chosen == record.latent_steps == int(np.argmin(scores)) > 0
    assert placing.best_steps(untrained(small_nb, "nb"), hold_out(small_nb), cells) == 0


def test_a_saved_network_moves_as_far(small_nb, moved, tmp_path):
    save(*moved, tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors", small_nb)
    assert again.latent_steps == moved[0].latent_steps
    cells = np.flatnonzero(small_nb.part == "test")
    latent, _, prediction = reconstruct(again, small_nb, device="cpu")
    np.testing.assert_array_equal(latent[cells], latent_of(moved[0], small_nb, cells))
    again.latent_steps = 0
    assert not np.allclose(latent_of(again, small_nb, cells), latent[cells], atol=1e-2)
    shown = reconstruct(again, small_nb, device="cpu")[2]
    counts = small_nb.counts.toarray()
    assert prediction.log_pmf(counts).mean() > shown.log_pmf(counts).mean()


def test_moved_cells_are_predicted_better():
    """Simulated NB counts of 400 cells × 80 genes, of which training has seen none of these."""
    matrix = prepared("simulate:nb", cells=400, genes=80)[0]
    model, _ = fit(
        matrix, "nb", seed=0, network=SETTINGS["network"] | {"latent_steps": 40},
        training=SETTINGS["training"], device="cpu",
    )  # fmt: skip
    cells = np.flatnonzero(matrix.part == "test")
    counts, scores = matrix.counts[cells].toarray(), {}
    for steps in (0, model.latent_steps):
        model.latent_steps = steps
        scores[steps] = -predict_hidden(model, matrix, cells, device="cpu").log_pmf(counts).mean()
    unmoved, found = scores.values()
    assert found < unmoved - 5e-4
