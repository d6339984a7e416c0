from __future__ import annotations

import pytest

from countae import baselines, likelihoods, metrics, simulate
from countae.errors import ConfigError
from countae.registry import Registry, did_you_mean


@pytest.mark.parametrize("package", [baselines, likelihoods, metrics, simulate])
def test_every_file_registers_a_member_of_its_name(package):
    for name in package.names():
        assert package.get(name) is not None


def test_an_unknown_name_is_answered_with_the_nearest_one():
    with pytest.raises(ConfigError, match=r"no likelihood called 'zimb'. Did you mean 'zinb'\?"):
        likelihoods.get("zimb")


def test_a_member_must_live_in_a_file_of_its_name():
    with pytest.raises(TypeError, match="must live in a file of that name"):
        Registry("countae.likelihoods", "likelihood").register("other")(type("X", (), {}))


def test_a_long_list_of_known_names_is_cut():
    known = [f"gene{i:03}" for i in range(500)]
    assert did_you_mean("zzz", known).endswith("… (500 in all).")
