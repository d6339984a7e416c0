"""The search for settings: the same trials for every loss, each judged by its own validation loss.

Nothing here trains: ``countae tune-trial`` runs one trial and ``countae tune`` chooses. Files are
looked for in ``cli``, because what this imports decides when Snakemake chooses, and fits, anew.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from countae.errors import ConfigError, FitDivergedError, ScoreError
from countae.files import read_json, write_json

SEARCHED = {"network": {"hidden"}, "training": {"learning_rate", "weight_decay"}}


@dataclass(frozen=True)
class Settings:
    """The configuration's sections ``network`` and ``training`` of one trial."""

    network: dict[str, Any]
    training: dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """What one trial came to; ``validation_loss`` is None where it diverged.

    ``validation_loss`` is that of the epoch whose weights are kept, in the loss's own unit, so it
    can be compared within one loss only. ``message`` tells how training diverged.
    """

    likelihood: str
    seed: int
    settings: Settings
    validation_loss: float | None
    best_epoch: int | None
    stop_reason: str
    seconds: float
    message: str = ""

    def to_json(self, path: str | Path) -> None:
        """Write the trial."""
        write_json(path, asdict(self))


def trials(
    tuning: dict[str, Any], *, network: dict[str, Any], training: dict[str, Any]
) -> list[Settings]:
    """Settings to try, the same for every loss; none when the search is off.

    The first is the configuration itself. The others are points of the grid of step size, width
    and weight decay in a random order, none twice. A larger ``trials`` only adds to the list.

    Parameters
    ----------
    tuning, network, training : dict
        Sections of a complete configuration.

    Raises
    ------
    ConfigError
        When more trials are asked for than there are different settings.
    """
    if tuning["trials"] == 0:
        return []
    depth = len(network["hidden"])
    grid = itertools.product(tuning["learning_rates"], tuning["widths"], tuning["weight_decays"])
    own = Settings(network, training)
    others = [
        found
        for step, width, decay in grid
        if (
            found := Settings(
                network | {"hidden": [width] * depth},
                training | {"learning_rate": step, "weight_decay": decay},
            )
        )
        != own
    ]
    if tuning["trials"] > len(others) + 1:
        raise ConfigError(
            f"tuning.trials is {tuning['trials']}, but there are only {len(others) + 1} different "
            "settings: the configuration's own and the other points of the grid of "
            "learning_rates, widths and weight_decays. Fix: lower it, or add values to the grid."
        )
    order = np.random.default_rng(tuning["tuning_seed"]).permutation(len(others))
    return [own, *(others[k] for k in order[: tuning["trials"] - 1])]


def chosen(found: list[Trial]) -> dict[str, Any]:
    """The search of one loss as it stands in tuning.json.

    Returns
    -------
    dict
        ``likelihood``, ``seed``, ``budget`` (number of trials), ``trials`` in the given order,
        and ``chosen``, the settings of the trial with the lowest validation loss; of equal ones
        the first.

    Raises
    ------
    ConfigError
        When the trials are not those of one search.
    FitDivergedError
        When every trial diverged.
    """
    _check_one_search(found)
    losses = [_loss(trial) for trial in found]
    if all(loss is None for loss in losses):
        raise FitDivergedError(
            f"All {len(found)} trials of {found[0].likelihood} diverged. The first: "
            f"{found[0].message or 'its validation loss is not a number.'} Fix: add smaller "
            "steps to tuning.learning_rates."
        )
    best = found[int(np.argmin([np.inf if loss is None else loss for loss in losses]))]
    rows = [
        {
            "settings": asdict(trial.settings),
            "validation_loss": loss,
            "best_epoch": trial.best_epoch,
            "stop_reason": trial.stop_reason,
            "seconds": trial.seconds,
            "message": trial.message,
        }
        for trial, loss in zip(found, losses, strict=True)
    ]
    return {
        "likelihood": best.likelihood,
        "seed": best.seed,
        "budget": len(found),
        "trials": rows,
        "chosen": asdict(best.settings),
    }


def read_trial(path: str | Path) -> Trial:
    """The trial that ``countae tune-trial`` wrote.

    Raises
    ------
    ScoreError
        When the file holds something else.
    """
    content = read_json(path)
    try:
        return Trial(**content | {"settings": Settings(**content["settings"])})
    except (KeyError, TypeError) as error:
        raise ScoreError(
            f"{path}: is no trial that `countae tune-trial` wrote ({error}). Fix: make it again."
        ) from error


def read_chosen(path: str | Path, likelihood: str) -> tuple[Settings, int]:
    """Settings that the search chose for a loss, and the number of trials behind them.

    Raises
    ------
    ConfigError
        When the search was another loss's.
    ScoreError
        When it is no file of ``countae tune``.
    """
    content = read_json(path)
    try:
        settings, budget = Settings(**content["chosen"]), int(content["budget"])
        searched = content["likelihood"]
    except (KeyError, TypeError) as error:
        raise ScoreError(
            f"{path}: is no file that `countae tune` wrote ({error}). Fix: make it again."
        ) from error
    if searched != likelihood:
        raise ConfigError(
            f"{path}: holds the settings chosen for {searched!r}, but the loss is "
            f"{likelihood!r}. Fix: name the tuning.json of {likelihood}."
        )
    return settings, budget


def chosen_of(tuned: list[Path], likelihoods: list[str]) -> dict[str, Settings]:
    """Settings per loss from files of ``countae tune``, in the order of the losses; none if none.

    Raises
    ------
    ConfigError
        When a loss has no file.
    """
    if not tuned:
        return {}
    if len(tuned) != len(likelihoods):
        raise ConfigError(
            f"{len(tuned)} files of `countae tune` were named for {len(likelihoods)} losses. Fix: "
            "name one for each loss, in the same order."
        )
    pairs = zip(likelihoods, tuned, strict=True)
    return {name: read_chosen(path, name)[0] for name, path in pairs}


def _loss(trial: Trial) -> float | None:
    """Validation loss; None when the trial has none that can be compared."""
    loss = trial.validation_loss
    return loss if loss is not None and np.isfinite(loss) else None


def _check_one_search(found: list[Trial]) -> None:
    """Raise ConfigError unless the trials have one loss, seed and budget, and none is double."""
    arms = {(trial.likelihood, trial.seed) for trial in found}
    if len(arms) != 1:
        shown = ", ".join(f"{name} seed {seed}" for name, seed in sorted(arms)) or "no trial"
        raise ConfigError(
            f"A search needs trials of one loss and one seed, found {shown}: validation losses "
            "of different losses have different units. Fix: name the trials of one loss."
        )
    searched = Counter(repr(_parts(trial.settings, searched=True)) for trial in found)
    double = next((settings for settings, times in searched.items() if times > 1), None)
    if double is not None:
        raise ConfigError(
            f"{found[0].likelihood}: two trials have the same settings, {double}. Fix: name each "
            "trial once."
        )
    if len({repr(_parts(trial.settings, searched=False)) for trial in found}) > 1:
        raise ConfigError(
            f"{found[0].likelihood}: the trials differ in more than step size, width and weight "
            "decay, so they had no equal budget. Fix: run all of them with one configuration."
        )


def _parts(settings: Settings, *, searched: bool) -> dict[str, Any]:
    """The settings that a search varies, or all others, by key in a fixed order."""
    return {
        key: value
        for name, values in sorted(asdict(settings).items())
        for key, value in sorted(values.items())
        if (key in SEARCHED[name]) == searched
    }
