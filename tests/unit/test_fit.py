"""Training and prediction: no leak, one result per seed, honest stopping, and recovery."""

from __future__ import annotations

import anndata
import numpy as np
import pytest
import torch
from conftest import SETTINGS, prepared
from scipy.sparse import csr_matrix

from countae import likelihoods, protocols
from countae.counts import CountMatrix
from countae.devices import choose_device
from countae.errors import ConfigError, CountMatrixError, FitDivergedError
from countae.files import read_json
from countae.fit import WARM_UP, fit, load, save
from countae.fused import FusedStep
from countae.likelihoods import poisson_lognormal
from countae.likelihoods._moments import gene_moments
from countae.model import CountAutoencoder
from countae.noise import fit_noise
from countae.predict import predict_hidden, reconstruct
from countae.start import best_constants
from countae.training import GENE_HEAD_SPEED, Trainer, losses_of

FUSED_STEP_OF = FusedStep.of
NETWORK = {"hidden": [16], "latent": 4, "dropout": 0.1}
TRAINING = SETTINGS["training"] | {"max_epochs": 8, "batch_size": 32}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def fitted(matrix, likelihood="nb", *, seed=0, **training):
    return fit(
        matrix, likelihood, seed=seed, network=NETWORK, training=TRAINING | training, device="cpu"
    )


@pytest.mark.parametrize("likelihood", likelihoods.names())
def test_every_loss_falls_and_is_recorded(small_nb, likelihood):
    model, record = fitted(small_nb, likelihood, max_epochs=20)
    assert record.validation_loss[record.best_epoch] < record.validation_loss[0]
    assert len(record.train_loss) == len(record.validation_loss) == 20
    assert record.stop_reason == "max_epochs"
    assert record.seconds > 0
    assert record.peak_memory_mb > 10
    assert record.parameters == sum(p.numel() for p in model.parameters())
    prediction = predict_hidden(model, small_nb, np.arange(20), device="cpu")
    counts = small_nb.counts[:20].toarray()
    assert np.isfinite(prediction.log_pmf(counts)).all()
    assert prediction.mean.shape == prediction.variance.shape == counts.shape
    assert prediction.sample(2, np.random.default_rng(0)).shape == (2, *counts.shape)


def test_a_seed_gives_one_result_and_another_seed_another(small_nb):
    (first, record), (second, _), (third, _) = (fitted(small_nb, seed=s) for s in (0, 0, 1))
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    assert not torch.equal(first.encoder[0][0].weight, third.encoder[0][0].weight)
    assert record.validation_loss == fitted(small_nb)[1].validation_loss


@pytest.mark.parametrize("likelihood", likelihoods.names())
def test_compiled_steps_train_what_the_reference_trains(small_nb, likelihood):
    """Oracle: plain PyTorch. Rounding grows with the steps: 1e-5 of the loss in three epochs."""
    training = {"max_epochs": 3, "learning_rate": 1e-3}
    own, reference = (
        fitted(small_nb, likelihood, **training, implementation=name)[1]
        for name in ("auto", "reference")
    )
    assert own.validation_loss == pytest.approx(reference.validation_loss, rel=1e-5)
    assert own.train_loss == pytest.approx(reference.train_loss, rel=1e-5)


def test_compiled_steps_are_taken_where_there_are_any_and_not_where_they_are_unwanted(
    small_nb, monkeypatch
):
    made = []
    monkeypatch.setattr(FusedStep, "of", lambda model: made.append(FUSED_STEP_OF(model)))
    fitted(small_nb, implementation="reference")
    assert made == []
    fitted(small_nb, implementation="auto")
    assert isinstance(made[0], FusedStep)


def test_training_leaves_the_global_random_state_alone(small_nb):
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    fitted(small_nb)
    assert torch.equal(torch.rand(3), expected)


def reads(n_cells, n_genes, *, level, spread):
    """Size factors and counts with huge outliers, of which two fifths are lost."""
    rng = np.random.default_rng(4)
    size, rate = rng.lognormal(0, 0.4, n_cells), rng.lognormal(level, spread, n_genes)
    noise = rng.lognormal(0, 1.5, (n_cells, n_genes))
    counts = rng.poisson(noise * size[:, None] * rate)
    return size, counts * (rng.random(counts.shape) < 0.6)


@pytest.mark.parametrize("likelihood", ["nb", "zinb"])
def test_training_starts_where_the_control_stands(likelihood):
    """Reads whose largest counts mislead moments: the start is the noise of ``gene_mean|nb``.

    Oracle: the recipe of the noise columns around the gene's mean; and on average the counts are
    more probable than under θ and π from moments.
    """
    size, counts = reads(60, 50, level=5, spread=1)
    family = likelihoods.get(likelihood)()
    found = best_constants(family, counts=csr_matrix(counts), size_factor=size)
    moments = gene_moments(counts=csr_matrix(counts), size_factor=size)
    mean = size[:, None] * moments.mean.numpy()
    noise = fit_noise(likelihood, counts=1.0 * counts, mean=mean, size_factor=size)
    theta = noise.raw["log_inverse_dispersion"].exp()
    np.testing.assert_allclose(found.inverse_dispersion, theta, rtol=1e-6)

    def score(moments):
        raw = family.start(moments)
        return -family.log_pmf(
            torch.as_tensor(counts), **family.constrain(raw, torch.as_tensor(size)[:, None])
        ).mean()

    assert score(found) < score(moments) - 0.02


@pytest.mark.parametrize(
    ("likelihood", "tolerance"),
    [
        ("nb_cell", 0.002), ("zip", 0.002), ("zinb_gene", 0.002), ("zinb_logistic", 0.005),
        ("hurdle_nb", 0.002), ("hurdle_nb_focal", 0.002), ("gaussian", 0.03),
        ("poisson_lognormal", 0.002), ("beta_binomial", 0.005),
    ],
)  # fmt: skip
def test_no_loss_starts_behind_its_best_constants(likelihood, tolerance):
    """Oracle: Adam on the loss itself from there, one number per gene and head, all cells.

    Reads with huge outliers, where moments were half a nat behind. A normal starts at the gene's
    mean, not at the mean that deep cells rule. The best log-normal of such zeros is wider than the
    bounds from which training can move either way, so the oracle is kept within them. Tolerances
    are shares of the loss.
    """
    size, counts = reads(200, 30, level=3, spread=1.5)
    family = likelihoods.get(likelihood)()
    found = best_constants(family, counts=csr_matrix(counts), size_factor=size)
    start = family.start(found) | found.heads
    raw = {name: value.clone().requires_grad_() for name, value in start.items()}
    x, s = torch.as_tensor(counts, dtype=torch.float64), torch.as_tensor(size)[:, None]
    optimiser = torch.optim.Adam(
        [value for name, value in raw.items() if name not in family.fixed_heads], lr=0.03
    )
    bounds = poisson_lognormal.BOUNDS if likelihood == "poisson_lognormal" else {}
    losses = []
    for _ in range(150):
        optimiser.zero_grad()
        loss = family.loss(x, **family.constrain(raw, s)).mean()
        loss.backward()
        optimiser.step()
        for name, ends in bounds.items():
            raw[name].detach().clamp_(*ends)
        losses.append(loss.item())
    assert losses[0] <= min(losses) + tolerance * abs(min(losses))


@pytest.mark.parametrize("likelihood", likelihoods.names())
def test_a_gene_without_any_count_has_a_start(likelihood):
    """A rare gene may have no molecule in the hidden half of the training cells."""
    family, counts = likelihoods.get(likelihood)(), np.zeros((40, 3), dtype=int)
    counts[:, 1:] = np.random.default_rng(0).poisson(2.0, (40, 2))
    moments = best_constants(family, counts=csr_matrix(counts), size_factor=np.ones(40))
    start = family.start(moments) | moments.heads
    assert set(start) == set(family.heads)
    for name, value in start.items():
        assert torch.isfinite(value).all(), name


def test_a_loss_without_noise_heads_starts_at_its_moments(small_nb):
    train = small_nb.part == "train"
    given = {"counts": small_nb.counts[train], "size_factor": small_nb.size_factor[train]}
    found = best_constants(likelihoods.get("poisson")(), **given)
    np.testing.assert_array_equal(found.mean, gene_moments(**given).mean)
    np.testing.assert_array_equal(
        found.inverse_dispersion, gene_moments(**given).inverse_dispersion
    )


def test_the_first_step_is_a_small_one(small_nb):
    """Adam moves a weight by the step size at first: a fiftieth of the one that is asked for."""
    n = int((small_nb.part == "train").sum())
    step = {"max_epochs": 1, "batch_size": n, "learning_rate": 0.01}
    model = fitted(small_nb, "poisson", **step)[0]
    start = fitted(small_nb, "poisson", **step | {"learning_rate": 1e-12})[0]
    moved = (model.decoder[0][0].weight - start.decoder[0][0].weight).abs().max().item()
    assert moved == pytest.approx(0.01 / WARM_UP, rel=1e-3)


def test_an_epoch_has_no_more_steps_than_it_may(small_nb):
    """Oracle: Adam counts its steps; without the limit there are 98 cells / 32, rounded up."""
    data, seen = protocols.get("masked")(small_nb), []
    train = np.flatnonzero(small_nb.part == "train")
    for steps in (2, 4, 1_000):
        settings = TRAINING | {"epoch_steps": steps}
        trainer = Trainer(fitted(small_nb, "poisson")[0], data, settings)
        for number in range(3):
            trainer.epoch(number, train, torch.Generator().manual_seed(number))
        weight = next(trainer.model.decoder.parameters())
        seen.append(int(trainer.optimiser.state[weight]["step"]))
    assert seen == [3 * 2, 3 * 4, 3 * -(-len(train) // 32)]


def changed(matrix: CountMatrix, where: np.ndarray) -> CountMatrix:
    """The same data with other counts at some entries; library sizes follow the counts."""
    adata: anndata.AnnData = matrix.adata.copy()
    counts = adata.X.toarray()
    moved = counts + where * 7
    adata.X = type(adata.X)(moved)
    adata.obs["library_size"] = adata.obs["library_size"] + (moved - counts).sum(axis=1)
    return CountMatrix(adata, "changed")


@pytest.mark.parametrize("likelihood", likelihoods.names())
def test_no_hidden_count_reaches_its_own_prediction(small_nb, likelihood):
    """Changing all counts of one fold leaves that fold's predictions as they were, to the bit."""
    model, _ = fitted(small_nb, likelihood)
    cells = np.flatnonzero(small_nb.part == "test")
    before = predict_hidden(model, small_nb, cells, device="cpu").mean
    folds = small_nb.fold_of(np.arange(len(small_nb.obs)))
    for fold in range(small_nb.n_folds):
        other = changed(small_nb, folds == fold)
        after = predict_hidden(model, other, cells, device="cpu").mean
        hidden = folds[cells] == fold
        np.testing.assert_allclose(after[hidden], before[hidden], rtol=1e-6)
        assert not np.allclose(after[~hidden], before[~hidden], rtol=1e-3)


def test_test_cells_do_not_reach_the_fit(small_nb):
    test = (small_nb.part == "test")[:, None] * np.ones(small_nb.counts.shape, dtype=int)
    plain, other = fitted(small_nb)[0], fitted(changed(small_nb, test))[0]
    for name, value in plain.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_a_fit_that_stops_by_itself_keeps_its_best_epoch(small_nb):
    model, record = fitted(small_nb, max_epochs=400, patience=10)
    assert record.stop_reason == "converged"
    assert len(record.validation_loss) == record.best_epoch + 11
    cells = np.flatnonzero(small_nb.part == "validation")
    counts = small_nb.counts[cells].toarray()
    now = -predict_hidden(model, small_nb, cells, device="cpu").log_pmf(counts).mean()
    assert now == pytest.approx(min(record.validation_loss), rel=1e-5)


def untrained(matrix, train):
    moments = gene_moments(counts=matrix.counts[train], size_factor=matrix.size_factor[train])
    return CountAutoencoder(likelihoods.get("nb")(), moments, **SETTINGS["network"])


@pytest.mark.parametrize(("after", "halvings"), [(0, 0), (2, 3), (3, 2), (7, 1)])
def test_the_step_size_halves_where_there_is_no_progress(small_nb, after, halvings):
    train = np.flatnonzero(small_nb.part == "train")
    model = untrained(small_nb, train)
    settings = TRAINING | {"halve_after": after}
    trainer = Trainer(model, protocols.get("masked")(small_nb), settings)
    generator = torch.Generator().manual_seed(0)
    for better in [False, True, *7 * [False]]:  # the first idle epoch is forgotten
        for _ in range(4):  # beyond the warm-up, which must not put the step size back
            trainer.epoch(0, train, generator)
        trainer.epoch_ended(better)
    rates = [group["lr"] for group in trainer.optimiser.param_groups]
    step = settings["learning_rate"] / 2**halvings
    assert rates == pytest.approx([step, GENE_HEAD_SPEED * step])


@pytest.mark.parametrize(("implementation", "expected"), [("auto", 1), ("reference", 2)])
def test_torch_has_one_thread_beside_those_of_a_fused_step(small_nb, implementation, expected):
    seen = []

    class Watched(protocols.get("masked")):
        def training_task(self, cells, generator):
            seen.append(torch.get_num_threads())
            return super().training_task(cells, generator)

    torch.set_num_threads(2)
    train = np.flatnonzero(small_nb.part == "train")
    model = untrained(small_nb, train)
    trainer = Trainer(model, Watched(small_nb), TRAINING | {"implementation": implementation})
    trainer.epoch(0, train, torch.Generator().manual_seed(0))
    assert set(seen) == {expected}
    assert torch.get_num_threads() == 2


def test_a_model_survives_its_file_and_refuses_other_genes(small_nb, tmp_path):
    model, record = fitted(small_nb, "zinb")
    save(model, record, tmp_path / "model.safetensors")
    record.to_json(tmp_path / "fit.json")
    assert read_json(tmp_path / "fit.json")["title"].endswith("(ZINB)")
    back = load(tmp_path / "model.safetensors", small_nb)
    cells = np.arange(10)
    np.testing.assert_array_equal(
        predict_hidden(back, small_nb, cells, device="cpu").prob_zero,
        predict_hidden(model, small_nb, cells, device="cpu").prob_zero,
    )
    fewer = small_nb.subset(slice(None), np.arange(10))
    with pytest.raises(CountMatrixError, match="40 genes that are not those of .*10 genes"):
        load(tmp_path / "model.safetensors", fewer)


def test_a_step_that_is_too_large_is_told_with_epoch_gene_and_mend(small_nb):
    with pytest.raises(FitDivergedError, match=r"epoch \d+.*gene 'gene\d+'.*log_mean|mean.*Fix"):
        fitted(small_nb, "poisson", learning_rate=1e4)


def test_devices_are_chosen_in_one_place():
    assert choose_device("cpu").type == "cpu"
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="'cuda' is not available; here are: .*cpu"):
            choose_device("cuda")


@pytest.mark.gpu
def test_a_gpu_gives_the_losses_of_the_cpu(small_nb):
    here = fitted(small_nb)[1]
    there = fit(
        small_nb, "nb", seed=0, network=NETWORK | {"dropout": 0.0}, training=TRAINING,
        device="cuda",
    )[1]  # fmt: skip
    assert there.device == "cuda"
    assert there.validation_loss[0] == pytest.approx(here.validation_loss[0], rel=0.1)


def test_denoised_counts_are_at_size_factor_one(small_nb):
    """Twice the library size at the same proportions gives the same denoised profile."""
    model, _ = fitted(small_nb)
    adata = small_nb.adata.copy()
    adata.X = adata.X * 2
    adata.obs["library_size"] = adata.obs["library_size"] * 2
    latent, denoised, prediction = reconstruct(model, small_nb, device="cpu")
    twice = reconstruct(model, CountMatrix(adata, "twice"), device="cpu")
    np.testing.assert_allclose(twice[0], latent, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(twice[1], denoised, rtol=1e-3)
    np.testing.assert_allclose(twice[2].mean, 2 * prediction.mean, rtol=1e-3)
    assert latent.shape == (150, 4)


@pytest.mark.slow
def test_a_network_recovers_means_and_inverse_dispersions():
    """On simulated NB counts: closer to the true means than the gene mean, θ within a third."""
    matrix, _ = prepared("simulate:nb", cells=1000, genes=150)
    model, record = fit(
        matrix, "nb", seed=0, network=SETTINGS["network"], training=SETTINGS["training"],
        device="cpu",
    )  # fmt: skip
    assert record.stop_reason == "converged"
    test = np.flatnonzero(matrix.part == "test")
    true = matrix.adata.layers["true_mean"][test]
    null = matrix.size_factor[test, None] * matrix.gene_share * matrix.reference_size
    mean = predict_hidden(model, matrix, test, device="cpu").mean

    def error(m):
        return np.sqrt(np.square(np.log(m / true)).mean())

    assert error(mean) < 0.6 * error(null)
    log_theta = model.gene_heads["log_inverse_dispersion"].detach().numpy()
    expressed = true.mean(axis=0) > 1
    gap = log_theta - np.log(matrix.adata.var["true_inverse_dispersion"].to_numpy())
    assert abs(np.median(gap[expressed])) < 0.35


def test_dispersions_of_batches_are_told_apart():
    """Recovery: one batch of θ = 0.5 and one of θ = 20; and the file knows its batches."""
    matrix = prepared("simulate:poisson", cells=600, genes=20)[0]
    rng = np.random.default_rng(1)
    theta = np.where(np.arange(600) % 2, 20.0, 0.5)[:, None]
    mean = 4.0 * matrix.size_factor[:, None] * np.ones((1, 20))
    matrix.adata.X = csr_matrix(rng.poisson(rng.gamma(theta, mean / theta)).astype(np.int32))
    matrix.adata.obs["library_size"] = matrix.counts.sum(axis=1).A1.clip(1.0)
    matrix.adata.obs["run"] = np.where(np.arange(600) % 2, "second", "first")
    matrix.info["batch_key"] = "run"
    assert matrix.batches == ["first", "second"]
    np.testing.assert_array_equal(matrix.batch[:3], [0, 1, 0])
    model, record = fitted(matrix, "nb_batch", max_epochs=60)
    assert record.batches == ["first", "second"]
    low, high = model.gene_heads["log_inverse_dispersion"].detach().exp().median(dim=1).values
    assert 0.3 < low < 0.9
    assert high > 5
    theta = predict_hidden(model, matrix, np.arange(4), device="cpu").parameters
    assert (theta["inverse_dispersion"][0] < theta["inverse_dispersion"][1]).all()


def test_a_model_of_other_batches_is_refused(small_nb, tmp_path):
    model, record = fitted(small_nb, "nb_batch", max_epochs=1)
    save(model, record, tmp_path / "model.safetensors")
    load(tmp_path / "model.safetensors", small_nb)
    other = CountMatrix(small_nb.adata.copy(), "other.h5ad")
    other.adata.obs["run"] = np.where(np.arange(len(other.obs)) % 2, "a", "b")
    other.info["batch_key"] = "run"
    with pytest.raises(CountMatrixError, match="other.h5ad has the batches a, b"):
        load(tmp_path / "model.safetensors", other)


@pytest.mark.parametrize("likelihood", ["multinomial", "dirichlet_multinomial", "mahalanobis_mse"])
def test_losses_of_cells_are_saved_and_predict_without_a_leak(small_nb, tmp_path, likelihood):
    """Loadings and totals come back from the file; hidden counts do not reach their prediction."""
    model, record = fitted(small_nb, likelihood, max_epochs=2)
    save(model, record, tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors", small_nb)
    for name in model.likelihood.fixed_heads:
        assert torch.equal(again.gene_heads[name], model.gene_heads[name])
    cells = np.arange(5)
    changed = CountMatrix(small_nb.adata.copy(), "changed")
    dense = changed.counts.toarray()
    first = small_nb.fold_of(cells)[0] == 0
    dense[0, first] += 50
    changed.adata.X = csr_matrix(dense)
    changed.adata.obs["library_size"] = small_nb.library_size + np.where(
        np.arange(len(dense)) == 0, 50.0 * first.sum(), 0.0
    )
    changed.info["reference_size"] = small_nb.reference_size
    one, other = (predict_hidden(again, m, cells, device="cpu") for m in (small_nb, changed))
    np.testing.assert_allclose(one.mean[0, first], other.mean[0, first], rtol=1e-5)
    assert np.isfinite(one.log_pmf(small_nb.counts[cells].toarray())).all()


def test_a_loss_of_cells_is_asked_for_hidden_counts_only(small_nb):
    """Oracle: the multinomial of hidden counts with the network's weights, by its own method."""
    model, _ = fitted(small_nb, "multinomial", max_epochs=1)
    data = protocols.get("masked")(small_nb, "cpu")
    task = data.training_task(np.arange(6), torch.Generator().manual_seed(2))
    with torch.no_grad():
        losses, parameters = losses_of(model, task)
        raw, size = model.head_values(task.counts, task.size_factor, task.hidden)
    by_hand = model.likelihood.loss_of_cells(task.counts, task.hidden, raw, size)
    assert losses.shape == parameters["mean"].shape == task.entries.shape
    np.testing.assert_allclose(losses, by_hand[task.hidden > 0].detach(), rtol=1e-5, atol=1e-6)


def test_scales_are_fitted_on_all_cells_but_those_of_the_test(small_nb, monkeypatch):
    """As noise is: validation cells alone may not show how far outliers go."""
    family, asked = likelihoods.get("mse_counts"), []

    def calibrate(self, counts, parameters, unseen=None):
        asked.append((counts, parameters["location"].shape))
        return {}

    monkeypatch.setattr(family, "calibrate", calibrate)
    fit(small_nb, "mse_counts", seed=0, network=NETWORK, training=TRAINING)
    [(counts, shape)] = asked
    seen = small_nb.counts[np.flatnonzero(small_nb.part != "test")].toarray()
    np.testing.assert_array_equal(counts, seen)
    assert shape == seen.shape
