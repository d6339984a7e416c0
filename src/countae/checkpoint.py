"""A fit's state between two epochs in one file, from which it goes on to the same result."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from countae.devices import gpu_model, is_first
from countae.errors import StorageError
from countae.files import discard, write_bytes
from countae.fingerprint import fingerprint
from countae.registry import shown
from countae.training import Trainer, members

SECONDS = 30.0  # of training that a kill may cost
LARGEST_SHARE = 0.005  # of the time of training that writing may take
Kept = tuple[dict[str, Tensor], dict[str, Any]]


class Checkpoint:
    """The file from which a fit goes on after a kill; see docs/decisions/0033.

    It lies beside the output under a name made from it, and is no output itself: Snakemake
    removes those of a job that failed. Weights are safetensors, the rest JSON in its header.

    Parameters
    ----------
    output : Path
        What the fit will write: ``model.safetensors`` has ``.model.checkpoint.safetensors``.
    seconds : float
        Least time between two writes, longer where writing takes long; 0 for every epoch.
    tell : callable
        Is given a sentence when a checkpoint is used, or is not.
    """

    def __init__(
        self,
        output: Path,
        *,
        seconds: float = SECONDS,
        tell: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.path = output.with_name(f".{output.stem}.checkpoint.safetensors")
        self.identity: dict[str, Any] = {}
        self._tell, self._wait, self._spent = tell, seconds, 0.0
        self._began = self._written = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Time that the fit has taken up to now, that of processes that were killed included."""
        return self._spent + time.perf_counter() - self._began

    def resume(
        self,
        trainer: Trainer,
        generator: torch.Generator,
        record: Any,
        best_state: dict[str, Tensor],
    ) -> bool:
        """Set everything as the first process's file has it; False where it has none of this fit.

        Parameters
        ----------
        trainer : Trainer
        generator : torch.Generator
            Of order and masks.
        record : FitRecord
            Its losses and best epoch are set.
        best_state : dict of Tensor
            Is given the weights of the best epoch.
        """
        found = self.read(_identity(record)) if is_first() else None
        kept, self._spent = trainer.place.of_first((found, self._spent))
        if kept is None:
            return False
        tensors, rest = kept
        trainer.restore(tensors, rest)
        generator.set_state(tensors["generator"])
        record.train_loss, record.validation_loss = tensors["losses"].tolist()
        record.best_epoch, record.seconds = rest["best_epoch"], self._spent
        best_state.update(members(tensors, "best/"))
        return True

    def offer(
        self,
        trainer: Trainer,
        generator: torch.Generator,
        record: Any,
        best_state: dict[str, Tensor],
    ) -> None:
        """Write all that the next epoch depends on, when it is time; the first process does."""
        if not is_first() or not self.due():
            return
        tensors, rest = trainer.state()
        tensors |= {f"best/{name}": value for name, value in best_state.items()}
        tensors["generator"] = generator.get_state()
        losses = [record.train_loss, record.validation_loss]
        tensors["losses"] = torch.tensor(losses, dtype=torch.float64)
        self.write(tensors, rest | {"best_epoch": record.best_epoch}, len(record.train_loss))

    def read(self, identity: dict[str, Any]) -> Kept | None:
        """Tensors and further state of the fit that has this identity; None to begin anew.

        ``identity`` holds everything on which the result depends, as JSON has it.
        """
        self.identity = json.loads(json.dumps(identity))
        if not self.path.exists():
            return None
        try:
            tensors, told = self._content()
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            self._tell(f"{self.path}: is damaged ({error}); training begins anew")
            return None
        if other := _differences(told["identity"], self.identity):
            self._tell(
                f"{self.path}: is of another fit ({'; '.join(other)}); training begins anew"
            )
            return None
        self._spent = told["seconds"]
        self._tell(f"{self.path}: training goes on after epoch {told['epochs']}")
        return tensors, told["state"]

    def due(self) -> bool:
        """Whether it is time to write."""
        return time.perf_counter() - self._written >= self._wait

    def write(self, tensors: dict[str, Tensor], state: dict[str, Any], epochs: int) -> None:
        """Keep the state after some epochs. Training goes on where there is no room for it."""
        began = time.perf_counter()
        kept = {name: value.detach().cpu() for name, value in tensors.items()}
        turned = {n: v.stride() for n, v in kept.items() if not v.is_contiguous()}
        kept = {name: value.contiguous() for name, value in kept.items()}
        told = json.dumps(
            {
                "identity": self.identity,
                "state": state,
                "strides": turned,
                "epochs": epochs,
                "seconds": self.seconds,
            }
        )
        signed = {"told": told, "digest": digest_of(told, kept)}
        try:
            write_bytes(self.path, safetensors.torch.save(kept, signed))
        except StorageError as error:
            self._tell(f"training goes on without a checkpoint: {error}")
        self._written = time.perf_counter()
        if self._wait:
            self._wait = max(self._wait, (self._written - began) / LARGEST_SHARE)

    def remove(self) -> None:
        """Remove the file, and halves of it that a kill has left: the fit is done."""
        discard(self.path)

    def _content(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and header of the file; ValueError where a bit is not as it was written."""
        with safe_open(self.path, framework="pt") as file:
            signed = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        if signed["digest"] != digest_of(signed["told"], tensors):
            raise ValueError("its checksum is wrong")
        told = json.loads(signed["told"])
        for name, stride in told["strides"].items():
            flat = tensors[name]
            tensors[name] = torch.empty_strided(flat.shape, stride, dtype=flat.dtype).copy_(flat)
        return tensors, told


def _identity(record: Any) -> dict[str, Any]:
    """Everything on which each bit of a fit depends; on CUDA also the model of the GPU."""
    known = (
        "likelihood", "seed", "network", "training", "counts", "device", "devices", "threads",
        "versions",
    )  # fmt: skip
    gpu = gpu_model(record.device)
    return {
        **{name: getattr(record, name) for name in known},
        **({} if gpu is None else {"gpu": gpu}),
        "code": fingerprint("fit"),
        "processor": torch.backends.cpu.get_cpu_capability(),
    }


def _differences(there: dict[str, Any], here: dict[str, Any], within: str = "") -> list[str]:
    """What differs between two identities, in words, down to single settings."""
    told: list[str] = []
    for key in there | here:
        then, now = there.get(key), here.get(key)
        if isinstance(then, dict) and isinstance(now, dict):
            told += _differences(then, now, f"{within}{key}.")
        elif then != now:
            was, now_is = (shown(v) if v is not None else "not given" for v in (then, now))
            told.append(f"{shown(within + key)} was {was}, is {now_is}")
    return told


def digest_of(told: str, tensors: dict[str, Tensor]) -> str:
    """BLAKE2b over a header and tensors, which finds a single wrong bit."""
    digest = blake2b(told.encode(), digest_size=16)
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()
