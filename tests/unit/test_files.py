from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from countae.errors import StorageError
from countae.files import (
    lack_of_room,
    provenance,
    read_json,
    write_bytes,
    write_json,
    write_together,
    written_aside,
)


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), written_aside(path) as aside:
        aside.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["table.txt"]


def test_json_takes_numpy_and_refuses_what_is_not_finite(tmp_path):
    write_json(tmp_path / "a.json", {"x": np.float64(1.5), "y": np.arange(2)})
    assert read_json(tmp_path / "a.json") == {"x": 1.5, "y": [0, 1]}
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "b.json", {"x": float("nan")})
    assert not (tmp_path / "b.json").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("kind", [OSError, RuntimeError])
def test_a_full_disk_is_told_with_place_and_size(tmp_path, number, kind):
    """HDF5 says the system's error in its text alone."""
    path = tmp_path / "table.txt"
    path.write_text("old")

    def fail(aside):
        aside.write_bytes(bytes(2_500_000))
        words = f"file write failed: errno = {number}, error message = '...'"
        raise kind(number, "full") if kind is OSError else kind(words)

    with pytest.raises(StorageError, match="table.txt: could not be written") as info:
        write_together({tmp_path / "first.txt": lambda aside: aside.touch(), path: fail})
    for part in ("2.5 MB", "is as it was", f"Fix: make room in {tmp_path}"):
        assert part in str(info.value)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"table.txt": "old"}


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "no"), RuntimeError("errno = 13")])
def test_other_errors_are_not_taken_for_a_full_disk(tmp_path, error):
    assert lack_of_room(error) == ""
    with pytest.raises(type(error)), written_aside(tmp_path / "a"):
        raise error


def test_what_a_killed_writer_left_is_removed_and_a_living_ones_aside_is_not(tmp_path):
    code = (
        "import os, signal, sys; from countae.files import written_aside\n"
        "with written_aside(sys.argv[1]) as aside:\n"
        "    aside.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    path = tmp_path / "table.txt"
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -9
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".table.")
    with written_aside(path) as living:
        living.write_text("first")
        assert not left.exists()
        write_bytes(path, b"second")
        assert living.read_text() == "first"
    assert path.read_text() == "first"
    assert f"-{os.getpid()}-" in living.name


def test_a_checksum_is_that_of_the_bytes(tmp_path):
    """Oracle: hashlib on the whole content."""
    path = tmp_path / "f" / "a.bin"
    path.parent.mkdir()
    path.write_bytes(b"abc" * 1_000_000)
    expected = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    assert provenance(path) == {"checksum": expected, "bytes": 3_000_000}
    before = provenance(path.parent)
    path.rename(path.with_name("b.bin"))
    assert provenance(path.parent)["checksum"] != before["checksum"]
