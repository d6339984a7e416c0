"""One network under stress: trained again where training changes, scored, paired with clean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from countae import baselines, stress
from countae.counts import CountMatrix
from countae.errors import FitDivergedError, ScoreError, UnsuitableError
from countae.fit import fit
from countae.model import CountAutoencoder
from countae.predict import Prediction, latent_of, predict_hidden
from countae.registry import shown
from countae.results import NULL
from countae.score import noise_cells, noise_columns, test_cells
from countae.stress._depth_link import latent_depth, residual_depth

if TYPE_CHECKING:
    import pandas as pd

NOISE = "nb"  # refitted around the means of networks and of the null
FROM_RECORD = ("likelihood", "seed", "network", "training")


@dataclass(frozen=True)
class Scored:
    """Log scores of test cells, (cell, gene) each, in nats.

    ``own`` are those of the network's distribution, ``refitted`` of NB noise around its means,
    ``null`` of the gene mean with NB noise, ``oracle`` of the truth where that is known.
    ``links`` says how much of latent space and residuals is depth.
    """

    cell_id: np.ndarray
    gene_id: np.ndarray
    own: np.ndarray
    refitted: np.ndarray
    null: np.ndarray
    oracle: np.ndarray
    links: dict[str, float]


def scored(network: CountAutoencoder, matrix: CountMatrix, *, device: str = "auto") -> Scored:
    """Log score of every held-out entry under a network, the null and the truth."""
    test, fitted = test_cells(matrix), noise_cells(matrix)
    observed = matrix.target(test).toarray().astype(np.float64)
    native = predict_hidden(network, matrix, test, device=device)
    known = predict_hidden(network, matrix, fitted, device=device).mean
    null = baselines.get(NULL)()
    refitted = _refitted(matrix, native.mean, known, test, fitted)
    plain = _refitted(matrix, null.mean(matrix, test), null.mean(matrix, fitted), test, fitted)
    library = matrix.library_size[test]
    links = {
        "latent_depth": latent_depth(
            latent=latent_of(network, matrix, test, device=device), library_size=library
        ),
        "residual_depth": residual_depth(
            observed=observed, mean=native.mean, variance=native.variance, library_size=library
        ),
    }
    return Scored(
        matrix.cell_id[test], matrix.gene_id, -native.log_pmf(observed),
        -refitted.log_pmf(observed), -plain.log_pmf(observed), _oracle(matrix, test, observed),
        links,
    )  # fmt: skip


def endure(
    matrix: CountMatrix,
    network: CountAutoencoder,
    record: dict[str, Any],
    *,
    tests: dict[str, list[float]],
    settings: dict[str, Any],
    device: str = "auto",
) -> pd.DataFrame:
    """Scores of one network's loss and seed at every level of some stress tests.

    Where a test changes what is trained on, a network is trained with the settings of ``record``
    and the same seed; else ``network`` itself is scored.

    Parameters
    ----------
    matrix : CountMatrix
        From ``countae prepare``.
    network : CountAutoencoder
        Trained on ``matrix``.
    record : dict
        Content of its fit.json.
    tests : dict
        Levels by name of the test (:func:`countae.stress.wanted`).
    settings : dict
        The configuration's section ``stress``.
    device : str

    Returns
    -------
    DataFrame
        ``test``, ``level``, ``case``, ``group`` (name of the group that a case leaves out, or
        empty), ``cell``, and in nats per entry, averaged over genes: ``own``, ``refitted``,
        ``null``, ``oracle``, each also of the same entries of clean counts (``clean_…``);
        ``latent_depth`` and ``residual_depth`` of the case, also clean. ``attrs["left_out"]``
        lists what could not be made, each with ``test``, ``level``, ``group``, ``likelihood`` and
        ``seed`` (null where no network could have it) and ``reason``.

    Raises
    ------
    ConfigError
        Before anything is done, when a test needs a column that was not named.
    ScoreError
        When the record lacks what is needed to train again, or is of another loss.
    """
    import pandas as pd

    _check(record, network)
    for name in tests:
        stress.get(name).check(matrix)
    clean = scored(network, matrix, device=device)
    own = {name: record[name] for name in ("likelihood", "seed")}
    rows, left_out = [], []
    for name, level in ((name, level) for name, levels in tests.items() for level in levels):
        member = stress.get(name)
        for case, made in enumerate(_cases(member, matrix, level, settings, record)):
            at = {"test": name, "level": level, "group": _group(made)}
            if isinstance(made, UnsuitableError):
                reason = str(made).removeprefix(f"{matrix.source}: ")  # a place is no reason
                left_out.append(at | {"likelihood": None, "seed": None, "reason": reason})
                continue
            try:
                used = _trained(made, record, device) if member.retrains else network
            except FitDivergedError as error:
                left_out.append(at | own | {"reason": str(error)})
                continue
            found = _paired(scored(used, made, device=device), clean)
            rows.append(found.assign(case=case, **at))
    if not rows:
        rows = [_paired(clean, clean).iloc[:0].assign(case=0, test="", level=0.0, group="")]
    table = pd.concat(rows, ignore_index=True).assign(**own)
    table.attrs["left_out"] = left_out
    return table


def _group(made: CountMatrix | UnsuitableError) -> str:
    """Name of the group that a case leaves out; empty where it leaves out none."""
    if isinstance(made, UnsuitableError):
        return made.group
    return made.info.get("left_out_group", "")


def _cases(
    member: stress.Stress,
    matrix: CountMatrix,
    level: float,
    settings: dict[str, Any],
    record: dict[str, Any],
) -> stress.Cases:
    """What a test makes of the counts, with the reason in the place of what it cannot make."""
    try:
        made = member(matrix, level, settings=settings)
    except UnsuitableError as error:
        return [error]
    if not member.retrains:
        return made
    columns = record["network"].get("conditions", [])
    return [one if isinstance(one, UnsuitableError) else _told(one, columns) for one in made]


def _told(made: CountMatrix, columns: list[str]) -> CountMatrix | UnsuitableError:
    """The matrix, if its training cells have every category that a network must be told."""
    for column in columns:
        category = made.obs[column].to_numpy(str)
        never = np.setdiff1d(category, category[made.part == "train"])
        if never.size:
            return UnsuitableError(
                f"{made.source}: networks are told each cell's {column!r} (network.conditions), "
                f"and cannot be told what no training cell has, here {shown(never[0])}. Fix: "
                f"leave {column!r} out of network.conditions to see how losses do on what they "
                "have never seen, or leave the test out.",
                _group(made),
            )
    return made


def _trained(made: CountMatrix, record: dict[str, Any], device: str) -> CountAutoencoder:
    settings = {name: record[name] for name in FROM_RECORD[1:]}
    return fit(made, record["likelihood"], device=device, **settings)[0]


def _check(record: dict[str, Any], network: CountAutoencoder) -> None:
    """Raise ScoreError unless the record can be followed, and is the network's."""
    missing = [name for name in FROM_RECORD if name not in record]
    own = network.likelihood.name
    if missing or record["likelihood"] != own:
        raise ScoreError(
            f"The record must be the fit.json of the network, which was trained with {own!r}, but "
            + (f"has no {', '.join(missing)}" if missing else f"is of {record['likelihood']!r}")
            + ". Fix: name the fit.json beside the model.safetensors."
        )


def _refitted(
    matrix: CountMatrix,
    mean: np.ndarray,
    known: np.ndarray,
    test: np.ndarray,
    fitted: np.ndarray,
) -> Prediction:
    """NB noise around means of test cells, fitted on those of training and validation cells."""
    columns = noise_columns([NOISE], matrix, mean, known, test, fitted)
    return columns[NOISE](slice(None))


def _oracle(matrix: CountMatrix, test: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Log score of the truth; NaN where nobody knows it."""
    if not matrix.adata.uns.get("truth", {}).get("likelihood"):
        return np.full(observed.shape, np.nan)
    return -baselines.get("oracle")().prediction(matrix, test).log_pmf(observed)


def _paired(found: Scored, clean: Scored) -> pd.DataFrame:
    """A row per cell: mean over genes under stress, and of the same entries of clean counts."""
    import pandas as pd

    cells = pd.Index(clean.cell_id).get_indexer(found.cell_id)
    genes = pd.Index(clean.gene_id).get_indexer(found.gene_id)
    columns: dict[str, Any] = {"cell": found.cell_id}
    for name in ("own", "refitted", "null", "oracle"):
        columns[name] = getattr(found, name).mean(axis=1)
        same = getattr(clean, name)[np.ix_(cells, genes)]
        columns[f"clean_{name}"] = np.ascontiguousarray(same).mean(axis=1)
    columns |= found.links | {f"clean_{name}": value for name, value in clean.links.items()}
    return pd.DataFrame(columns)
