"""Damage small files of every format at random, and read each in a process of its own.

    python tests/fuzz_readers.py --rounds 300 --seed 1 [--formats h5ad,zarr] [--keep FOLDER]

A file that was damaged must be read or refused with a CountaeError. Anything else is counted and
ends the script with 1: a crash (the process dies), a hang (over the time limit), a traceback (any
other error). A round is (format, seed, number), so that one can be repeated; ``--keep`` saves the
files that failed.
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from count_files import FORMATS, example

SECONDS, PATIENCE = 20, 300  # of the processor, and by the clock
MEMORY = 8 << 30  # bytes of address space of a reading process
READ, REFUSED, TRACEBACK = 0, 2, 3  # exit codes


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """The bytes after one to eight random injuries."""
    content = bytearray(data)
    for _ in range(rng.integers(1, 9)):
        if not content:
            break
        start, stop = sorted(rng.integers(0, len(content) + 1, 2))
        stop = min(stop, start + int(rng.choice([1, 8, 64, 4096])))
        match rng.choice(["flip", "flip", "byte", "truncate", "splice", "duplicate", "zero"]):
            case "flip":
                content[min(start, len(content) - 1)] ^= 1 << rng.integers(8)
            case "byte":
                content[min(start, len(content) - 1)] = rng.choice([0, 1, 10, 34, 45, 127, 255])
            case "truncate" if rng.random() < 0.3:
                del content[start:]
            case "splice":
                other = rng.integers(0, len(content))
                content[start:stop] = content[other : other + stop - start]
            case "duplicate":
                content[start:start] = content[start:stop]
            case "zero":
                content[start:stop] = bytes(stop - start)
    return bytes(content)


def damage(path: Path, rng: np.random.Generator) -> None:
    """Injure a file, or one file of a folder, or remove one of a folder."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    victim = files[rng.integers(len(files))]
    if path.is_dir() and rng.random() < 0.05:
        victim.unlink()
    elif victim.suffix == ".gz" and rng.random() < 0.6:  # below the checksum of gzip
        victim.write_bytes(gzip.compress(damaged(gzip.decompress(victim.read_bytes()), rng)))
    else:
        victim.write_bytes(damaged(victim.read_bytes(), rng))


def read(path: Path, errors: Path) -> int:
    """Exit code of reading a file as ``countae check`` does."""
    from countae.counts import read_counts
    from countae.errors import CountaeError

    try:
        read_counts(str(path))
    except CountaeError as error:
        return REFUSED if "Traceback" not in str(error) and len(str(error)) < 5000 else TRACEBACK
    except BaseException:  # noqa: BLE001 (whatever it is, it is what we look for)
        errors.write_text(traceback.format_exc())
        return TRACEBACK
    return READ


def outcome(path: Path, errors: Path) -> str:
    """What became of reading a file in a process of its own."""
    child = os.fork()
    if child == 0:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        signal.alarm(PATIENCE)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1), os.dup2(null, 2)
        warnings.simplefilter("ignore")
        os._exit(read(path, errors))
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        late = {signal.SIGALRM, signal.SIGXCPU, signal.SIGKILL}
        return "hang" if os.WTERMSIG(status) in late else "crash"
    return {READ: "read", REFUSED: "refused"}.get(os.WEXITSTATUS(status), "traceback")


def fuzz(name: str, rounds: int, seed: int, keep: Path | None) -> Counter:
    """Number of each outcome for one format."""
    counted: Counter = Counter()
    with tempfile.TemporaryDirectory() as folder:
        good = Path(folder, "good")
        good.mkdir()
        whole = FORMATS[name](example(), good)
        for number in range(rounds):
            rng = np.random.default_rng([seed, number, *name.encode()])
            bad = Path(folder, "bad")
            shutil.copytree(good, bad)
            damage(bad / whole.name, rng)
            errors = Path(folder, "error.txt")
            found = outcome(bad / whole.name, errors)
            counted[found] += 1
            if found not in {"read", "refused"}:
                print(f"{name} seed {seed} round {number}: {found}", file=sys.stderr)
                if errors.exists():
                    print(errors.read_text(), file=sys.stderr)
                    errors.unlink()
                if keep is not None:
                    shutil.copytree(bad, keep / f"{name}_{seed}_{number}", dirs_exist_ok=True)
            shutil.rmtree(bad)
    return counted


def main() -> int:
    """Print a table; 1 when anything but reading and refusing happened."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--rounds", type=int, default=300)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--formats", default=",".join(FORMATS))
    words.add_argument("--keep", type=Path)
    given = words.parse_args()
    import anndata.io  # noqa: F401 (before the first fork, so that it is loaded once)
    import h5py  # noqa: F401
    import zarr  # noqa: F401

    import countae.counts.readers as readers

    for name in readers.names():
        readers.get(name)
    columns = ("read", "refused", "crash", "hang", "traceback")
    print("| format | rounds |", " | ".join(columns), "| seconds |")
    print("|---|" + "---|" * (len(columns) + 2))
    failed = 0
    for name in given.formats.split(","):
        start = time.monotonic()
        counted = fuzz(name, given.rounds, given.seed, given.keep)
        failed += sum(counted[bad] for bad in columns[2:])
        numbers = " | ".join(str(counted[column]) for column in columns)
        print(
            f"| {name} | {given.rounds} | {numbers} | {time.monotonic() - start:.0f} |", flush=True
        )
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
