from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from countae.errors import StorageError, told
from countae.files import (
    discard,
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


def test_a_folder_takes_the_place_of_another(tmp_path):
    path = tmp_path / "store.zarr"
    for content in ("first", "second"):
        with written_aside(path) as aside:
            aside.mkdir()
            (aside / content).write_text(content)
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")] == [
        "store.zarr", "store.zarr/second",
    ]  # fmt: skip
    with pytest.raises(StorageError, match=r"after 1\.0 MB .*is as it was"):
        with written_aside(path) as aside:
            aside.mkdir()
            (aside / "third").write_bytes(bytes(10**6))
            raise OSError(errno.ENOSPC, "full")
    assert [p.name for p in tmp_path.rglob("*")] == ["store.zarr", "second"]


def test_a_folder_is_there_whenever_its_writer_is_killed(tmp_path):
    """Killed at the first, second and third renaming or removal: the old or the new one."""
    code = (
        "import os, signal, shutil, sys; from countae import files\n"
        "left = [int(sys.argv[2])]\n"
        "def counted(work):\n"
        "    def call(*given, **how):\n"
        "        left[0] -= 1\n"
        "        return work(*given, **how) if left[0] else os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return call\n"
        "files.os.replace = counted(os.replace); files.shutil.rmtree = counted(shutil.rmtree)\n"
        "with files.written_aside(sys.argv[1]) as aside:\n"
        "    aside.mkdir(); (aside / 'new').touch()"
    )
    for number, expected in ((1, "old"), (2, "old"), (3, "new")):
        path = tmp_path / f"{number}.zarr"
        path.mkdir()
        (path / "old").touch()
        done = subprocess.run([sys.executable, "-c", code, str(path), str(number)])
        assert done.returncode == -9
        with pytest.raises(KeyError), written_aside(path):
            raise KeyError
        assert [p.name for p in path.iterdir()] == [expected]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1.zarr", "2.zarr", "3.zarr"]


def test_a_folder_where_a_file_should_be_is_named_by_its_own_name(tmp_path):
    (tmp_path / "table.txt").mkdir()
    (tmp_path / "table.txt/precious").touch()
    with pytest.raises(OSError) as info:  # noqa: PT011 (IsADirectoryError, or another by system)
        write_bytes(tmp_path / "table.txt", b"x")
    assert told(info.value).startswith(f"{tmp_path / 'table.txt'}: a file is needed there")
    assert [p.name for p in tmp_path.rglob("*")] == ["table.txt", "precious"]


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
    path.write_text("whole")
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -9
    assert len([*tmp_path.iterdir()]) == 2
    discard(path)
    assert not [*tmp_path.iterdir()]
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
