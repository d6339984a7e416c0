"""Where networks run: what is refused, who starts processes, and that nothing is left changed."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from conftest import SETTINGS
from lightning_fabric.plugins import environments

from countae import devices as module
from countae import likelihoods, memory, protocols
from countae.devices import Place, choose_device, choose_place, repeatable, seeded
from countae.errors import ConfigError, FitInterruptedError
from countae.fit import fit
from countae.likelihoods._moments import gene_moments
from countae.model import CountAutoencoder
from countae.predict import latent_of, predict_hidden
from countae.stepping import StepLoss
from countae.training import Trainer

CPU = torch.device("cpu")
NETWORK = {"hidden": [16], "latent": 4, "dropout": 0.1}


def network(matrix, likelihood="nb"):
    moments = gene_moments(counts=matrix.counts, size_factor=matrix.size_factor)
    return CountAutoencoder(
        likelihoods.get(likelihood)(), moments, **(SETTINGS["network"] | NETWORK)
    )


def test_one_process_on_a_cpu_needs_no_fabric():
    assert choose_place("cpu") == Place(CPU)
    assert choose_device("cpu").type == "cpu"


def test_a_device_that_is_not_there_is_refused():
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="'cuda' is not available; here are: .*cpu"):
            choose_device("cuda")


def test_more_gpus_than_there_are_and_double_precision_on_mps_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="2 devices of kind 'cuda'.*sees 1.*--gpus-per-node"):
        choose_place("cuda", devices=2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(ConfigError, match="no double precision. Fix: set `device` to cpu"):
        choose_place("mps", precision="64")


SLURM = {
    "SLURM_JOB_ID": "71", "SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2",
}  # fmt: skip
TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "3", "WORLD_SIZE": "4", "GROUP_RANK": "1"}


@pytest.mark.parametrize(
    ("told", "devices", "nodes", "expected"),
    [
        ({}, 2, 1, environments.LightningEnvironment),
        (SLURM | {"SLURM_STEP_NUM_TASKS": "4"}, 2, 2, environments.SLURMEnvironment),
        (SLURM | {"SLURM_STEP_NUM_TASKS": "4"}, 4, 1, environments.SLURMEnvironment),
        # a job step of one task, as Snakemake's are, starts the processes of its machine itself
        (SLURM | {"SLURM_STEP_NUM_TASKS": "1"}, 4, 1, environments.LightningEnvironment),
        # a batch script without srun: SLURM_NTASKS is set, but nobody has started four
        (SLURM, 4, 1, environments.LightningEnvironment),
        (SLURM | {"SLURM_STEP_NUM_TASKS": "4"}, 1, 1, environments.LightningEnvironment),
        (TORCHRUN, 2, 2, environments.TorchElasticEnvironment),
    ],
)
def test_who_has_started_the_processes(monkeypatch, told, devices, nodes, expected):
    for name in ("SLURM_STEP_NUM_TASKS", *SLURM, *TORCHRUN):
        monkeypatch.delenv(name, raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    found = module._environment(devices, nodes)
    assert type(found) is expected
    if expected is environments.SLURMEnvironment:
        assert (found.world_size(), found.global_rank()) == (4, 3)


def test_processes_that_were_not_started_together_are_refused(monkeypatch):
    for name in ("SLURM_STEP_NUM_TASKS", *SLURM, *TORCHRUN):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="need 6 processes.*one of 1.*srun --nodes=3 --ntasks-"):
        module._environment(2, 3)
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="need 2 processes.*one of 4.*torchrun"):
        module._environment(2, 1)
    for name in TORCHRUN:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")  # four at once, but not so many on each node
    with pytest.raises(ConfigError, match="4 on each node.*one of 4.*--ntasks-per-node=4"):
        module._environment(4, 1)


IN_STEP = SLURM | {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_TASK_PID": "1"}
IN_SHELL = IN_STEP | {"SLURM_PTY_PORT": "42621"}


@pytest.mark.parametrize(
    ("told", "who"),
    [
        (IN_STEP, "srun started this command 4 times.*--devices 4.*unset SLURM_STEP_NUM_TASKS"),
        (IN_SHELL | {"SLURM_TASK_PID": str(os.getpid())}, "srun started"),  # srun in such a shell
        (TORCHRUN, "torchrun started this command 4 times at once.*unset WORLD_SIZE"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "started this command 2 times"),
        ({}, None),
        (SLURM, None),  # as SLURM 22.05 has it in a batch script of several tasks
        (IN_STEP | {"SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1"}, None),  # as Snakemake's are
        (IN_SHELL, None),  # typed into a shell that `srun --ntasks=4 --pty` gave
        ({"RANK": "0", "WORLD_SIZE": "1"}, None),
    ],
)
def test_copies_of_a_fit_are_refused_where_there_are_any(monkeypatch, told, who):
    for name in {"SLURM_STEP_NUM_TASKS", *IN_SHELL, *TORCHRUN}:
        monkeypatch.delenv(name, raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    module.check_copies(2, 2)
    if who is None:
        module.check_copies(1, 1)
        return
    with pytest.raises(ConfigError, match=who):
        module.check_copies(1, 1)


@pytest.mark.parametrize("verb", ["fit", "tune-trial"])
def test_copies_of_a_fit_end_with_2_and_leave_what_is_there(small_nb, tmp_path, monkeypatch, verb):
    small_nb.save(tmp_path / "counts.h5ad")
    output = tmp_path / ("model.safetensors" if verb == "fit" else "trial.json")
    output.write_text("of the other")
    for name, value in IN_STEP.items():
        monkeypatch.setenv(name, value)
    words = [verb, str(tmp_path / "counts.h5ad"), str(output), "--likelihood", "nb"]
    words += ["--record", str(tmp_path / "fit.json")] if verb == "fit" else []
    done = subprocess.run(
        [sys.executable, "-m", "countae", *words], capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert "srun started this command 4 times" in done.stderr
    assert "Traceback" not in done.stderr
    assert output.read_text() == "of the other"
    assert {path.name for path in tmp_path.iterdir()} == {"counts.h5ad", output.name}


def test_random_state_and_algorithms_are_left_as_they_were():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with seeded(CPU, 5):
        inside = torch.rand(2)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)
    with seeded(CPU, 5):
        torch.testing.assert_close(torch.rand(2), inside, rtol=0, atol=0)
    with repeatable(CPU, "deterministic"):
        assert not torch.are_deterministic_algorithms_enabled()
    with repeatable(torch.device("cuda"), "deterministic"):
        assert torch.are_deterministic_algorithms_enabled()
    with repeatable(torch.device("cuda"), "fastest"):
        assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("likelihood", likelihoods.names())
def test_the_estimate_of_memory_is_above_what_a_step_keeps(small_nb, likelihood):
    """Oracle: the bytes that autograd keeps for the way back, counted once per storage."""
    model, data = network(small_nb, likelihood), protocols.get("masked")(small_nb)
    cells, kept, held = 32, {}, []

    def pack(tensor):
        held.append(tensor)  # no storage is used twice
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    share, generator = data.share(cells, cells), torch.Generator().manual_seed(0)
    step = data.training_step(range_of(cells), generator, share)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        StepLoss(model, Place(CPU))(step)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    per_cell = (sum(kept.values()) - weights) / cells
    assert per_cell < memory.bytes_per_cell(model) < 20 * per_cell


def range_of(number):
    return torch.arange(number).numpy()


def lacking(*args, **kwargs):
    raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_too_little_memory_is_told_with_the_batch_size_that_fits(small_nb, monkeypatch):
    monkeypatch.setattr(Trainer, "epoch", lacking)
    training = SETTINGS["training"] | {"batch_size": 4096}
    model = network(small_nb)
    wanted = 700  # cells
    room = (memory.bytes_of_weights(model) + wanted * memory.bytes_per_cell(model)) / 0.9 + 9
    for free, words in (
        (room, "set training.batch_size to 700 or less"),
        (1e12, "set training.batch_size to 2048 or less"),  # what failed did not fit
        (1e3, "not even one cell fits beside the weights; prepare fewer genes"),
    ):
        monkeypatch.setattr(memory, "free_bytes", lambda device, free=free: int(free))
        with pytest.raises(ConfigError, match=words) as told:
            fit(small_nb, "nb", seed=0, network=NETWORK, training=training, device="cpu")
        assert "cpu has not enough memory (CUDA out of memory. Tried" in str(told.value)
        assert "4096 cells × 40 genes" in str(told.value)


def test_predictions_without_memory_are_told(small_nb, monkeypatch):
    model = network(small_nb).eval()
    monkeypatch.setattr(CountAutoencoder, "encoded", lacking)
    for function in (predict_hidden, latent_of):
        with pytest.raises(ConfigError, match="Predictions take 1,024 cells × 40 genes.*cpu"):
            function(model, small_nb, range_of(5), device="cpu")


GONE = "[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1234"


@pytest.mark.parametrize(
    ("said", "processes", "expected"),
    [(GONE, 2, FitInterruptedError), (GONE, 1, RuntimeError), ("shapes differ", 2, RuntimeError)],
)
def test_a_process_that_loses_another_says_so(said, processes, expected):
    place = Place(CPU, fabric=SimpleNamespace(global_rank=0, world_size=processes))
    with pytest.raises(expected) as caught, module.others_there(place):
        raise RuntimeError(said)
    assert type(caught.value) is expected
    assert ("goes on from the last checkpoint" in str(caught.value)) == (
        expected is not RuntimeError
    )
