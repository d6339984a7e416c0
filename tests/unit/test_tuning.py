"""The search for settings: an equal list for all losses, and an honest choice within one loss."""

from __future__ import annotations

import dataclasses
import json

import pytest
from conftest import SETTINGS

from countae import config, likelihoods, tuning
from countae.errors import ConfigError, FitDivergedError, ScoreError
from countae.tuning import Settings, Trial

NETWORK, TRAINING = SETTINGS["network"], SETTINGS["training"]
OWN = Settings(NETWORK, TRAINING)


def listed(n, **changed):
    section = SETTINGS["tuning"] | {"trials": n} | changed
    return tuning.trials(section, network=NETWORK, training=TRAINING)


def point(settings):
    """What the search varies."""
    training = settings.training
    return *settings.network["hidden"], training["learning_rate"], training["weight_decay"]


def test_no_trial_unless_asked_for():
    assert SETTINGS["tuning"]["trials"] == 0
    assert listed(0) == []


@pytest.mark.parametrize("n", [1, 2, 6, 27])
def test_the_first_trial_is_the_configuration_and_none_is_double(n):
    found = listed(n)
    assert len(found) == n
    assert found[0] == OWN
    assert len({point(trial) for trial in found}) == n


def test_all_trials_together_are_the_grid():
    assert {point(trial) for trial in listed(27)} == {
        (width, step, decay)
        for width in (64, 128, 256)
        for step in (0.002, 0.004, 0.008)
        for decay in (0.0, 1e-4, 1e-2)
    }


def test_the_draw_depends_on_its_seed_alone_and_a_larger_budget_only_adds():
    assert listed(8) == listed(8)
    assert listed(27)[:8] == listed(8)
    assert listed(8, tuning_seed=1)[0] == OWN
    assert listed(8, tuning_seed=1) != listed(8)
    # not the grid's order, in which the first nine have the smallest step
    assert {trial.training["learning_rate"] for trial in listed(8)} == {0.002, 0.004, 0.008}


def test_a_trial_differs_from_the_configuration_in_what_is_searched_only():
    network = NETWORK | {"hidden": [32, 16]}
    section = SETTINGS["tuning"] | {"trials": 28}  # the widths are no point of the grid
    found = tuning.trials(section, network=network, training=TRAINING)
    assert [trial.network["hidden"] for trial in found].count([32, 16]) == 1
    for trial in found[1:]:
        first, second = trial.network["hidden"]
        assert first == second
        assert trial.network | {"hidden": [32, 16]} == network
        searched = {key: TRAINING[key] for key in ("learning_rate", "weight_decay")}
        assert trial.training | searched == TRAINING


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"trials": 28}, "tuning.trials is 28, but there are only 27 different settings"),
        ({"trials": 2, "widths": [128], "learning_rates": [0.004], "weight_decays": [0.0]},
         "only 1 different settings"),
        ({"trials": -1}, "tuning.trials: -1 is less than the minimum of 0"),
        ({"learning_rates": []}, "tuning.learning_rates: []"),
        ({"learning_rates": [0.0]}, "tuning.learning_rates.0: 0.0 is less than or equal to"),
        ({"widths": [64, 64]}, "tuning.widths: [64, 64] has non-unique elements"),
        ({"width": [64]}, "unknown key 'width' in tuning. Did you mean 'widths'?"),
    ],
)  # fmt: skip
def test_a_wrong_search_is_told(section, words):
    with pytest.raises(ConfigError) as error:
        config.validated({"tuning": section})
    assert words in str(error.value)


def outcomes(*losses, likelihood="nb", seed=0):
    """One trial per validation loss, None for one that diverged."""
    return [
        Trial(likelihood, seed, settings, loss, None if loss is None else 3,
              "diverged" if loss is None else "converged", 1.5,
              "epoch 1 diverged." if loss is None else "")
        for settings, loss in zip(listed(len(losses)), losses, strict=True)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("losses", "winner"),
    [
        ((0.9, 0.8, 0.85), 1),
        ((0.9, 0.8, 0.8), 1),  # of equal ones the first
        ((0.0, 0.1), 0),
        ((0.2, -1.5), 1),
        ((None, 0.9), 1),
        ((0.9, None), 0),
        ((float("nan"), 0.9, 0.8), 2),
        ((0.9, float("nan"), 1.0), 0),
        ((float("-inf"), 0.9), 1),
    ],
)
def test_the_lowest_validation_loss_wins(losses, winner):
    found = tuning.chosen(outcomes(*losses))
    best = listed(len(losses))[winner]
    assert found["chosen"] == {"network": best.network, "training": best.training}
    assert found["budget"] == len(losses) == len(found["trials"])
    assert found["trials"][winner]["validation_loss"] == losses[winner]
    assert (found["likelihood"], found["seed"]) == ("nb", 0)
    json.dumps(found, allow_nan=False)


def test_a_trial_that_diverged_is_kept_as_such():
    row = tuning.chosen(outcomes(0.9, None))["trials"][1]
    assert row == {
        "settings": dataclasses.asdict(listed(2)[1]), "validation_loss": None,
        "best_epoch": None, "stop_reason": "diverged", "seconds": 1.5,
        "message": "epoch 1 diverged.",
    }  # fmt: skip


def test_nothing_is_chosen_when_all_diverge():
    with pytest.raises(FitDivergedError, match=r"All 2 trials of nb diverged.*epoch 1.*Fix: add"):
        tuning.chosen(outcomes(None, None))


def test_trials_of_different_searches_are_not_compared():
    other = outcomes(0.1, 0.2, likelihood="poisson")[1]
    with pytest.raises(ConfigError, match=r"found nb seed 0, poisson seed 0.*different units"):
        tuning.chosen([*outcomes(0.9), other])
    with pytest.raises(ConfigError, match="found nb seed 0, nb seed 1"):
        tuning.chosen([*outcomes(0.9), outcomes(0.1, 0.2, seed=1)[1]])
    with pytest.raises(ConfigError, match="found no trial"):
        tuning.chosen([])
    with pytest.raises(ConfigError, match="two trials have the same settings"):
        tuning.chosen(outcomes(0.9) * 2)
    one, two = outcomes(0.9, 0.8)
    longer = Settings(two.settings.network, two.settings.training | {"patience": 99})
    with pytest.raises(ConfigError, match="no equal budget"):
        tuning.chosen([one, dataclasses.replace(two, settings=longer)])


def test_files_are_read_as_they_were_written_and_others_refused(tmp_path):
    trial = outcomes(0.9, None)[1]
    trial.to_json(tmp_path / "trial.json")
    assert tuning.read_trial(tmp_path / "trial.json") == trial
    found = tuning.chosen(outcomes(0.9, 0.8))
    path = tmp_path / "tuning.json"
    path.write_text(json.dumps(found))
    assert tuning.read_chosen(path, "nb") == (listed(2)[1], 2)
    with pytest.raises(ConfigError, match="chosen for 'nb', but the loss is 'poisson'"):
        tuning.read_chosen(path, "poisson")
    with pytest.raises(ScoreError, match="no trial that `countae tune-trial` wrote"):
        tuning.read_trial(path)
    with pytest.raises(ScoreError, match="no file that `countae tune` wrote"):
        tuning.read_chosen(tmp_path / "trial.json", "nb")


def test_no_loss_has_settings_of_its_own():
    """The list is a function of the configuration: it cannot know which loss is trained."""
    full = config.validated({"tuning": {"trials": 3}, "likelihoods": likelihoods.names()})
    sections = {name: full[name] for name in ("network", "training")}
    assert tuning.trials(full["tuning"], **sections) == listed(3)
