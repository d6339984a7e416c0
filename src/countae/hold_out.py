"""Hiding half of the molecules of prepared counts, once and for all: what the protocols score."""

from __future__ import annotations

import numpy as np

from countae import protocols
from countae.counts import CountMatrix
from countae.errors import ConfigError
from countae.model import CountAutoencoder
from countae.noise import fit_noise
from countae.predict import predict_hidden
from countae.protocols._molecules import HiddenMolecules

STREAM = 0x5EED  # keeps these draws apart from those of cells and folds, which share the seed


def hide(
    matrix: CountMatrix,
    protocol: str,
    *,
    network: CountAutoencoder | None = None,
    device: str = "auto",
) -> CountMatrix:
    """The matrix with a fixed visible half of each count, for a protocol that hides molecules.

    Parameters
    ----------
    matrix : CountMatrix
        From ``countae prepare``.
    protocol : str
        ``thinning`` or ``nb_splitting``.
    network : CountAutoencoder, optional
        Trained on masked entries; NB splitting takes each gene's inverse dispersion around its
        means: training cells are split with that of the validation cells, all others with that of
        the training cells, so that no count moves its own split and no test count the training.
    device : str

    Returns
    -------
    CountMatrix
        With ``layers["visible"]``, ``obs["visible_library_size"]`` and, for NB splitting,
        ``var["countae_theta_train"]`` and ``var["countae_theta_validation"]``.

    Raises
    ------
    ConfigError
        For a protocol that hides no molecules, or one that lacks its network.
    """
    kind = protocols.get(protocol)
    if not issubclass(kind, HiddenMolecules):
        raise ConfigError(
            f"The protocol {protocol!r} hides whole entries: `countae prepare` has done that. "
            "Fix: name one that hides molecules, such as thinning."
        )
    if matrix.protocol != "masked":
        raise ConfigError(
            f"{matrix.source}: half of the molecules are hidden already ({matrix.protocol}). Fix: "
            "name the counts.h5ad of `countae prepare`."
        )
    made = CountMatrix(matrix.adata.copy(), matrix.source)
    made.info["protocol"] = protocol
    if protocol == "nb_splitting":
        _add_inverse_dispersions(made, matrix, network, device)
    made.adata.layers["visible"] = matrix.counts  # so that the protocol accepts it
    cells = np.arange(len(matrix.obs))
    rng = np.random.default_rng([STREAM, int(matrix.info["split_seed"])])
    visible = matrix.rows(cells)
    halves = kind(made)
    visible.data = halves.split(visible, cells, rng)
    unseen = rng.binomial(halves.unmodelled(cells), 0.5)
    visible.eliminate_zeros()
    made.adata.layers["visible"] = visible
    made.obs["visible_library_size"] = visible.sum(axis=1).A1 + unseen
    return made


def _add_inverse_dispersions(
    made: CountMatrix, matrix: CountMatrix, network: CountAutoencoder | None, device: str
) -> None:
    """Enter each gene's inverse dispersion in the training and in the validation cells."""
    if network is None:
        raise ConfigError(
            "The protocol 'nb_splitting' needs inverse dispersions, which come from a trained "
            "network. Fix: name its model.safetensors with --model."
        )
    hold_out = protocols.get("masked")(matrix)
    for name in ("train", "validation"):
        cells = np.flatnonzero(matrix.part == name)
        noise = fit_noise(
            "nb",
            counts=matrix.rows(cells).toarray().astype(np.float64),
            mean=predict_hidden(network, matrix, cells, device=device).mean,
            size_factor=hold_out.size_factor(cells),
        )
        theta = np.exp(noise.raw["log_inverse_dispersion"].numpy())
        made.adata.var[f"countae_theta_{name}"] = theta
