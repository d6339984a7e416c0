"""Peers: what they are shown, how they are read, and what is said where they are not installed."""

from __future__ import annotations

from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from countae import likelihoods, peers
from countae.baselines._base import Seen
from countae.errors import ConfigError
from countae.peers._base import scored_cells
from countae.peers._scvi import SCVI, visible_library

HAVE_SCVI = find_spec("scvi") is not None


class FakeModule:
    """Answers like SCVI's module and notes what it was shown."""

    def __init__(self) -> None:
        self.shown: list[np.ndarray] = []

    def inference(self, x, batch):
        self.shown.append(x.numpy())
        return {"qz": SimpleNamespace(loc=torch.log1p(x)[:, :3])}

    def generative(self, z, library, batch):
        share = torch.softmax(z @ torch.ones(3, 40), dim=1)
        mean = library.exp() * share
        theta = torch.arange(1.0, 41.0)
        return {
            "px": SimpleNamespace(
                mu=mean, theta=theta, zi_logits=mean - 1, rate=mean, loc=mean, scale=theta
            )
        }


def test_the_library_is_what_the_visible_counts_imply():
    seen = Seen(np.array([[3.0, 0.0, 6.0]]), np.ones((1, 1)), np.array([[False, True, False]]))
    assert visible_library(seen, np.array([0.2, 0.5, 0.3])).item() == pytest.approx(18.0)


@pytest.mark.parametrize("name", peers.names())
def test_every_peer_is_read_as_a_likelihood(name, small_nb):
    """Nothing hidden reaches it: a hidden entry is shown as the gene's share of the library."""
    member = peers.get(name)()
    member._module = FakeModule()
    cells = scored_cells(small_nb)
    found = member.predict(small_nb, cells)
    own = likelihoods.get(member.likelihood).parameters
    assert set(found.parameters) == set(own)
    assert all(value.shape == (len(cells), 40) for value in found.parameters.values())
    assert found.points.shape == (len(cells), 3)
    counts, fold = small_nb.rows(cells).toarray(), small_nb.fold_of(cells)
    share = small_nb.gene_share / small_nb.gene_share.sum()
    assert len(member._module.shown) == small_nb.n_folds + 1  # and once with nothing hidden
    for k, shown in enumerate(member._module.shown[:-1]):
        visible = np.where(fold == k, 0, counts)
        library = visible.sum(axis=1) / (1 - ((fold == k) * share).sum(axis=1))
        expected = np.where(fold == k, library[:, None] * share, counts)
        np.testing.assert_allclose(shown, expected, rtol=1e-5)


@pytest.mark.skipif(HAVE_SCVI, reason="scvi-tools is installed")
def test_a_peer_without_its_program_is_told(small_nb):
    with pytest.raises(ConfigError, match=r"needs scvi-tools.*Fix: `pip install"):
        peers.get("scvi_nb")().run(small_nb, seed=0)


@pytest.mark.skipif(not HAVE_SCVI, reason="needs the extra `peers`")
def test_a_peer_learns(small_nb, monkeypatch):
    """By its own code: better than the gene's mean with Poisson noise on data with three types."""
    small_nb.info.setdefault("checksum", "made here")
    found, record = peers.get("scvi_nb")().run(small_nb, seed=0)
    assert record["epochs"] == 400
    test = np.flatnonzero(small_nb.part == "test")
    counts = small_nb.target(test).toarray().astype(float)
    own = -found.prediction(small_nb, test).log_pmf(counts).mean()
    assert 0 < own < 2.5


def test_peers_share_one_way_of_being_asked():
    assert all(issubclass(peers.get(name), SCVI) for name in peers.names())
