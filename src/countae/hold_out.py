"""Hiding half of the molecules of prepared counts, once and for all: what the protocols score."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix, vstack

from countae import protocols, split
from countae.counts import CountMatrix
from countae.counts._checksum import seal_file
from countae.counts._store import RowWriter, count_type, stored_counts
from countae.errors import ConfigError
from countae.model import CountAutoencoder
from countae.noise import fit_noise
from countae.noise_heads import thinned
from countae.predict import predict_hidden
from countae.progress import tracked
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
    made, halves = _ready(matrix, protocol, network, device)
    blocks, library = zip(*visible_halves(halves), strict=True)
    made.adata.layers["visible"] = vstack(blocks, format="csr")
    made.obs["visible_library_size"] = np.concatenate(library)
    return made


def write_hidden(
    matrix: CountMatrix,
    protocol: str,
    path: str | Path,
    *,
    network: CountAutoencoder | None = None,
    device: str = "auto",
) -> None:
    """Write what :func:`hide` makes, some cells at a time; they are drawn twice for that."""
    made, halves = _ready(matrix, protocol, network, device)
    number = largest = 0
    library = []
    for block, of_block in visible_halves(halves):
        number, largest = number + block.nnz, max(largest, block.data.max(initial=0))
        library.append(of_block)
    made.obs["visible_library_size"] = np.concatenate(library)
    with stored_counts(made.adata, path) as file:
        writer = RowWriter(
            file["layers"], "visible", shape=matrix.counts.shape, stored=number,
            dtype=count_type(largest),
        )  # fmt: skip
        for block, _ in visible_halves(halves):
            writer.append(block)
        writer.close()
        seal_file(file)


def visible_halves(halves: HiddenMolecules) -> Iterator[tuple[csr_matrix, np.ndarray]]:
    """The fixed visible half of 256 cells at a time, int32, and their visible library sizes.

    A cell's half depends on its place in the matrix, its counts and the seed alone.
    """
    matrix = halves.matrix
    seed = int(matrix.info["split_seed"])
    starts = range(0, len(matrix.obs), split.FOLD_BLOCK)
    for number, start in enumerate(tracked(starts, "hiding molecules", len(starts), "blocks")):
        cells = np.arange(start, min(start + split.FOLD_BLOCK, len(matrix.obs)))
        rng = np.random.Generator(np.random.Philox(key=[seed + (STREAM << 32), number]))
        visible = matrix.rows(cells)
        visible.data = halves.split(visible, cells, rng)
        visible.eliminate_zeros()
        unseen = rng.binomial(halves.unmodelled(cells), 0.5)
        yield visible, visible.sum(axis=1, dtype=np.int64).A1 + unseen


def _ready(
    matrix: CountMatrix, protocol: str, network: CountAutoencoder | None, device: str
) -> tuple[CountMatrix, HiddenMolecules]:
    """The matrix with all that a split needs, and the protocol that splits."""
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
    made = matrix.with_own_tables()
    made.info["protocol"] = protocol
    if protocol == "nb_splitting":
        _add_inverse_dispersions(made, matrix, network, device)
    with_halves = made.with_own_tables()
    with_halves.adata.layers["visible"] = matrix.counts  # so that the protocol accepts it
    return made, kind(with_halves)


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
        cells = thinned(np.flatnonzero(matrix.part == name))
        noise = fit_noise(
            "nb",
            counts=matrix.rows(cells).toarray().astype(np.float64),
            mean=predict_hidden(network, matrix, cells, device=device).mean,
            size_factor=hold_out.size_factor(cells),
        )
        theta = np.exp(noise.raw["log_inverse_dispersion"].numpy())
        made.adata.var[f"countae_theta_{name}"] = theta
