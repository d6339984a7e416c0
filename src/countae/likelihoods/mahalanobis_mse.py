"""Squared error on log1p counts in which correlated residuals count once."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from scipy.sparse.linalg import svds
from torch import Tensor

from countae.likelihoods import register
from countae.likelihoods._base import GeneMoments
from countae.likelihoods.mse_log1p import MseLog1p


@register("mahalanobis_mse")
class MahalanobisMse(MseLog1p):
    r"""Squared error of a cell's log1p counts, whitened by the covariance of residuals.

    .. math:: r^T Σ^{-1} r, \qquad Σ = D + U U^T

    with r the residuals :math:`\log(1 + x/s) - m` of the hidden entries and Σ the rows and columns
    that belong to them, solved by Woodbury's identity with a matrix of the size of U's columns.
    D > 0 (head ``log_unique``) and the columns of U (``loading_1`` …) are estimated before
    training and not learnt, so that the loss is a function of its parameters alone: residuals of
    training cells around gene means, their correlation's principal axes (probabilistic PCA),
    shrunk towards none by Ledoit and Wolf's share; each gene keeps its own variance.

    On log1p counts, since the covariance of raw counts is that of a few highly expressed genes and
    of outliers. The residuals around gene means still hold what a network is to explain: errors
    along the main axes of variation weigh least, which is the price of a Σ that is fixed.

    Scored gene by gene like ``mse_log1p``, with the marginal spread s of hidden validation
    residuals; what the loss claims of pairs of genes is not scored.
    References: Mahalanobis 1936; Tipping & Bishop 1999, doi:10.1111/1467-9868.00196, eq. 7;
    Ledoit & Wolf 2004, doi:10.1016/S0047-259X(03)00096-4.

    >>> from countae.likelihoods import MahalanobisMse
    >>> MahalanobisMse().distribution(location=1.0, scale=0.5, size_factor=1.0).mean
    tensor(1.7183)
    """

    name = "mahalanobis_mse"
    title = "Mahalanobis squared error on log1p counts"
    reference = "10.1111/1467-9868.00196"
    complexity = 2
    columns: ClassVar[tuple[str, ...]] = tuple(f"loading_{k}" for k in range(1, 9))
    heads = {
        "location": "entry", "log_scale": "gene", "log_unique": "gene",
        **dict.fromkeys(columns, "gene"),
    }  # fmt: skip
    fixed_heads = ("log_unique", *columns)
    by_cell = True

    def compiled_loss(self) -> None:
        """None: a compiled loss knows single counts, not cells."""

    def start(self, moments: GeneMoments) -> dict[str, Tensor]:
        """Without counts to look at: no correlation, and a variance of the size of the mean."""
        none = dict.fromkeys(self.columns, torch.zeros_like(moments.log1p_mean))
        return super().start(moments) | {"log_unique": moments.log1p_mean.log()} | none

    def best_start(
        self, counts: np.ndarray, size_factor: np.ndarray, moments: GeneMoments
    ) -> dict[str, Tensor]:
        residual = np.log1p(counts / size_factor) - moments.log1p_mean.numpy()
        unique, loadings = low_rank_covariance(residual, len(self.columns))
        columns = dict(zip(self.columns, map(torch.as_tensor, loadings.T), strict=True))
        found = {"log_unique": torch.as_tensor(np.log(unique))} | columns
        return self.start(moments) | found

    def loss_of_cells(
        self, counts: Tensor, wanted: Tensor, raw: dict[str, Tensor], size_factor: Tensor
    ) -> Tensor:
        residual = wanted * (self.transform(counts, size_factor) - raw["location"])
        loadings = torch.stack([raw[name].detach() for name in self.columns], dim=1)
        return whitened(residual, wanted, raw["log_unique"].detach().exp(), loadings)


def whitened(residual: Tensor, wanted: Tensor, unique: Tensor, loadings: Tensor) -> Tensor:
    """Parts of rᵀ(D + UUᵀ)⁻¹r, (cell, gene), that add up to it in each cell.

    Parameters
    ----------
    residual, wanted : Tensor, (cell, gene)
        ``wanted`` 1 where an entry takes part, 0 where its residual is 0.
    unique : Tensor, (gene,), > 0
        D.
    loadings : Tensor, (gene, factor)
        U.
    """
    factors = loadings.shape[1]
    scaled = loadings / unique[:, None]
    pairs = (loadings[:, :, None] * scaled[:, None, :]).reshape(len(unique), -1)
    inner = (wanted @ pairs).reshape(-1, factors, factors)
    inner = inner + torch.eye(factors, dtype=inner.dtype, device=inner.device)
    # never singular; `solve` would wait for a GPU to make sure
    along = torch.linalg.solve_ex(inner, (residual @ scaled)[..., None])[0][..., 0]
    return residual * (residual / unique - along @ scaled.T)


def low_rank_covariance(residual: np.ndarray, factors: int) -> tuple[np.ndarray, np.ndarray]:
    """D, (gene,), and U, (gene, factor), of residuals, (cell, gene), float64.

    A gene without any variance is given the genes' mean variance over the number of cells.
    Columns beyond what cells and genes allow are zero.
    """
    from sklearn.covariance import ledoit_wolf_shrinkage

    cells, genes = residual.shape
    square = np.square(residual)
    deviation = np.sqrt((square.sum(axis=0) + square.mean()) / (cells + 1))
    z = residual / deviation
    rank = min(factors, cells - 1, genes - 1)
    loadings = np.zeros((genes, factors))
    if rank > 0:
        shrink = ledoit_wolf_shrinkage(z, assume_centered=True)
        _, singular, axes = svds(z, k=rank, v0=np.ones(min(z.shape)))
        variance = singular**2 / cells
        rest = max((np.square(z).sum() / cells - variance.sum()) / (genes - rank), 0.0)
        strength = np.sqrt((1 - shrink) * np.maximum(variance - rest, 0.0))
        loadings[:, :rank] = axes.T * strength
    unique = 1 - np.square(loadings).sum(axis=1)
    return deviation**2 * unique, deviation[:, None] * loadings
