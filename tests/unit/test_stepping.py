"""Steps that wait for nothing: the loss of plain steps, whatever the number of processes."""

from __future__ import annotations

import ast
import inspect
import json
import os
import subprocess
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import SETTINGS

from countae import fit as fit_module
from countae import likelihoods, protocols, stepping, stress
from countae.devices import Place, choose_place, rows_of
from countae.errors import ConfigError, FitDivergedError
from countae.fit import fit
from countae.kernels import count_pmf
from countae.layers import check_norm
from countae.likelihoods._moments import gene_moments
from countae.model import CountAutoencoder
from countae.protocols import _steps, masked
from countae.protocols._base import Rows
from countae.protocols._steps import Share, is_real
from countae.stepping import StepLoss, Stepper, unlearnt
from countae.training import Trainer, losses_of

CPU = torch.device("cpu")
NETWORK = {"hidden": [16], "latent": 4, "dropout": 0.3}
TRAINING = SETTINGS["training"] | {"max_epochs": 6, "batch_size": 32}
CELLS = np.arange(3, 24)
WAITING = {"poisson_lognormal"}  # its integral looks at its own progress


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def network(matrix, likelihood="nb", **changed):
    moments = gene_moments(counts=matrix.counts, size_factor=matrix.size_factor)
    settings = SETTINGS["network"] | NETWORK | changed
    torch.manual_seed(1)
    return CountAutoencoder(likelihoods.get(likelihood)(), moments, **settings)


def of(rank, processes):
    """A place as one of several processes sees it."""
    return Place(CPU, fabric=SimpleNamespace(global_rank=rank, world_size=processes))


def gradients(model):
    return {n: None if p.grad is None else p.grad.clone() for n, p in model.named_parameters()}


@pytest.mark.parametrize(
    ("likelihood", "changed"),
    [
        ("nb", {}), ("zinb", {}), ("mse_counts", {}), ("multinomial", {}),
        ("nb", {"bottleneck": "variational", "kl_warm_up": 0}), ("zinb", {"library": "predicted"}),
    ],
)  # fmt: skip
def test_processes_together_have_the_loss_and_gradient_of_one(small_nb, likelihood, changed):
    """Oracle: a plain step. Masks, dropout and draws are those of the step, not of a process."""
    model, data = network(small_nb, likelihood, **changed), protocols.get("masked")(small_nb)
    torch.manual_seed(7)
    model.train()
    task = data.training_task(CELLS, torch.Generator().manual_seed(5))
    losses, _ = losses_of(model, task)
    whole = losses.mean() + model.penalty(0, losses.numel())
    whole.backward()
    expected = gradients(model)
    for processes in (1, 2, 3):
        model.zero_grad()
        parts = []
        for rank in range(processes):
            torch.manual_seed(7)
            loss = StepLoss(model, of(rank, processes))
            share = Share.exact(len(CELLS), rank, processes)
            model.draws.rows, model.draws.cells = share.rows, share.cells
            step = data.training_step(CELLS, torch.Generator().manual_seed(5), share)
            parts.append(loss(step) / processes)
            parts[-1].backward()
        assert sum(parts).item() == pytest.approx(whole.item(), rel=1e-5)
        for name, value in gradients(model).items():
            if expected[name] is None:
                assert value is None or not value.any(), name
            else:
                torch.testing.assert_close(value, expected[name], rtol=2e-4, atol=1e-6)
    model.draws.rows = None


@pytest.mark.parametrize("protocol", ["masked", "thinning"])
def test_cells_that_fill_a_step_up_do_not_count(small_nb, protocol):
    """Oracle: the step without them."""
    from countae.hold_out import hide

    matrix = small_nb if protocol == "masked" else hide(small_nb, protocol, device="cpu")
    model, data = network(matrix, dropout=0.0), protocols.get(protocol)(matrix)
    filled = np.resize(CELLS, len(CELLS) + 4)
    task = data.training_task(filled, torch.Generator().manual_seed(5))
    share = Share.filled(len(CELLS), len(CELLS), 0, 1, room=0)
    padded = Share(slice(0, len(filled)), len(filled), len(CELLS))
    loss = StepLoss(model, Place(CPU))
    found = loss(_steps.Step.of(task, padded))
    expected = loss(_steps.Step.of(task.some(share.rows), share))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("protocol", ["masked", "thinning"])
@pytest.mark.parametrize("changed", [{}, {"bottleneck": "variational", "kl_warm_up": 0}])
def test_shares_of_a_device_have_the_draws_of_one_process(small_nb, protocol, changed):
    """Oracle: one process. A step of 21 cells among such of 25 is filled up by each on its own."""
    from countae.hold_out import hide

    matrix = small_nb if protocol == "masked" else hide(small_nb, protocol, device="cpu")
    model, data, most = network(matrix, **changed), protocols.get(protocol)(matrix), 25
    model.train()
    expected = None
    for processes in (1, 2, 3, 4):
        model.zero_grad()
        total = torch.zeros(())
        for rank in range(processes):
            torch.manual_seed(7)
            loss = StepLoss(model, of(rank, processes))
            share = Share.filled(len(CELLS), most, rank, processes, room=0)
            model.draws.rows, model.draws.cells = share.rows, share.cells
            filled = np.resize(CELLS, share.cells)
            if protocol == "masked":
                step = data.step_there(filled, 5, share)
            else:
                step = data.training_step(filled, torch.Generator().manual_seed(5), share)
            assert len(step.counts) == -(-most // processes)
            part = loss(step) / processes
            part.backward()
            total = total + part.detach()
        if expected is None:
            expected = total, gradients(model)
        torch.testing.assert_close(total, expected[0])
        for name, value in gradients(model).items():
            torch.testing.assert_close(value, expected[1][name], rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("test", ["library_size", "outliers_input"])
def test_a_step_on_a_device_has_the_counts_and_sizes_of_a_stress_test(small_nb, test):
    """Oracle: the CPU's task around the same mask."""
    member = stress.get(test)
    (made,) = member(small_nb, member.levels[-1], settings=SETTINGS["stress"])
    data = protocols.get("masked")(made)
    share = Share.filled(len(CELLS), len(CELLS), 0, 1, int(data._most_stored[len(CELLS) - 1]))
    step = data.step_there(CELLS, 5, share)
    task = data._task(CELLS, np.ascontiguousarray(step.wanted.numpy().T))
    plain = protocols.get("masked")(small_nb)._task(CELLS, task.mask)
    for name in ("counts", "target", "size_factor"):
        torch.testing.assert_close(getattr(step, name), getattr(task, name), rtol=1e-6, atol=0)
    assert not torch.equal(task.size_factor, plain.size_factor)  # else nothing is tested


def test_the_fullest_cells_fill_a_step_up(small_nb):
    """They need more room than so many cells can have that are all different."""
    data = protocols.get("masked")(small_nb)
    stored = np.diff(small_nb.counts.indptr)
    fullest = np.argsort(stored)[::-1][:1]
    share = Share.filled(1, 2, 0, 1, int(data._most_stored[1]))
    cells = np.resize(fullest, share.cells)
    assert Rows(small_nb.counts, cells).stored > share.room
    step = data.step_there(cells, 5, share)
    np.testing.assert_array_equal(step.counts, small_nb.counts[cells].toarray())


def test_shares_are_all_cells_once_and_filled_ones_have_one_shape():
    for real in (1, 5, 7, 8):
        exact = [Share.exact(real, rank, 3).rows for rank in range(3)]
        assert sum((list(range(real))[rows] for rows in exact), []) == list(range(real))
        filled = [Share.filled(real, 8, rank, 3, 0) for rank in range(3)]
        assert {(s.rows.stop - s.rows.start, s.cells, s.real) for s in filled} == {(3, 8, real)}
        rows = np.concatenate([np.arange(8)[s.own] for s in filled])
        np.testing.assert_array_equal(rows, [*range(8), 0])  # the ninth is the first again
        again = torch.cat([rows_of(torch.arange(8), s.rows) for s in filled])
        np.testing.assert_array_equal(again, rows)
        assert torch.cat([is_real(s, torch.ones(())) for s in filled]).sum() == real


def test_counts_become_dense_where_they_are_sent(small_nb):
    """Oracle: SciPy. What is left of the room changes nothing."""
    rows = Rows(small_nb.counts, CELLS)
    for room in (rows.stored, rows.stored + 13):
        for dtype in (torch.float32, torch.float64):
            found = rows.by_place(room, CPU, dtype)
            assert found.dtype == dtype
            np.testing.assert_array_equal(found, small_nb.counts[CELLS].toarray())
    data = protocols.get("masked")(small_nb)
    assert data._most_stored[len(CELLS) - 1] >= rows.stored
    assert data._most_stored[-1] == small_nb.counts.nnz


def test_a_mask_drawn_on_a_device_belongs_to_the_step(small_nb):
    """Oracle: size factors of the CPU's compiled loop around the same mask."""
    data = protocols.get("masked")(small_nb)
    filled = np.resize(CELLS, 24)
    room = int(data._most_stored[11])
    shares = [Share.filled(len(CELLS), 24, rank, 2, room) for rank in range(2)]
    one, two = (data.step_there(filled, 8, share) for share in shares)
    whole = data.step_there(filled, 8, Share(slice(0, 24), 24, len(CELLS), 2 * room))
    for name in ("counts", "hidden", "wanted", "size_factor", "real", "batch"):
        both = torch.cat([getattr(one, name), getattr(two, name)])
        torch.testing.assert_close(both, getattr(whole, name), rtol=0, atol=0)
    assert one.number == two.number == whole.number == whole.wanted.sum()
    assert not whole.wanted[len(CELLS) :].any()
    share = (whole.hidden[: len(CELLS)]).mean().item()
    error = np.sqrt(0.2 * 0.8 / (len(CELLS) * 40))  # of a share of independent entries
    assert abs(share - 1 / small_nb.n_folds) < 4 * error
    task = data._task(filled, np.ascontiguousarray(whole.wanted.numpy().T))
    torch.testing.assert_close(whole.size_factor, task.size_factor, rtol=1e-6, atol=0)
    torch.testing.assert_close(whole.counts, task.counts, rtol=0, atol=0)


@pytest.mark.parametrize("likelihood", [n for n in likelihoods.names() if n not in WAITING])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_step_asks_its_device_for_a_number(small_nb, likelihood, dtype, monkeypatch):
    """On the device ``meta`` there are shapes but no numbers: whoever asks for one fails."""
    monkeypatch.setattr(masked.Masked, "generator", lambda self, seed: None)
    monkeypatch.setattr(torch, "autocast", lambda kind, enabled: nullcontext())
    meta = torch.device("meta")
    model = network(small_nb, likelihood, bottleneck="variational").to(meta, dtype)
    data = protocols.get("masked")(small_nb, meta, None, dtype)
    stepper = Stepper(model, data, Place(meta, dtype), compiled=False)
    optimiser = Descent(model.parameters(), lr=1e-3)
    asked = []

    def total(self, values):
        asked.append(values.shape)
        return [0.0] * len(values)

    monkeypatch.setattr(Place, "total", total)
    warm_up = torch.optim.lr_scheduler.LinearLR(optimiser)
    batches = np.array_split(np.arange(40), 3)
    seen = []
    monkeypatch.setattr(
        StepLoss, "forward",
        lambda self, step, own=StepLoss.forward: seen.append(shapes(step)) or own(self, step),
    )  # fmt: skip
    stepper.epoch(batches, torch.Generator().manual_seed(0), optimiser, warm_up, 1.0)
    assert asked == [(3,)]  # once, for all steps
    assert len(seen) == 3
    assert len(set(seen)) == 1  # 14, 13 and 13 cells, in one shape


def shapes(step):
    tensors = {k: v for k, v in vars(step).items() if isinstance(v, torch.Tensor)}
    return tuple((name, tuple(value.shape), value.dtype) for name, value in tensors.items())


class Descent(torch.optim.SGD):
    """Gradient descent that may be told of infinities, as fused optimisers are."""

    found_inf = property(lambda self: None, lambda self, value: None)


READING = {"item", "tolist", "cpu", "numpy", "nonzero", "synchronize"}


def test_the_loop_of_steps_reads_nothing():
    """In the source too: no call that reads a device's memory before an epoch has ended."""
    [loop] = [
        node
        for node in ast.walk(ast.parse(inspect.getsource(stepping)))
        if isinstance(node, ast.For) and ast.unparse(node.target) == "(number, cells)"
    ]
    called = [node.func for node in ast.walk(loop) if isinstance(node, ast.Call)]
    methods = {f.attr for f in called if isinstance(f, ast.Attribute)}
    functions = {f.id for f in called if isinstance(f, ast.Name)}
    assert "step" in methods
    assert not methods & READING
    assert not functions & {"float", "int", "bool"}
    assert not any(isinstance(node, ast.If) for node in ast.walk(loop))
    for function in (StepLoss.forward, Stepper.step, masked.Masked.step_there):
        tree = ast.parse("if 1:\n" + inspect.getsource(function))
        attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not attributes & READING, function


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_entries_give_what_the_nonzero_ones_do(dtype, monkeypatch):
    """Oracle: the form of a CPU, which lists the counts above zero."""
    rng = np.random.default_rng(2)
    counts = torch.as_tensor(rng.poisson(0.7, (30, 20)) * rng.integers(1, 400, (30, 20)))
    mean, theta = (torch.as_tensor(rng.lognormal(0, 3, (30, 20))) for _ in range(2))

    def values():
        at = [v.to(dtype).requires_grad_() for v in (mean.clone(), theta.clone())]
        x = counts.to(dtype)
        found = count_pmf.log_poisson(x, at[0]), count_pmf.log_negative_binomial(x, *at)
        return [*found, *torch.autograd.grad(found[0].sum() + found[1].sum(), at)]

    listed = values()
    monkeypatch.setattr(count_pmf, "_nonzero", lambda counts: counts > 0)
    rtol = 1e-6 if dtype == torch.float32 else 1e-13
    for one, other in zip(values(), listed, strict=True):
        torch.testing.assert_close(one, other, rtol=rtol, atol=0)


def test_heads_that_a_loss_leaves_open_are_found(small_nb):
    for likelihood, expected in (("nb", 0), ("mse_counts", 1), ("multinomial", 1)):
        model = network(small_nb, likelihood)
        state = torch.get_rng_state()
        found = unlearnt(StepLoss(model, Place(CPU)))
        assert torch.equal(torch.get_rng_state(), state)
        assert len(found) == expected
        assert all(any(p is q for q in model.gene_heads.values()) for p in found)


def test_batch_norm_is_refused_once_where_cells_would_be_shared(small_nb, monkeypatch):
    """Before any process is started: each would say the same."""
    started = []
    monkeypatch.setattr(fit_module, "choose_place", lambda *args, **kwargs: started.append(args))
    for devices, nodes in ((2, 1), (1, 2)):
        with pytest.raises(ConfigError, match="by 2 processes. Fix: set network.norm to layer"):
            fit(
                small_nb, "nb", seed=2, network=NETWORK | {"norm": "batch"}, training=TRAINING,
                device="cpu", devices=devices, nodes=nodes,
            )  # fmt: skip
    assert not started
    check_norm("batch", 1)
    check_norm("layer", 2)


def on_fabric():
    """A place with Fabric on a CPU, which the usual one has not."""
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment

    alone = [LightningEnvironment()]
    return Place(CPU, fabric=Fabric(accelerator="cpu", devices=1, plugins=alone))


def fitted(matrix, likelihood="nb", **training):
    return fit(
        matrix, likelihood, seed=2, network=NETWORK, training=TRAINING | training, device="cpu"
    )


@pytest.mark.parametrize("likelihood", ["nb", "mse_log1p"])
def test_steps_through_fabric_train_what_plain_ones_do(small_nb, likelihood, monkeypatch):
    """Oracle: the compiled steps of a CPU. Rounding grows with the steps."""
    expected = fitted(small_nb, likelihood)[1]
    place = on_fabric()
    monkeypatch.setattr(fit_module, "choose_place", lambda *args, **kwargs: place)
    found = fitted(small_nb, likelihood)[1]
    assert found.validation_loss == pytest.approx(expected.validation_loss, rel=1e-5)
    assert found.train_loss == pytest.approx(expected.train_loss, rel=1e-5)


@pytest.mark.parametrize(("precision", "tolerance"), [("64", 1e-6), ("bf16-mixed", 2e-3)])
@pytest.mark.parametrize("likelihood", ["nb", "zinb", "mse_log1p"])
def test_precisions_agree_with_single(small_nb, likelihood, precision, tolerance):
    """Rounding moves weights by its own size: of 2⁻²⁴ per operation, or of 2⁻⁸ in bfloat16."""
    single = fitted(small_nb, likelihood, implementation="reference")[1]
    model, other = fitted(small_nb, likelihood, precision=precision)
    assert other.validation_loss != single.validation_loss
    assert other.validation_loss == pytest.approx(single.validation_loss, rel=tolerance)
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}


def test_a_step_that_is_too_large_is_told_and_leaves_the_weights_alone(small_nb):
    with pytest.raises(
        FitDivergedError, match=r"epoch \d+: the loss of gene 'gene\d+' is not .*Fix"
    ):
        fitted(small_nb, "poisson", learning_rate=1e4, precision="64")
    place = choose_place("cpu", precision="64")
    model = network(small_nb, "poisson").double()
    data = protocols.get("masked")(small_nb, CPU, None, torch.float64)
    trainer = Trainer(model, data, TRAINING | {"learning_rate": 1e6}, place)
    generator = torch.Generator().manual_seed(0)
    for epoch in range(30):
        loss, failed = trainer.epoch(epoch, np.arange(90), generator)
        if failed is not None:
            break
    assert not np.isfinite(loss)
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert not torch.isfinite(losses_of(model, failed)[0]).all()


def test_what_is_not_finite_elsewhere_leaves_the_weights_alone(small_nb, monkeypatch):
    """Averaged gradients would carry another process's NaN into this one."""
    model, cells = network(small_nb, dropout=0.0).double(), np.arange(64)
    data = protocols.get("masked")(small_nb, CPU, None, torch.float64)
    trainer = Trainer(model, data, TRAINING, choose_place("cpu", precision="64"))
    monkeypatch.setattr(Place, "worst", lambda self, value: value.fill_(1.0))
    before = [p.clone() for p in model.parameters()]
    trainer.epoch(0, cells, torch.Generator().manual_seed(0))
    assert all(map(torch.equal, before, model.parameters()))
    monkeypatch.undo()
    trainer.epoch(0, cells, torch.Generator().manual_seed(0))
    assert not all(map(torch.equal, before, model.parameters()))


def test_a_step_that_cannot_be_compiled_is_told(small_nb, monkeypatch):
    from torch._dynamo.exc import InternalTorchDynamoError

    def failing(step):
        raise InternalTorchDynamoError("no C++ compiler\nmore")

    monkeypatch.setattr(torch, "compile", lambda module, dynamic: failing)
    with pytest.raises(
        ConfigError, match="step here: no C.. compiler. Usu.*implementation to auto"
    ):
        fitted(small_nb, implementation="compile")


@pytest.mark.filterwarnings("ignore")  # of the tracer itself, which errors would break
@pytest.mark.slow
def test_a_step_can_be_traced_for_a_compiler(small_nb, monkeypatch):
    """All but what a compiler makes of it; oracle: the step as it is, by the same numbers."""
    expected = fitted(small_nb, implementation="reference", max_epochs=2)[1]
    traced = partial(torch.compile, backend="eager")
    monkeypatch.setattr(torch, "compile", traced)
    found = fitted(small_nb, implementation="compile", max_epochs=2)[1]
    assert found.validation_loss == pytest.approx(expected.validation_loss, rel=1e-5)


DEVICE_PATH = str(Path(__file__).with_name("device_path.py"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "words", "tolerance"),
    [
        # rounding of 2⁻²⁴, or of 2⁻⁵³, grows with the steps, 3 per epoch
        (["-m", "countae"], [], 1e-4),
        ([DEVICE_PATH], ["--precision", "64"], 1e-9),
    ],
)
def test_two_processes_have_the_validation_curve_of_one(
    small_nb, tmp_path, program, words, tolerance
):
    """With dropout and early stopping; gloo, CPU. Oracle: one process."""
    small_nb.save(tmp_path / "counts.h5ad")

    def made(number, folder, **more):
        command = [
            sys.executable, *program, "fit", "counts.h5ad", f"{folder}/model.safetensors",
            "--record", f"{folder}/fit.json", "--likelihood", "mse_counts", "--seed", "4",
            "--max-epochs", "60", "--patience", "3", "--learning-rate", "0.02", "--batch-size",
            "33", "--hidden", "16", "--latent", "4", "--device", "cpu", "--devices", str(number),
            *words,
        ]  # fmt: skip
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | more,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stderr.count("converged after") == 1  # the first process alone speaks
        return json.loads((tmp_path / folder / "fit.json").read_text())

    one, two = made(1, "one"), made(2, "two")
    assert (one["devices"], two["devices"]) == (1, 2)
    assert one["stop_reason"] == two["stop_reason"] == "converged"
    assert two["best_epoch"] == one["best_epoch"]
    assert len(two["validation_loss"]) == len(one["validation_loss"])
    assert two["validation_loss"] == pytest.approx(one["validation_loss"], rel=tolerance)
    rel = max(tolerance, 1e-6)  # Fabric returns these in single precision
    assert two["train_loss"] == pytest.approx(one["train_loss"], rel=rel)
