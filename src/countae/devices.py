"""Where networks run: device, precision and processes are chosen here and nowhere else."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from countae.errors import ConfigError, FitInterruptedError

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import ClusterEnvironment

PRECISIONS: dict[str, Any] = {
    "32": "32-true",
    "bf16-mixed": "bf16-mixed",
    "64": "64-true",
}  # ours, Fabric's
# what Torch's ways of exchange say when a partner is gone
BROKEN_OFF = re.compile(r"gloo|NCCL|Connection (closed|reset)|Broken pipe", re.I)
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"  # without it cuBLAS is not deterministic and Torch says so
_Given = TypeVar("_Given")


@dataclass(frozen=True)
class Place:
    """A device, the type of numbers there, and the processes that train together.

    ``fabric`` is None for the usual case, one process on a CPU in single precision, which needs
    nothing of it. Otherwise Fabric has started the processes, and wraps what is trained.
    """

    device: torch.device
    dtype: torch.dtype = torch.float32
    fabric: Fabric | None = None

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        return 0 if self.fabric is None else self.fabric.global_rank

    @property
    def processes(self) -> int:
        """Number of processes that train one network."""
        return 1 if self.fabric is None else self.fabric.world_size

    def wrapped(self, module: nn.Module) -> nn.Module:
        """A module on the device; its ``backward`` averages gradients over all processes."""
        return module if self.fabric is None else self.fabric.setup_module(module)

    def backward(self, loss: Tensor) -> None:
        """Gradients of a loss that a wrapped module gave."""
        if self.fabric is None:
            loss.backward()
        else:
            self.fabric.backward(loss)

    def total(self, values: Tensor) -> list[float]:
        """Sum of ``values``, (n,), over all processes: the same bits in each; waits for them."""
        if self.processes == 1:
            return values.tolist()
        gathered = [torch.empty_like(values) for _ in range(self.processes)]
        torch.distributed.all_gather(gathered, values)
        return torch.stack(gathered).cpu().sum(dim=0).tolist()

    def worst(self, value: Tensor) -> None:
        """Make ``value`` the largest of all processes', in place; no process reads it."""
        if self.processes > 1:
            torch.distributed.all_reduce(value, torch.distributed.ReduceOp.MAX)

    def of_first(self, value: _Given) -> _Given:
        """What the first process has."""
        if self.fabric is None or self.processes == 1:
            return value
        return self.fabric.broadcast(value)


def choose_device(name: str) -> torch.device:
    """The device called ``name``; ``auto`` is CUDA, else Apple's MPS, else the CPU.

    Raises
    ------
    ConfigError
        When it is not available here.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, there in available.items() if there)
    if not available.get(name, False):
        raise ConfigError(
            f"Device {name!r} is not available; here are: "
            f"{', '.join(kind for kind, there in available.items() if there)}. On a cluster this "
            "usually means that the job was given no GPU. Fix: set `device` to auto."
        )
    return torch.device(name)


def choose_place(
    device: str = "auto", *, precision: str = "32", devices: int = 1, nodes: int = 1
) -> Place:
    """Start the processes that train together, and say where this one does.

    Parameters
    ----------
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``mps``.
    precision : str
        Of training: ``32``, ``bf16-mixed`` or ``64``.
    devices : int
        Processes on each machine, one device each; they share the cells of every step.
    nodes : int
        Machines. Above 1, SLURM's ``srun`` or ``torchrun`` has started all processes.

    Raises
    ------
    ConfigError
        When there are not so many devices, or they do not know this precision, or processes on
        several machines were not started together.
    """
    chosen = choose_device(device)
    if chosen.type == "cpu" and precision == "32" and devices * nodes == 1:
        return Place(chosen)
    _check(chosen.type, precision, devices)
    from lightning_fabric import Fabric  # takes two seconds to import
    from lightning_fabric.strategies import DDPStrategy

    threads = torch.get_num_threads()
    fabric = Fabric(
        accelerator=chosen.type, devices=devices, num_nodes=nodes,
        strategy=DDPStrategy(forward_sync_buffers=False) if devices * nodes > 1 else "auto",
        precision=PRECISIONS[precision], plugins=[_environment(devices, nodes)],
    )  # fmt: skip
    fabric.launch()
    torch.set_num_threads(threads)  # Fabric changes it where it starts processes
    return Place(fabric.device, torch.float64 if precision == "64" else torch.float32, fabric)


def check_copies(devices: int, nodes: int) -> None:
    """Raise ConfigError where others run this command beside this process, each for itself.

    They would all train the same network and overwrite each other's files. Processes that share
    a network say so by ``devices`` and ``nodes``.
    """
    launcher, variable, number = _launcher()
    if devices * nodes > 1 or number < 2:
        return
    raise ConfigError(
        f"{launcher} started this command {number} times at once, but --devices and --nodes say "
        "that one process trains alone: all would train the same network and overwrite each "
        "other's files. Fix: start it once (`srun --ntasks=1 countae …`); or say how many "
        "devices on how many nodes share the cells of each step, such as `--devices "
        f"{number}`; or, if each is to make another file, unset {variable} before it."
    )


def _launcher() -> tuple[str, str, int]:
    """Who started this command, the variable that says how many times at once, and that number."""
    told = os.environ
    if "RANK" in told and told.get("WORLD_SIZE", "").isdigit():
        return "torchrun", "WORLD_SIZE", int(told["WORLD_SIZE"])
    # of the job step, not of the job: a batch script has the latter, but is one process
    number = int(told.get("SLURM_STEP_NUM_TASKS", "1"))
    if "SLURM_PTY_PORT" in told and told.get("SLURM_TASK_PID") != str(os.getpid()):
        number = 1  # typed into the shell of `srun --pty`, which the first task alone has
    return "srun", "SLURM_STEP_NUM_TASKS", number


def gpu_model(kind: str) -> str | None:
    """Name of the CUDA device in use, such as ``Tesla T4``; None for another kind of device."""
    return torch.cuda.get_device_name() if kind == "cuda" else None


def is_first() -> bool:
    """Whether this process is the one that speaks and writes files."""
    distributed = torch.distributed
    return not (distributed.is_available() and distributed.is_initialized()) or (
        distributed.get_rank() == 0
    )


def _check(kind: str, precision: str, devices: int) -> None:
    """Raise ConfigError when there is no such precision or number of devices of a kind."""
    if kind == "mps" and precision == "64":
        raise ConfigError(
            "training.precision is 64, but Apple's MPS has no double precision. Fix: set "
            "`device` to cpu, or training.precision to 32."
        )
    there = {"cuda": torch.cuda.device_count, "mps": lambda: 1}.get(kind, lambda: devices)()
    if devices > there:
        raise ConfigError(
            f"{devices} devices of kind {kind!r} are asked for, but this process sees {there}. On "
            "a cluster each process must see all GPUs of its machine that train together: ask "
            "for them with --gpus-per-node, not --gpus-per-task. Fix: lower --devices, or ask "
            "for more GPUs."
        )


def _environment(devices: int, nodes: int) -> ClusterEnvironment:
    """Who starts processes and tells each its number: SLURM, torchrun, or this process."""
    from lightning_fabric.plugins import environments

    if devices * nodes == 1:
        return environments.LightningEnvironment()
    by_torchrun = environments.TorchElasticEnvironment.detect()
    # of the job step, not of the job: a batch script has the latter, but is one process
    tasks = int(os.environ.get("WORLD_SIZE" if by_torchrun else "SLURM_STEP_NUM_TASKS", "1"))
    if by_torchrun and tasks == devices * nodes:
        return environments.TorchElasticEnvironment()
    if tasks == devices * nodes and "SLURM_NTASKS_PER_NODE" in os.environ:
        return environments.SLURMEnvironment()
    if nodes > 1 or tasks > 1:
        raise ConfigError(
            f"{devices} devices on each of {nodes} nodes need {devices * nodes} processes that "
            f"were started together, {devices} on each node, but this one was started as one of "
            f"{tasks}. Fix: run the same command as `srun --nodes={nodes} "
            f"--ntasks-per-node={devices} countae …`, or with `torchrun --nnodes={nodes} "
            f"--nproc-per-node={devices}`."
        )
    return environments.LightningEnvironment()


@contextmanager
def others_there(place: Place) -> Iterator[None]:
    """Tell plainly when a process that trains with this one has ended.

    Raises
    ------
    FitInterruptedError
        In place of the network library's error.
    """
    try:
        yield
    except RuntimeError as error:
        if place.processes == 1 or not BROKEN_OFF.search(str(error)):
            raise
        raise FitInterruptedError(
            f"Process {place.rank} of the {place.processes} that train together lost another "
            f"({str(error).strip().splitlines()[0][:200]}). Usually that one was killed, for its "
            "memory or by hand. Fix: see what it said last; the same command goes on from the "
            "last checkpoint."
        ) from error


@contextmanager
def repeatable(device: torch.device, algorithms: str) -> Iterator[None]:
    """Torch's deterministic algorithms on a GPU, where ``algorithms`` is ``deterministic``.

    On a CPU all that is used here is deterministic anyway, and nothing changes.
    """
    before = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    if device.type != "cpu" and algorithms == "deterministic":
        os.environ.setdefault(WORKSPACE, ":4096:8")
        # on MPS some operations have no such algorithm
        torch.use_deterministic_algorithms(True, warn_only=device.type == "mps")
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)


@contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Torch's own generators begin at ``seed``; afterwards they are as they were."""
    before = random_states(device)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        set_random_states(device, before)


def random_states(device: torch.device) -> dict[str, Tensor]:
    """States of Torch's own generators, by name."""
    states = {"random": torch.get_rng_state()}
    if device.type != "cpu":
        states[f"random_{device.type}"] = _module(device).get_rng_state(device)
    return states


def set_random_states(device: torch.device, states: dict[str, Tensor]) -> None:
    """Go on from what :func:`random_states` gave."""
    torch.set_rng_state(states["random"])
    if device.type != "cpu":
        _module(device).set_rng_state(states[f"random_{device.type}"], device)


def _module(device: torch.device) -> Any:
    """What Torch has for a kind of device: ``torch.cuda`` or ``torch.mps``."""
    return getattr(torch, device.type)


def rows_of(values: Tensor, rows: slice) -> Tensor:
    """Some rows of a tensor, which begins anew where they go beyond its end."""
    if rows.stop <= len(values):
        return values[rows]
    return values[torch.arange(rows.start, rows.stop, device=values.device) % len(values)]


def sent(values: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device, on its way there without waiting: a GPU reads pinned memory.

    Pinned memory is not used again by Torch before the copy is done.
    """
    if device.type == "cuda":
        values = values if values.is_pinned() else values.pin_memory()
    return values.to(device, non_blocking=device.type == "cuda")
