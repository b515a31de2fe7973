"""Check grids of processes: copies, parts of layers and stages train like one process.

Threads stand for processes, except in the last test, which starts real ones by MPI.
"""

import numpy as np
import pytest
from helpers import Threads, new_queues, refuses, together, train_in
from mpi_run import MISSING, flags, run
from tiny_run import in_pieces, outcome, write_text

from tinyllm.cli import main
from tinyllm.ops import override
from tinyllm.parallel.grid import Grid
from tinyllm.runs import Run, make_config, prepare
from tinyllm.runs.log import read_log

GRIDS = [(4, 1, 1), (2, 2, 1), (1, 4, 1), (2, 1, 2), (1, 2, 2), (1, 1, 4)]  # data x tensor x pipeline
KINDS = {
    "gpt": {},
    "llama": {"train__optimizer": "muon"},
    "llama tied": {"model__tied": "true", "model__bias": "true", "train__optimizer": "adamw"},
}
SIZES = {"model__layers": 4, "model__heads": 4, "model__width": 16, "train__steps": 6, "train__log_every": 1}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return write_text(tmp_path_factory.mktemp("text") / "text.txt")


def settings(kind, text, **more):
    return in_pieces(kind.split()[0], data=str(text), **(SIZES | KINDS.get(kind, {}) | more))


def of_grid(grid, **more):
    names = (f"parallel.{name}" for name in ("data", "tensor", "pipeline", *more))
    return dict(zip(names, (*grid, *more.values()), strict=True))


def on_grid(folder, settings, grid, *stops, **more):
    """Train on a grid of threads -> the numbers of the steps, and the loops."""
    size = int(np.prod(grid))
    settings = settings | of_grid(grid, **more)
    loops = together(size, lambda group: train_in(group, folder, settings, *stops))
    return steps(folder), loops


def steps(folder):
    return np.array([[line[name] for name in ("train_loss", "val_loss", "grad_norm")]
                     for line in read_log(Run(folder).log.path) if line["kind"] == "step"], float)


@pytest.mark.parametrize("kind", KINDS)
def test_every_grid_of_four_has_the_losses_of_one_process(tmp_path, text, kind):
    expected, _ = on_grid(tmp_path / "alone", settings(kind, text), (1, 1, 1))
    numbers = sum(m.size for m in prepare(make_config(settings(kind, text))).model.state_dict().values())
    for grid in GRIDS:
        found, loops = on_grid(tmp_path / f"{grid}", settings(kind, text), grid)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
        if grid[0] == 4:
            assert outcome(tmp_path / f"{grid}") == outcome(tmp_path / "alone")
            continue
        own = [sum(p.data.size for p in loop.optimizer.parameters) for loop in loops]
        assert max(own) < numbers * (0.45 if grid[0] == 1 else 0.75)
        if grid[2] > 1:
            on_grid(tmp_path / f"{grid}-gpipe", settings(kind, text), grid, schedule="gpipe")
            assert outcome(tmp_path / f"{grid}-gpipe") == outcome(tmp_path / f"{grid}")


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_goes_on_with_any_grid(tmp_path, text, kind):
    expected, _ = on_grid(tmp_path / "alone", settings(kind, text), (1, 1, 1))
    for grid, stops in (((1, 2, 2), 2), ((1, 1, 1), 1), ((1, 1, 3), 1), ((2, 2, 1), 9)):
        found, _ = on_grid(tmp_path / "run", settings(kind, text), grid, stops)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_copies_of_a_grid_divide_the_optimizer_and_write_the_same_bits(tmp_path, text):
    for zero in (False, True):
        _, loops = on_grid(tmp_path / f"{zero}", settings("llama", text), (2, 1, 2), zero=zero)
    assert outcome(tmp_path / "True") == outcome(tmp_path / "False")
    kept = [sum(m.size for m in loop.optimizer.optimizer.m) for loop in loops]
    assert max(kept) < 0.4 * sum(kept)


@pytest.mark.parametrize(("family", "more", "grid", "said"), [
    ("gpt", {}, (3, 1, 1), "is 3, and the number of processes is 4"),
    ("gpt", {"model__heads": 2}, (1, 4, 1), "2 heads do not divide by parallel.tensor=4: 2 would"),
    ("llama", {"model__kv_heads": 2}, (1, 4, 1), "2 heads of keys do not divide"),
    ("llama", {"model__hidden": 26}, (1, 4, 1), "26 hidden numbers of an MLP do not divide .*: 2 would"),
    ("llama", {"model__layers": 3}, (1, 1, 4), "3 layers do not suffice for parallel.pipeline=4: 3 would"),
    ("qwen3", {}, (2, 2, 1), "cannot divide model.layers.0.self_attn.q_norm of a qwen3"),
    ("mixtral", {}, (2, 2, 1), "cannot divide model.layers.0.mlp.* of a mixtral"),
    ("falcon", {}, (2, 1, 2), "cannot divide model.layers.0.self_attention.query_key_value of a falcon"),
    ("gpt", {"recipe": "federated"}, (2, 1, 2), "cannot divide other aims than the next token"),
    ("t5", {}, (2, 1, 2), "cannot divide other aims than the next token"),
])
def test_what_a_grid_cannot_divide_is_refused(text, family, more, grid, said):
    chosen = settings(family, text, **more) | of_grid(grid)
    if family not in ("gpt", "t5"):
        chosen.pop("model.dropout", None)
    refuses(said, Grid, Threads(0, new_queues(4)), prepare(make_config(chosen)))


def test_a_replaced_clip_grads_is_refused(text):
    setup = prepare(make_config(settings("gpt", text) | of_grid((1, 2, 2))))
    with override(clip_grads=lambda grads, norm, limit: grads):
        refuses("cannot divide training with another clip_grads", Grid, Threads(0, new_queues(4)), setup)


@pytest.mark.skipif(MISSING, reason="needs mpi4py and mpich")
def test_real_processes_on_a_grid_write_one_run_of_the_whole_model(tmp_path, text, capsys):
    expected, _ = on_grid(tmp_path / "alone", settings("llama", text), (1, 1, 1))
    words = flags(tmp_path / "run", text, "--overwrite", settings("llama", text) | of_grid((1, 2, 2)))
    code, printed, errors = run(4, words)
    assert (code, errors) == (0, "") and printed.count("what next:") == 1
    np.testing.assert_allclose(steps(tmp_path / "run"), expected, rtol=0, atol=1e-5)
    assert main(["generate", str(tmp_path / "run"), "--prompt", "the", "--tokens", "5"]) == 0
    code, _, errors = run(3, words)
    assert code == 2 and errors.count("\n") == 1 and "start mpiexec -n 4" in errors
