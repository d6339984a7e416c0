"""A fused step is the reference's: loss, every gradient, whatever is hidden, in any threads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from torch import nn

from countae import config, likelihoods, protocols
from countae.counts import CountMatrix
from countae.fused import FusedStep, shares
from countae.fused.step import compiled_loss_of
from countae.hold_out import hide
from countae.likelihoods._base import GeneMoments
from countae.likelihoods.nb import NegativeBinomial
from countae.model import CountAutoencoder
from countae.start import best_constants
from countae.training import Trainer, losses_of, validation_loss

CELLS = np.arange(7, 140)  # more than one tile
COMPILED = [n for n in likelihoods.names() if compiled_loss_of(likelihoods.get(n)())]
OTHERS = sorted({*likelihoods.names()} - {*COMPILED})


@pytest.fixture(autouse=True)
def threads():
    torch.set_num_threads(1)
    yield torch.set_num_threads
    torch.set_num_threads(1)


@pytest.fixture
def data(small_nb):
    return protocols.get("masked")(small_nb)


def network(matrix, likelihood, **settings):
    """An untrained network, without dropout, whose heads depend on the decoder."""
    torch.manual_seed(0)
    family = likelihoods.get(likelihood)() if isinstance(likelihood, str) else likelihood
    moments = best_constants(family, counts=matrix.counts, size_factor=matrix.size_factor)
    chosen = {"hidden": [16, 9], "latent": 4, "dropout": 0.0} | settings
    made = CountAutoencoder(family, moments, **(config.defaults("network") | chosen))
    for head in made.entry_heads.values():
        nn.init.normal_(head.weight, std=0.1)
    return made


def hidden(data, cells=CELLS, seed=3):
    return data.training_task(cells, torch.Generator().manual_seed(seed))


def learned(model, loss):
    """The loss and the gradient of every parameter."""
    model.zero_grad()
    loss.backward()
    return loss.item(), {n: None if p.grad is None else p.grad.clone()
                         for n, p in model.named_parameters()}  # fmt: skip


def assert_same(found, expected):
    """To what single precision leaves of sums over some thousand entries."""
    assert found[0] == pytest.approx(expected[0], rel=3e-6)
    for name, gradient in expected[1].items():
        own = found[1][name]
        if gradient is None:  # a squared error does not train its scale
            assert own is None or not own.any(), name
            continue
        scale = gradient.abs().max().item()
        torch.testing.assert_close(own, gradient, rtol=3e-4, atol=2e-5 * scale, msg=name)


@pytest.mark.parametrize("tile", [32, 4096])
@pytest.mark.parametrize("task", ["hidden", "whole"])
@pytest.mark.parametrize("likelihood", COMPILED)
def test_loss_and_gradients_are_the_references(
    small_nb, data, likelihood, task, tile, threads, monkeypatch
):
    """Oracle: autograd through the plain network, with entries hidden and with all wanted."""
    monkeypatch.setattr(shares, "TILE", tile)
    monkeypatch.setattr("countae.fused.shares.MOST_ENTRIES", 300)
    monkeypatch.setattr("countae.fused.step.MOST_ENTRIES", 300)
    threads(3 if tile == 32 else 1)
    given = hidden(data) if task == "hidden" else data.whole(CELLS)
    model = network(small_nb, likelihood)
    expected = learned(model, losses_of(model, given)[0].mean())
    step = FusedStep.of(model)
    assert_same(learned(model, step.mean_loss(given)), expected)
    total, number = step.total_loss(given)
    assert total / number == pytest.approx(expected[0], rel=3e-6)
    assert number == losses_of(model, given)[0].numel()


@pytest.mark.parametrize("name", ["thinning", "masked"])
def test_other_protocols(small_nb, name):
    """Thinning: another matrix goes in than comes out. A cell and a gene without any count."""
    adata = small_nb.adata.copy()
    counts = adata.X.toarray()
    counts[:, 5], counts[20] = 0, 0
    adata.X = csr_matrix(counts)
    matrix = CountMatrix(adata, "holes")
    data = protocols.get(name)(hide(matrix, name) if name != "masked" else matrix)
    model, task = network(small_nb, "zinb"), hidden(data)
    expected = learned(model, losses_of(model, task)[0].mean())
    assert_same(learned(model, FusedStep.of(model).mean_loss(task)), expected)


@pytest.mark.parametrize("layers", [[], [8]])
def test_other_depths_and_one_cell(small_nb, data, layers):
    model, task = network(small_nb, "nb", hidden=layers), hidden(data, np.array([3]))
    expected = learned(model, losses_of(model, task)[0].mean())
    assert_same(learned(model, FusedStep.of(model).mean_loss(task)), expected)


@pytest.mark.parametrize(("a", "b"), [(1, 1), (2, 3)])
def test_a_factor_of_the_loss_and_a_second_loss_reach_all_gradients(small_nb, data, a, b):
    """Gradients add up if they are not cleared, as everywhere in Torch."""
    model = network(small_nb, "zinb")
    first, second = hidden(data), hidden(data, seed=4)
    expected = learned(
        model, a * losses_of(model, first)[0].mean() + b * losses_of(model, second)[0].mean()
    )[1]
    step = FusedStep.of(model)
    model.zero_grad()
    (step.mean_loss(first) if a == 1 else a * step.mean_loss(first)).backward()
    (step.mean_loss(second) if b == 1 else b * step.mean_loss(second)).backward()
    for name, parameter in model.named_parameters():
        scale = expected[name].abs().max().item()
        torch.testing.assert_close(
            parameter.grad, expected[name], rtol=3e-4, atol=2e-5 * scale, msg=name
        )


def test_one_task_at_a_time(small_nb, data):
    """Buffers hold one task: what would be wrong is refused."""
    step = FusedStep.of(network(small_nb, "nb"))
    first, _ = step.mean_loss(hidden(data)), step.mean_loss(hidden(data, seed=4))
    with pytest.raises(RuntimeError, match="before the fused step"):
        first.backward()


def test_one_number_of_threads_gives_one_result(small_nb, data, threads):
    threads(2)
    found = []
    for _ in range(3):
        model = network(small_nb, "zinb")
        found.append(learned(model, FusedStep.of(model).mean_loss(hidden(data))))
    for loss, gradients in found[1:]:
        assert loss == found[0][0]
        assert all(torch.equal(g, found[0][1][name]) for name, g in gradients.items())


def test_buffers_are_used_again_and_hold_nothing_back(small_nb, data):
    """A smaller task after a larger one, and the larger one again, give what they gave."""
    model = network(small_nb, "zinb")
    step = FusedStep.of(model)
    large, small = hidden(data), hidden(data, CELLS[:20])
    first = learned(model, step.mean_loss(large))
    learned(model, step.mean_loss(small))
    before = {id(array) for share in step.shares for array in share.buffers._kept.values()}
    again = learned(model, step.mean_loss(large))
    after = {id(array) for share in step.shares for array in share.buffers._kept.values()}
    assert before == after
    assert again[0] == first[0]
    assert all(torch.equal(g, first[1][name]) for name, g in again[1].items())


def test_an_optimiser_moves_the_parameters_alike(small_nb, data):
    """The first layer's weights lie in memory by gene; Adam must not mind."""
    moved = []
    for fused in (True, False):
        model = network(small_nb, "zinb")
        step = FusedStep.of(model) if fused else None
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
        for seed in range(5):
            task = hidden(data, seed=seed)
            optimiser.zero_grad()
            loss = step.mean_loss(task) if step else losses_of(model, task)[0].mean()
            loss.backward()
            optimiser.step()
        moved.append({n: p.detach().clone() for n, p in model.named_parameters()})
    for name, value in moved[0].items():
        torch.testing.assert_close(value, moved[1][name], rtol=1e-3, atol=2e-5, msg=name)


class Doubled(NegativeBinomial):
    """A plugin's loss that inherits everything but the loss."""

    def loss(self, counts, **parameters):
        return 2 * super().loss(counts, **parameters)


class Plain(NegativeBinomial):
    def compiled_loss(self):
        return None


@pytest.mark.parametrize("family", [Doubled(), Plain()])
def test_a_loss_without_a_compiled_one_of_its_own_is_left_to_the_reference(small_nb, family):
    assert FusedStep.of(network(small_nb, family)) is None


@pytest.mark.parametrize("likelihood", OTHERS)
def test_losses_that_are_not_compiled_are_trained_by_the_reference(small_nb, data, likelihood):
    """Steps are autograd's, on what the reference says, and lower the loss of hidden counts."""
    model = network(small_nb, likelihood)
    assert FusedStep.of(model) is None
    settings = config.defaults("training") | {"implementation": "auto", "batch_size": 32}
    trainer, task = Trainer(model, data, settings), hidden(data)
    assert trainer.fused is None
    found = learned(model, trainer._loss(task, 0))
    assert_same(found, learned(model, losses_of(model, task)[0].mean()))
    before, generator = validation_loss(model, data, CELLS), torch.Generator().manual_seed(0)
    for epoch in range(10):
        assert trainer.epoch(epoch, CELLS, generator)[1] is None
    assert validation_loss(model, data, CELLS, trainer.fused) < before


@pytest.mark.parametrize("task", ["hidden", "whole"])
def test_every_batch_has_its_own_dispersion(small_nb, task, threads, monkeypatch):
    """Oracle: autograd. Of three batches, one has no cell among those of the task."""
    monkeypatch.setattr(shares, "TILE", 32)
    threads(3)
    small = CountMatrix(small_nb.adata.copy(), "batches")
    run = np.random.default_rng(5).choice(["a", "b"], len(small.obs))
    run[:7] = "c"
    small.adata.obs["run"] = run
    small.info["batch_key"] = "run"
    data = protocols.get("masked")(small)
    model = network(small, "nb_batch", n_batches=3)
    nn.init.normal_(model.gene_heads["log_inverse_dispersion"])
    given = hidden(data) if task == "hidden" else data.whole(CELLS)
    expected = learned(model, losses_of(model, given)[0].mean())
    found = learned(model, FusedStep.of(model).mean_loss(given))
    assert_same(found, expected)
    of_batch = found[1]["gene_heads.log_inverse_dispersion"]
    assert of_batch[:2].all()
    assert not of_batch[2].any()


def test_heads_of_another_kind_are_left_to_the_reference(small_nb):
    """Not one linear layer, no bias, other genes, made weights, θ per batch, double precision."""
    width, genes = 16, 40

    def with_head(**heads):
        model = network(small_nb, "nb")
        for name, head in heads.items():
            (model.gene_heads if isinstance(head, nn.Parameter) else model.entry_heads)[name] = (
                head
            )
        return model

    tied = nn.utils.parametrizations.weight_norm(nn.Linear(width, genes))
    for model in (
        with_head(log_mean=nn.Sequential(nn.Linear(width, genes))),
        with_head(log_mean=nn.Linear(width, genes, bias=False)),
        with_head(log_mean=nn.Linear(width, genes + 1)),
        with_head(log_mean=tied),
        with_head(log_inverse_dispersion=nn.Parameter(torch.ones(2, genes))),
        network(small_nb, "nb").double(),
    ):
        assert FusedStep.of(model) is None
    assert FusedStep.of(with_head()) is not None


class Centred(nn.Module):
    """A first layer that fused steps do not know: it looks at the whole input."""

    def __init__(self, genes):
        super().__init__()
        self.inner = nn.Linear(genes, 16)

    def forward(self, features):
        return self.inner(torch.cat([torch.tanh(features)], dim=1))


NORMED = nn.utils.parametrizations.weight_norm(nn.Linear(40, 16))


@pytest.mark.parametrize("first", [Centred(40), NORMED], ids=["module", "normed"])
def test_another_first_layer_gets_a_tensor(small_nb, data, first):
    """Whatever is not a plain linear layer works on the dense input."""
    model, task = network(small_nb, "zinb"), hidden(data)
    model.encoder[0][0] = first
    expected = learned(model, losses_of(model, task)[0].mean())
    assert_same(learned(model, FusedStep.of(model).mean_loss(task)), expected)


def test_a_loss_that_is_not_finite_is_seen(small_nb, data):
    model = network(small_nb, "zinb")
    with torch.no_grad():
        model.entry_heads["log_mean"].bias[4] = np.nan
    assert not torch.isfinite(FusedStep.of(model).mean_loss(hidden(data)))


def test_extreme_parameters_give_finite_gradients(data, small_nb):
    """θ 1e-4 … 1e8 and means 1e-6 … 1e4: no NaN, no infinity."""
    rng = np.random.default_rng(2)
    moments = GeneMoments(*(torch.as_tensor(v) for v in (
        10.0 ** rng.uniform(-6, 4, 40), rng.uniform(0, 5, 40), 10.0 ** rng.uniform(-4, 8, 40),
        rng.uniform(1e-6, 0.999, 40),
    )))  # fmt: skip
    for name in COMPILED:
        family = likelihoods.get(name)()
        small = {"hidden": [8], "latent": 3, "dropout": 0.0}
        model = CountAutoencoder(family, moments, **(config.defaults("network") | small))
        loss, gradients = learned(model, FusedStep.of(model).mean_loss(hidden(data)))
        assert np.isfinite(loss), name
        assert all(g is None or torch.isfinite(g).all() for g in gradients.values()), name
