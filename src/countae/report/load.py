"""Reading the tidy results of one data set; nothing is computed here."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from countae.errors import ScoreError
from countae.files import read_table, with_keys
from countae.registry import shown
from countae.wording import ADVICE, short

if TYPE_CHECKING:
    import pandas as pd

    from countae.report.histograms import Histograms
    from countae.report.latent import Latents

NULL = "gene_mean"
ORACLE = "oracle"
# of genes the report draws these, by noise; tables need the data set's own values only
OF_GENES = {
    "native": ["poisson_deviance_explained", "zero_fraction_error", "expected_zero_fraction",
               "implied_variance"],
    "poisson": ["expected_zero_fraction"],
    "nb": ["expected_zero_fraction", "dispersion_standard_error"],
}  # fmt: skip
COLUMNS = ["noise", "metric", "level", "id", "value"]
VERDICT_KEYS = {"titles", "axes", "story", "overdispersion", "zero_inflation", "errors_by"}
TRIAGE_KEYS = (
    "source", "row", "settings", "raw", "modelled", "parts", "removed_cells", "removed_genes",
    "labels", "notes",
)  # fmt: skip
FIT_KEYS = (
    "seed", "network", "training", "train_loss", "validation_loss", "best_epoch", "stop_reason",
    "seconds", "peak_memory_mb", "versions",
)  # fmt: skip
ASKED = {
    "referee.json": ("families", "rows", "sentence"), "stress.json": ("tests",),
    "downstream.json": ("measures",),
}  # fmt: skip
NEEDED = {
    "triage.json": "countae prepare",
    "verdict.json": "countae verdict",
    "verdict_genes.parquet": "countae verdict",
    "fit.json": "countae fit",
    "scores.parquet": "countae score",
}


@dataclass(frozen=True)
class Dataset:
    """Everything the report says of one data set.

    ``scores`` is tidy: contestant (a loss or a baseline), seed, noise, metric, level, id, value.
    ``records`` holds the content of each fit.json by loss, those of the A/A arm included.
    ``referee``, ``stress`` and ``downstream`` are the contents of referee.json, stress.json and
    downstream.json, and ``histograms`` the counts of each gene, where these were made.
    ``most_dots`` is how many genes a scatter plot shows; more only hide each other. ``peers``
    names those of the baselines that are other programs' networks.
    """

    triage: dict[str, Any]
    verdict: dict[str, Any]
    genes: pd.DataFrame
    scores: pd.DataFrame
    records: dict[str, list[dict[str, Any]]]
    latents: Latents = field(repr=False)
    referee: dict[str, Any] | None = None
    stress: dict[str, Any] | None = None
    downstream: dict[str, Any] | None = None
    histograms: Histograms | None = field(default=None, repr=False)
    most_dots: int = 2_000
    peers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the data set."""
        return self.verdict["dataset"]

    @property
    def losses(self) -> list[str]:
        """Compared losses, in the configuration's order."""
        return list(self.verdict["titles"])

    @property
    def seeds(self) -> list[int]:
        """Seeds of the compared fits, without those of the A/A arm."""
        return self.verdict["seeds"]

    @cached_property
    def baselines(self) -> list[str]:
        """References that were scored, the null first."""
        found = self.scores["contestant"].unique().tolist()
        return [name for name in found if name not in self.losses]

    @cached_property
    def metrics(self) -> list[str]:
        """Metrics that were computed, by name."""
        return sorted(self.scores["metric"].unique())

    @cached_property
    def noises(self) -> list[str]:
        """Noise columns, the own one (``native``) first."""
        found = self.scores["noise"].unique().tolist()
        return ["native"] * ("native" in found) + [name for name in found if name != "native"]

    def crossed(self, noise: str) -> bool:
        """Whether every loss was scored with this noise, not only those with such a variant."""
        return set(self.losses) <= set(
            self.scores.loc[self.scores["noise"] == noise, "contestant"].unique()
        )

    def title(self, contestant: str) -> str:
        """Full name of a loss or a baseline."""
        known = {NULL: "Gene mean (the null)", ORACLE: "Oracle (the simulator's truth)"}
        return self.verdict["titles"].get(contestant) or known.get(contestant, short(contestant))

    def short(self, contestant: str) -> str:
        """Name of a loss or a baseline that fits into a table."""
        known = {NULL: "Gene mean", ORACLE: "Oracle"}
        return known.get(contestant) or short(contestant)

    def compared(self, loss: str) -> list[dict[str, Any]]:
        """Records of the compared fits of a loss."""
        return [record for record in self.records[loss] if record["seed"] in self.seeds]

    @cached_property
    def _summaries(self) -> dict[tuple[str, str, str], pd.Series]:
        summary = self.scores[(self.scores["level"] == "dataset") & (self.scores["id"] == "")]
        groups = summary.groupby(["contestant", "noise", "metric"], sort=False, observed=True)[
            "value"
        ]
        return {key: values.reset_index(drop=True) for key, values in groups}

    def summary(self, contestant: str, noise: str, metric: str) -> tuple[float, float | None]:
        """Mean over seeds of a metric's value for the data set, and its standard deviation.

        NaN when it was not computed; the deviation is None with a single seed, or where a
        seed's value is not finite.
        """
        values = self._summaries.get((contestant, noise, metric))
        if values is None:
            return float("nan"), None
        spread = len(values) > 1 and np.isfinite(values).all()
        return float(values.mean()), float(values.std()) if spread else None

    def points(self, noise: str, metric: str, *, level: str) -> pd.DataFrame:
        """Mean over seeds of a metric per contestant (rows) and id (columns)."""
        part = self.scores.query(
            "noise == @noise and metric == @metric and level == @level and id != ''"
        )
        means = part.groupby(["contestant", "id"], sort=False, observed=True)["value"].mean()
        table = means.unstack("id")
        return table.set_axis(table.columns.astype(object), axis=1)


def load(folder: Path) -> Dataset:
    """Results of the data set in ``folder``.

    Raises
    ------
    ScoreError
        When a file is missing or does not hold what it should; says which verb makes it.
    """
    from countae.report.histograms import read_histograms
    from countae.report.latent import read_latents

    if not folder.is_dir():
        raise ScoreError(
            f"{folder}: must be the folder of one data set's results, but there is no such "
            "folder. Fix: name the folders that the workflow wrote, such as results/pbmc68k."
        )
    triage = with_keys(_needed(folder / "triage.json"), "triage.json", *TRIAGE_KEYS)
    verdict = _verdict(_needed(folder / "verdict.json"))
    genes = read_table(_needed(folder / "verdict_genes.parquet"))
    losses, seeds, control = list(verdict["titles"]), verdict["seeds"], verdict["control"]
    records = {
        loss: [
            with_keys(_needed(folder / loss / f"seed{seed}" / "fit.json"), "fit.json", *FIT_KEYS)
            for seed in [*seeds, *(control["seeds"] if loss == control["likelihood"] else [])]
        ]
        for loss in losses
    }
    latents = read_latents(_exported(folder), losses)
    scores = _scores(folder, losses, seeds)
    referee, stress, downstream = (
        with_keys(folder / name, name, *keys) if (folder / name).is_file() else None
        for name, keys in ASKED.items()
    )
    return Dataset(
        triage, verdict, genes, scores, records, latents, referee, stress, downstream,
        read_histograms(folder, losses, seeds), peers=tuple(peers_in(folder)),
    )  # fmt: skip


def _exported(folder: Path) -> Path:
    """The file of `countae export`: that of the folder's name, or the only one there is."""
    named = folder / f"{folder.name}.h5ad"
    others = [path for path in folder.glob("*.h5ad") if path.name != "counts.h5ad"]
    return others[0] if not named.exists() and len(others) == 1 else named


def _verdict(path: Path) -> dict[str, Any]:
    verdict = with_keys(path, "verdict.json")
    lacking = sorted(VERDICT_KEYS - {*verdict})
    if lacking:
        raise ScoreError(
            f"{path}: must have the keys {', '.join(sorted(VERDICT_KEYS))}, but lacks "
            f"{', '.join(lacking)}. An older countae wrote it. Fix: make it again with `countae "
            "verdict`."
        )
    unknown = {verdict["recommended"]} - {*verdict["titles"], None}
    wrong = {axis["outcome"] for axis in verdict["axes"].values()} - ADVICE.keys()
    if unknown or wrong:
        raise ScoreError(
            f"{path}: names {shown(next(iter(unknown | wrong)))}, which is neither a compared "
            "loss nor an outcome. Was it edited? Fix: make it again with `countae verdict`."
        )
    return verdict


def _scores(folder: Path, losses: list[str], seeds: list[int]) -> pd.DataFrame:
    """Scores of all losses and baselines in one tidy table."""
    import pandas as pd

    others = sorted(path.parent.parent.name for path in folder.glob("*/seed0/scores.parquet"))
    baselines = [name for name in others if name not in losses and name != NULL]
    # a baseline has no fit; a loss left from an earlier run has one
    baselines = [n for n in baselines if not (folder / n / "seed0" / "fit.json").exists()]
    peers = peers_in(folder)
    baselines = [name for name in baselines if name not in peers]
    wanted = [(name, seed) for name in losses for seed in seeds]
    wanted += [(name, 0) for name in [NULL, *baselines]]
    of_peers = [(name, seed) for name in peers for seed in seeds]
    wanted += [at for at in of_peers if (folder / "{}/seed{}/scores.parquet".format(*at)).exists()]
    tables = []
    for name, seed in wanted:
        path = _needed(folder / name / f"seed{seed}" / "scores.parquet")
        table = read_table(path, filters=_shown())
        lacking = [column for column in COLUMNS if column not in table]
        if lacking:
            raise ScoreError(
                f"{path}: must have the columns {', '.join(COLUMNS)}, but lacks "
                f"{', '.join(lacking)}. Fix: make it again with `countae score`."
            )
        tables.append(table[COLUMNS].assign(contestant=name, seed=seed))
    scores = pd.concat(tables, ignore_index=True)
    few = ["noise", "metric", "level", "contestant", "id"]  # a fraction of the memory
    return scores.assign(**{name: scores[name].astype("category") for name in few})


def _shown() -> list[list[tuple[str, str, Any]]]:
    """What of the scores the report shows: of genes a small part."""
    of_genes = [
        [("level", "==", "gene"), ("noise", "==", noise), ("metric", "in", names)]
        for noise, names in OF_GENES.items()
    ]
    return [[("level", "==", "dataset")], *of_genes]


def peers_in(folder: Path) -> list[str]:
    """Other programs' networks with results in a folder."""
    return sorted({path.parent.parent.name for path in folder.glob("*/seed*/peer.json")})


def _needed(path: Path) -> Path:
    """The path, if the file is there."""
    if not path.is_file():
        raise ScoreError(
            f"{path}: the report needs this file, but it does not exist. Fix: make it with "
            f"`{NEEDED[path.name]}`, or run the workflow for this data set again."
        )
    return path
