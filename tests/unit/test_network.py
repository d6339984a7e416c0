"""Options of the network: what each does, that none leaks, and that the default stays itself."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import SETTINGS, prepared
from scipy.sparse import csr_matrix
from torch import nn

from countae import config, likelihoods
from countae.counts import CountMatrix
from countae.errors import ConfigError, CountMatrixError, FitDivergedError
from countae.fit import fit, load, save
from countae.hold_out import hide
from countae.layers import Dropout
from countae.likelihoods._moments import gene_moments
from countae.model import CountAutoencoder
from countae.predict import latent_of, predict_hidden, reconstruct
from countae.protocols._conditions import levels_of, one_hot

NETWORK = {"hidden": [16], "latent": 4, "dropout": 0.1}
TRAINING = SETTINGS["training"] | {"max_epochs": 6, "batch_size": 32}
OPTIONS = {
    "batch norm": {"norm": "batch"},
    "no norm": {"norm": "none"},
    "linear": {"norm": "none", "activation": "linear"},
    "tied": {"weights": "tied", "hidden": [16, 8]},
    "variational": {"bottleneck": "variational", "kl_warm_up": 2},
    "conditions": {"conditions": ["batch"]},
    "predicted library": {"library": "predicted"},
    "all that go together": {
        "norm": "batch", "bottleneck": "variational", "conditions": ["batch", "cell_type"],
        "library": "predicted", "kl_warm_up": 2,
    },
}  # fmt: skip
NAMES = likelihoods.names()


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def batches():
    """150 × 40 NB counts of three batches."""
    settings = SETTINGS["simulate"] | {"n_batches": 3}
    before, SETTINGS["simulate"] = SETTINGS["simulate"], settings
    try:
        return prepared("simulate:nb", batch_key="batch", label_key="cell_type")[0]
    finally:
        SETTINGS["simulate"] = before


def fitted(matrix, likelihood="nb", *, seed=0, training=None, **network):
    return fit(
        matrix, likelihood, seed=seed, network=NETWORK | network,
        training=TRAINING | (training or {}), device="cpu",
    )  # fmt: skip


def moments_of(matrix):
    train = matrix.part == "train"
    return gene_moments(counts=matrix.counts[train], size_factor=matrix.size_factor[train])


def built(matrix, likelihood, **network):
    """An untrained network of the training cells' moments."""
    train, moments = np.flatnonzero(matrix.part == "train"), moments_of(matrix)
    network = SETTINGS["network"] | network
    levels = levels_of(matrix, network["conditions"], train)
    torch.manual_seed(0)
    return CountAutoencoder(likelihoods.get(likelihood)(), moments, **network, levels=levels)


def seen(matrix, cells=slice(None)):
    """Counts and size factors as tensors."""
    counts = torch.as_tensor(matrix.counts[cells].toarray(), dtype=torch.float32)
    return counts, torch.as_tensor(matrix.size_factor[cells, None], dtype=torch.float32)


def test_the_default_network_is_to_the_bit_what_it_was(small_nb):
    """Written out again: linear, LayerNorm, ReLU, dropout; heads of small weights at the start."""
    model = built(small_nb, "zinb", hidden=[24, 12])
    torch.manual_seed(0)

    def layers(widths):
        return [
            nn.Sequential(nn.Linear(a, b), nn.LayerNorm(b), nn.ReLU(), nn.Dropout(0.3))
            for a, b in pairwise(widths)
        ]

    encoder = nn.Sequential(*layers([40, 24, 12]), nn.Linear(12, 10))
    decoder = nn.Sequential(*layers([10, 12, 24]))
    heads = nn.ModuleDict({"log_mean": nn.Linear(24, 40), "zero_logit": nn.Linear(24, 40)})
    for name, head in heads.items():
        with torch.no_grad():
            head.weight.mul_(0.1)
            head.bias.copy_(model.entry_heads[name].bias)
    parts = {"encoder": encoder, "decoder": decoder, "entry_heads": heads}
    expected = {f"{p}.{k}": v for p, part in parts.items() for k, v in part.state_dict().items()}
    found = model.state_dict()
    assert set(found) - set(expected) == {"input_mean", "gene_heads.log_inverse_dispersion"}
    assert all(torch.equal(found[name], value) for name, value in expected.items())

    counts, size_factor = seen(small_nb)
    hidden = (torch.rand(counts.shape) < 0.2).float()
    torch.manual_seed(1)
    made = model(counts, size_factor, hidden)
    torch.manual_seed(1)
    features = (torch.log1p(counts / size_factor) - model.input_mean) * (1 - hidden)
    decoded = decoder(encoder(features))
    assert torch.equal(made["mean"], size_factor * heads["log_mean"](decoded).exp())
    assert torch.equal(made["zero_logit"], heads["zero_logit"](decoded))
    assert model.penalty(0, 100) == 0.0


def test_norms_are_over_units_over_cells_or_not_at_all(batches):
    """In training LayerNorm centres every cell's units, BatchNorm every unit's cells."""
    centred = {}
    for norm in ("layer", "batch", "none"):
        model = built(batches, "nb", norm=norm).train()
        units = torch.log1p(seen(batches)[0]) - model.input_mean
        parts = [part for part in model.encoder[0] if not isinstance(part, nn.ReLU | Dropout)]
        for part in parts:
            units = part(units)
        centred[norm] = [units.mean(dim).abs().max().item() < 1e-5 for dim in (1, 0)]
    assert centred == {"layer": [True, False], "batch": [False, True], "none": [False, False]}


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_trains_and_survives_its_file(batches, option, tmp_path):
    model, record = fitted(batches, "zinb", **OPTIONS[option])
    assert record.network == SETTINGS["network"] | NETWORK | OPTIONS[option]
    assert record.validation_loss[record.best_epoch] < record.validation_loss[0]
    save(model, record, tmp_path / "model.safetensors")
    back = load(tmp_path / "model.safetensors", batches)
    cells = np.flatnonzero(batches.part == "test")
    before, after = (predict_hidden(m, batches, cells, device="cpu") for m in (model, back))
    np.testing.assert_array_equal(before.prob_zero, after.prob_zero)
    np.testing.assert_array_equal(before.mean, after.mean)
    again = fitted(batches, "zinb", **OPTIONS[option])[1]
    assert again.validation_loss == record.validation_loss


@pytest.mark.parametrize("option", ["tied", "variational", "predicted library"])
def test_every_weight_is_trained(batches, option):
    """Adam moves a weight that has a gradient by some thousandths within two epochs."""
    still, moved = (
        dict(fitted(batches, "zinb", **OPTIONS[option], training=training)[0].named_parameters())
        for training in ({"max_epochs": 1, "learning_rate": 1e-12}, {"max_epochs": 3})
    )
    assert {name for name in still if (still[name] - moved[name]).abs().max() < 1e-4} == set()


@pytest.mark.parametrize("option", OPTIONS)
def test_no_option_lets_a_hidden_count_reach_its_own_prediction(batches, option):
    model, _ = fitted(batches, **OPTIONS[option])
    cells = np.flatnonzero(batches.part == "test")
    before = predict_hidden(model, batches, cells, device="cpu").mean
    adata = batches.adata.copy()
    fold = batches.fold_of(np.arange(adata.n_obs))
    moved = adata.X.toarray() + 7 * (fold == 0)
    adata.obs["library_size"] = adata.obs["library_size"] + (moved - adata.X).sum(axis=1).A1
    adata.X = csr_matrix(moved)
    after = predict_hidden(model, CountMatrix(adata, "changed"), cells, device="cpu").mean
    hidden = fold[cells] == 0
    np.testing.assert_allclose(after[hidden], before[hidden], rtol=1e-6)
    assert not np.allclose(after[~hidden], before[~hidden], rtol=1e-3)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", NAMES)
def test_every_loss_has_the_same_encoder_and_decoder_under_every_option(batches, name, option):
    one, other = (built(batches, n, **OPTIONS[option]) for n in (name, NAMES[0]))
    for part in ("encoder", "decoder"):
        here, there = (getattr(model, part).state_dict() for model in (one, other))
        assert here.keys() == there.keys()
        assert all(torch.equal(here[key], there[key]) for key in here), part


@pytest.mark.parametrize("name", NAMES)
def test_tied_weights_are_those_of_the_first_head(batches, name):
    """The mean's, in every loss: other heads of an entry keep weights of their own."""
    model = built(batches, name, weights="tied", hidden=[16, 8])
    first, *others = model.entry_heads.items()
    assert first[0] == next(iter(model.likelihood.heads))
    start = model.likelihood.start(moments_of(batches))[first[0]]
    assert torch.equal(first[1].bias, start.float())
    assert torch.equal(first[1].weight, model.encoder[0][0].weight.T)
    assert torch.equal(model.decoder[0][0].weight, model.encoder[2].weight.T)
    assert torch.equal(model.decoder[1][0].weight, model.encoder[1][0].weight.T)
    assert all(isinstance(head, nn.Linear) for _, head in others)
    tensors = {value.data_ptr() for value in model.state_dict().values() if value.numel()}
    assert len(tensors) == sum(value.numel() > 0 for value in model.state_dict().values())


def test_the_divergence_is_added_to_the_training_loss_alone(batches):
    """Per predicted entry, with a weight that rises; the validation loss is not random."""
    model = built(batches, "nb", bottleneck="variational", kl_weight=0.5, kl_warm_up=3).train()
    model(*seen(batches, slice(0, 20)))
    divergence = model.sampled.divergence
    assert divergence.shape == (20,)
    for epoch, share in enumerate([0.25, 0.5, 0.75, 1.0, 1.0]):
        expected = share * 0.5 * divergence.sum().item() / 160
        assert model.penalty(epoch, 160).item() == pytest.approx(expected, rel=1e-6)
    model.eval()
    first, second = (model(*seen(batches))["mean"] for _ in range(2))
    assert torch.equal(first, second)

    told = {"bottleneck": "variational", "kl_warm_up": 0}
    told |= {"training": {"max_epochs": 1, "learning_rate": 1e-12}}
    none, some = (fitted(batches, kl_weight=weight, **told)[1] for weight in (0.0, 2.0))
    assert some.train_loss[0] > none.train_loss[0] + 0.01
    assert some.validation_loss == pytest.approx(none.validation_loss, rel=1e-6)


def test_a_heavy_divergence_makes_the_posterior_the_prior(batches):
    """The limit of a large weight: nothing of a cell is left in its coordinates."""
    told = {"bottleneck": "variational", "kl_warm_up": 50, "training": {"max_epochs": 70}}
    cells = np.arange(150)
    free, bound = (
        latent_of(fitted(batches, kl_weight=w, **told)[0], batches, cells, device="cpu").std(0)
        for w in (0.0, 1000.0)
    )
    assert bound.max() < 0.05 < 0.3 < free.max()


def test_weights_are_kept_only_from_behind_the_warm_up(batches):
    """A smaller weight of the divergence must not win by being early."""
    told = {"bottleneck": "variational", "kl_weight": 100.0, "kl_warm_up": 20}
    record = fitted(batches, **told, training={"max_epochs": 60, "patience": 8})[1]
    early = int(np.argmin(record.validation_loss))
    assert early < 20 <= record.best_epoch
    short = fitted(batches, **told, training={"max_epochs": 5})[1]
    assert (short.best_epoch, short.stop_reason) == (4, "max_epochs")


def test_a_divergence_that_overflows_is_told(batches):
    with pytest.raises(FitDivergedError, match=r"in epoch 1: the bottleneck's KL .* Fix: lower"):
        fitted(batches, bottleneck="variational", kl_weight=1e45)


def test_conditions_reach_encoder_and_decoder(batches):
    model = built(batches, "nb", conditions=["batch"])
    assert model.levels == {"batch": ["batch 1", "batch 2", "batch 3"]}
    assert model.encoder[0][0].in_features == 43
    assert model.decoder[0][0].in_features == 13
    condition = torch.as_tensor(one_hot(batches, model.levels)).requires_grad_()
    model(*seen(batches), condition=condition)["mean"].sum().backward()
    assert (condition.grad.abs().sum(0) > 0).all()
    for layer in (model.encoder[0][0], model.decoder[0][0]):
        assert (layer.weight.grad[:, -3:].abs().sum(0) > 0).all()


def test_categories_by_hand(batches):
    parts = ["test", "train", "validation"]
    found = one_hot(batches, {"batch": ["batch 2", "batch 1", "batch 3"], "split": parts})
    assert found.shape == (150, 6)
    assert (found.sum(axis=1) == 2).all()
    np.testing.assert_array_equal(found[:, 0], batches.obs["batch"] == "batch 2")
    np.testing.assert_array_equal(found[:, 3], batches.part == "test")


def test_a_network_that_is_told_the_batch_takes_it_out_of_its_latent_space():
    """A gene that is on in one batch only: the others do not tell which, so it must be told."""
    rng = np.random.default_rng(5)
    matrix = prepared("simulate:poisson")[0]
    adata = matrix.adata.copy()
    on = rng.random(150) < 0.5
    counts = adata.X.toarray()
    counts[:, 0] = rng.poisson(1 + 30 * on)
    adata.X = csr_matrix(counts)
    adata.obs["plate"] = np.where(on, "on", "off")
    adata.obs["library_size"] = 1.0 * counts.sum(axis=1)  # less the gene itself while it is hidden
    matrix, cells = CountMatrix(adata, "plates"), np.flatnonzero(matrix.part == "test")
    long = {"max_epochs": 60}
    told, untold = (
        predict_hidden(
            fitted(matrix, "poisson", training=long, conditions=names)[0],
            matrix,
            cells,
            device="cpu",
        ).mean[:, 0]
        for names in (["plate"], [])
    )
    gap = [np.log(m[on[cells]].mean() / m[~on[cells]].mean()) for m in (told, untold)]
    assert gap[0] > 2
    assert abs(gap[1]) < 0.7


def test_conditions_go_with_every_protocol(batches):
    thinned = hide(batches, "thinning", device="cpu")
    model, _ = fitted(thinned, conditions=["batch"])
    assert np.isfinite(predict_hidden(model, thinned, np.arange(9), device="cpu").mean).all()
    latent, denoised, _ = reconstruct(model, thinned, device="cpu")
    assert latent.shape == (150, 4)
    assert np.isfinite(denoised).all()


def with_column(matrix, name, values):
    adata = matrix.adata.copy()
    adata.obs[name] = values
    return CountMatrix(adata, "counts.h5ad")


def test_categories_that_a_network_cannot_know_are_told(batches):
    model, _ = fitted(batches, conditions=["batch"])
    new = batches.obs["batch"].to_numpy(str).astype(object)
    new[3] = "batch 9"
    with pytest.raises(
        CountMatrixError,
        match=r"'batch', of which .*but 1 of 150 .*'batch 9' at cell 'cell3'.*Fix",
    ):
        predict_hidden(model, with_column(batches, "batch", new), np.arange(9), device="cpu")
    with pytest.raises(CountMatrixError, match=r"Numbers are no categories.*Fix: set `batch_key`"):
        fitted(with_column(batches, "age", np.arange(150.0)), conditions=["age"])
    with pytest.raises(
        CountMatrixError, match=r"`network.conditions` names.*Did you mean 'batch'"
    ):
        fitted(batches, conditions=["bach"])
    with pytest.raises(CountMatrixError, match="must have a value for every cell"):
        fitted(with_column(batches, "plate", [None] + ["a"] * 149), conditions=["plate"])


def test_a_predicted_library_takes_the_place_of_the_size_factor(batches):
    """The observed one is not used at all, and the mean follows the prediction."""
    model = built(batches, "nb", library="predicted").eval()
    counts, size_factor = seen(batches)
    with torch.no_grad():
        model.log_size.bias.fill_(np.log(3.0))
        found = model(counts, size_factor)
        other = model(counts, 5 * size_factor)
        size = model.encoded(counts, size_factor)[1]
        model.log_size.weight.zero_()
        model.log_size.bias.zero_()
        at_one = model(counts, size_factor)["mean"]
    assert torch.equal(found["mean"], other["mean"])
    np.testing.assert_allclose(found["mean"], size * at_one, rtol=1e-5)
    assert 2 < size.median() < 4


def test_a_predicted_library_follows_the_depth():
    """Cells of ten depths: the prediction correlates with the truth that it is not told."""
    matrix = prepared("simulate:poisson", cells=400)[0]
    adata, rng = matrix.adata.copy(), np.random.default_rng(3)
    depth = rng.choice([1, 2, 4, 8], 400)
    adata.X = csr_matrix(rng.poisson(depth[:, None] * matrix.adata.layers["true_mean"]))
    adata.obs["library_size"] = 100.0  # no help
    deep = CountMatrix(adata, "deep")
    deep.info["reference_size"] = 100.0
    model, _ = fitted(deep, "poisson", library="predicted", training={"max_epochs": 60})
    test = np.flatnonzero(deep.part == "test")
    with torch.no_grad():
        size = model.encoded(*seen(deep, test))[1][:, 0].numpy()
    truth = np.log(adata.layers["true_mean"][test].sum(axis=1) * depth[test])
    assert np.corrcoef(np.log(size), truth)[0, 1] > 0.8
    _, denoised, prediction = reconstruct(model, deep, device="cpu")
    np.testing.assert_allclose(denoised[test] * size[:, None], prediction.mean[test], rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_that_could_choose_its_own_target_keeps_the_observed_library(batches, name):
    """The size factor is multiplied into the mean and then forgotten, or the loss says it is not.

    Otherwise a network that predicts a huge size makes any residual small.
    """
    family = likelihoods.get(name)()
    model = built(batches, name, library="predicted")
    assert (model.log_size is None) == family.size_in_target
    counts, size_factor = seen(batches)
    parameters = model(counts, size_factor)
    if "size_factor" in parameters:
        moved = parameters | {"size_factor": 2 * parameters["size_factor"]}
        losses = [family.loss(counts, **given) for given in (parameters, moved)]
        assert torch.equal(*losses) != family.size_in_target


def test_one_cell_alone_has_no_batch_norm(batches):
    with pytest.raises(ConfigError, match=r"at least two cells .* steps of 1 leave one .* Fix"):
        fitted(batches, norm="batch", training={"batch_size": 1})
    assert fitted(batches, norm="batch", training={"batch_size": 2, "max_epochs": 1})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"kl_weight": 0.1}, "network.kl_weight is 0.1, but only a variational bottleneck"),
        ({"kl_warm_up": 5}, "network.kl_warm_up is 5, but only a variational bottleneck"),
        ({"activation": "linear"}, "norm is layer, which divides"),
        ({"weights": "tied", "conditions": ["batch"]}, "conditions are batch: what encoder and"),
        ({"norm": "instance"}, "'instance' is not one of"),
        ({"weight": "tied"}, "unknown key 'weight' in network. Did you mean 'weights'?"),
    ],
)
def test_parts_that_make_no_sense_together_are_told(batches, given, words):
    with pytest.raises(ConfigError) as error:
        config.validated({"network": given}, where="config.yaml")
    assert str(error.value).startswith("config.yaml: ")
    assert words in str(error.value)
    with pytest.raises(ConfigError):
        fitted(batches, **given)


def test_parts_that_make_sense_together_are_let_through():
    for given in [*OPTIONS.values(), {"activation": "linear", "hidden": []}]:
        assert config.validated({"network": given})["network"] == SETTINGS["network"] | given
