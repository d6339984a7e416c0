"""What is hidden is hidden, halves are what they claim to be, and seeds give one result."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import SETTINGS, prepared
from scipy import stats

from countae import protocols
from countae.counts import CountMatrix
from countae.errors import ConfigError, CountMatrixError
from countae.fit import fit
from countae.hold_out import hide
from countae.predict import predict_hidden
from countae.score import score_baseline

NAMES = protocols.names()
MOLECULES = ["nb_splitting", "thinning"]
NETWORK = {"hidden": [16], "latent": 4, "dropout": 0.0}
TRAINING = SETTINGS["training"] | {"max_epochs": 15, "batch_size": 64}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def matrix():
    return prepared("simulate:nb", cells=600, genes=40)[0]


@pytest.fixture(scope="module")
def network(matrix):
    return fit(matrix, "nb", seed=0, network=NETWORK, training=TRAINING)[0]


@pytest.fixture(scope="module")
def made(matrix, network):
    """The matrix under every protocol."""
    hidden = {name: hide(matrix, name, network=network) for name in MOLECULES}
    return {"masked": matrix} | hidden


def hold_out(made, name):
    return protocols.get(name)(made[name])


@pytest.mark.parametrize("name", NAMES)
def test_scored_tasks_cover_every_count_once(made, name):
    cells = np.arange(30, 90)
    times = torch.zeros(60, 40)
    for task in hold_out(made, name).held_out_tasks(cells):
        entries = torch.arange(2_400) if task.entries is None else task.entries
        times.view(-1)[entries] += 1
        expected = made[name].target(cells).toarray()
        np.testing.assert_array_equal(task.target.numpy(), expected)
    assert (times == 1).all()


@pytest.mark.parametrize("name", NAMES)
def test_exposures_of_tensors_and_arrays_agree(made, name):
    """The networks' size factors and those of baselines and noise are one number."""
    cells, protocol = np.arange(25), hold_out(made, name)
    found = np.zeros((25, 40))
    for task in protocol.held_out_tasks(cells):
        entries = np.arange(1_000) if task.entries is None else task.entries.numpy()
        found.reshape(-1)[entries] = task.size_factor.expand(25, 40).numpy().reshape(-1)[entries]
    expected = np.broadcast_to(protocol.size_factor(cells), (25, 40))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("name", MOLECULES)
def test_halves_add_up_and_have_the_same_mean(made, matrix, name):
    """Oracle: per gene, Σ visible − Σ hidden over its standard error is standard normal."""
    visible = made[name].adata.layers["visible"].toarray().astype(float)
    total = matrix.counts.toarray()
    hidden = made[name].target(np.arange(600)).toarray()
    assert visible.min() >= 0
    assert hidden.min() >= 0
    np.testing.assert_array_equal(visible + hidden, total)
    gap = visible - hidden
    z = gap.sum(axis=0) / np.sqrt((gap**2).sum(axis=0))
    assert stats.kstest(z, "norm").pvalue > 1e-3
    size = made[name].obs["visible_library_size"].to_numpy()
    assert abs(size.sum() / matrix.library_size.sum() - 0.5) < 0.03


def split_by(name, counts, theta, seed):
    """Visible part of one long gene's counts by the protocol's own splitting."""
    kind = protocols.get(name)
    made = kind.__new__(kind)
    made._theta = {"train": np.array([theta]), "validation": np.array([theta])}
    made._trained_on = np.zeros(len(counts), dtype=bool)
    from scipy.sparse import csr_matrix

    stored = csr_matrix(counts[:, None])
    part = made.split(stored, np.arange(len(counts)), np.random.default_rng(seed))
    visible = np.zeros(len(counts))
    visible[counts > 0] = part
    return visible


def test_nb_splitting_makes_independent_halves_and_thinning_does_not():
    """Oracles: NB(μ/2, θ/2) halves without correlation for the right θ; after thinning the
    correlation is μp/(θ+μp), 0.65 for μ 3, θ 0.8 and p ½; and a θ that is wrong by a factor of
    two leaves a small one, of the sign of the error.
    """
    rng, mu, theta, n = np.random.default_rng(1), 3.0, 0.8, 200_000
    counts = rng.poisson(rng.gamma(theta, mu / theta, n))

    def correlation(name, assumed=theta):
        visible = split_by(name, counts, assumed, 2)
        return np.corrcoef(visible, counts - visible)[0, 1]

    assert abs(correlation("nb_splitting")) < 5 / np.sqrt(n)
    assert correlation("thinning") == pytest.approx(0.5 * mu / (theta + 0.5 * mu), abs=0.01)
    assert 0.02 < correlation("nb_splitting", 2 * theta) < 0.25
    assert -0.25 < correlation("nb_splitting", theta / 2) < -0.02
    visible = split_by("nb_splitting", counts, theta, 3)
    assert visible.var() == pytest.approx(mu / 2 + (mu / 2) ** 2 / (theta / 2), rel=0.03)


@pytest.mark.parametrize("mu", [0.4, 30.0, 5e4])
def test_thinned_poisson_counts_are_two_independent_poisson_counts(mu):
    """Oracle: thinning of a Poisson process, and the binomial for equal counts, up to the largest
    count; four standard errors of each moment.
    """
    n = 100_000
    counts = np.random.default_rng(4).poisson(mu, n)
    visible = split_by("thinning", counts, np.inf, 5)
    for half in (visible, counts - visible):
        variance = mu / 2
        assert abs(half.mean() - mu / 2) < 4 * np.sqrt(variance / n)
        assert abs(half.var() - variance) < 4 * np.sqrt((variance + 2 * variance**2) / n)
    assert abs(np.corrcoef(visible, counts - visible)[0, 1]) < 4 / np.sqrt(n)
    law = stats.binom(2**31 - 1 if mu > 1e4 else int(mu) + 1, 0.5)
    visible = split_by("thinning", np.full(n, law.args[0]), np.inf, 6)
    assert abs(visible.mean() - law.mean()) < 4 * law.std() / np.sqrt(n)
    assert abs(visible.var() / law.var() - 1) < 4 * np.sqrt(2 / n)


@pytest.mark.parametrize("name", MOLECULES)
def test_hidden_molecules_do_not_reach_their_prediction(made, name):
    """More hidden molecules leave all predictions as they were, to the bit."""
    model, _ = fit(made[name], "nb", seed=0, network=NETWORK, training=TRAINING)
    cells = np.flatnonzero(made[name].part == "test")
    before = predict_hidden(model, made[name], cells).mean
    adata = made[name].adata.copy()
    adata.X = adata.X + 3 * (adata.X > 0).astype(int)
    adata.obs["library_size"] += 1_000
    after = predict_hidden(model, CountMatrix(adata, "changed"), cells).mean
    np.testing.assert_array_equal(after, before)


def test_training_hides_one_entry_in_five_independently(made):
    """Oracle: binomial shares, of all entries, per gene, per cell, and of neighbouring pairs."""
    protocol, cells = hold_out(made, "masked"), np.arange(600)
    generator, n = torch.Generator().manual_seed(5), 40 * 600
    mask = protocol.training_task(cells, generator).mask
    assert mask.shape == (40, 600)
    for share, p, number in (
        (mask.mean(), 0.2, n),
        ((mask[:, 1:] & mask[:, :-1]).mean(), 0.04, n),
        ((mask[1:] & mask[:-1]).mean(), 0.04, n),
        ((mask & protocol.training_task(cells, generator).mask).mean(), 0.04, n),
    ):
        assert abs(share - p) < 5 * np.sqrt(p * (1 - p) / number)
    for axis, number in ((1, 600), (0, 40)):
        z = (mask.mean(axis=axis) - 0.2) / np.sqrt(0.16 / number)
        assert abs(z).max() < 5
        assert abs(z.std() - 1) < 5 / np.sqrt(2 * len(z))


@pytest.mark.parametrize("name", NAMES)
def test_training_tasks_follow_their_seed(made, name):
    cells = np.arange(64)
    tasks = [
        hold_out(made, name).training_task(cells, torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    ]
    seen = [t.counts if t.hidden is None else t.counts * (1 - t.hidden) for t in tasks]
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    assert (seen[0] >= 0).all()
    if tasks[0].hidden is None:
        total = made[name].counts[cells].toarray()
        np.testing.assert_array_equal((tasks[0].counts + tasks[0].target).numpy(), total)


def test_dispersions_are_cross_fitted(matrix, network):
    """Test counts move no θ; those of validation cells move the one that splits training cells."""
    before = hide(matrix, "nb_splitting", network=network).adata.var
    for part in ("test", "validation"):
        adata = matrix.adata.copy()
        changed = adata.X.toarray()
        changed[matrix.part == part] *= 3
        adata.X = type(adata.X)(changed)
        after = hide(CountMatrix(adata, "changed"), "nb_splitting", network=network).adata.var
        np.testing.assert_array_equal(before["countae_theta_train"], after["countae_theta_train"])
        moved = before["countae_theta_validation"] != after["countae_theta_validation"]
        assert moved.any() == (part == "validation")


@pytest.mark.parametrize("name", MOLECULES)
def test_the_null_is_calibrated_on_hidden_molecules(made, name):
    """Oracle by hand: the gene mean's expected total is the hidden total, to three times the
    standard deviation that its ratio has over 12 sets of data (0.0065 and 0.067, around 0.997)."""
    cells = np.flatnonzero(made[name].part == "test")
    from countae import baselines

    mean = baselines.get("gene_mean")().mean(made[name], cells)
    hidden = made[name].target(cells).sum()
    assert mean.sum() == pytest.approx(hidden, rel={"thinning": 0.02, "nb_splitting": 0.2}[name])
    scores = score_baseline("gene_mean", made[name], wanted=["log_score"])
    assert set(scores.table["protocol"]) == {name}


def test_wrong_use_is_told(matrix):
    with pytest.raises(ConfigError, match="hides whole entries"):
        hide(matrix, "masked")
    with pytest.raises(ConfigError, match="Fix: name its model.safetensors with --model"):
        hide(matrix, "nb_splitting")
    with pytest.raises(ConfigError, match="hidden already"):
        hide(hide(matrix, "thinning"), "thinning")
    with pytest.raises(CountMatrixError, match="no layer `visible`"):
        protocols.get("thinning")(matrix)
