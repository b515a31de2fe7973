"""Check several processes that train one model: N write the bits of one, and all end together.

Threads stand for processes in the first tests; the others start real ones by MPI, and are skipped without it.
"""

import glob
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers import refuses, together, train_in
from mpi_run import MISSING, MPIEXEC, flags, ranks, run, start
from tiny_run import FAMILIES, in_pieces, outcome, write_text

from tinyllm.parallel.mpi import connect, launched, require_equal
from tinyllm.train import ALONE

real = pytest.mark.skipif(MISSING, reason="needs mpi4py and mpich")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return write_text(tmp_path_factory.mktemp("text") / "text.txt")


def trained(folder, settings, group, divide=True, stops=10**9):
    """Begin or resume a run as process of a group; return the optimizer's state."""
    return train_in(group, folder, settings | {"parallel.zero": divide}, stops).optimizer


@pytest.mark.parametrize("family", FAMILIES)
def test_processes_that_divide_the_optimizer_write_the_bits_of_one(tmp_path, text, family):
    settings = in_pieces(family, data=str(text), train__optimizer="muon" if family == "llama" else "adamw")
    whole = trained(tmp_path / "whole", settings, ALONE, divide=False)
    expected, numbers = outcome(tmp_path / "whole"), sum(m.size for m in whole.m)
    for size in (2, 3, 4):
        optimizers = together(size, lambda group, size=size: trained(tmp_path / str(size), settings, group))
        assert outcome(tmp_path / str(size)) == expected
        parts = [sum(m.size for m in each.optimizer.m) for each in optimizers]
        assert sum(parts) == numbers and max(parts) < 0.8 * numbers


def test_a_divided_run_goes_on_with_any_number_of_processes_divided_or_not(tmp_path, text):
    settings = in_pieces("gpt", data=str(text))
    trained(tmp_path / "whole", settings, ALONE, divide=False)
    folder = tmp_path / "run"
    for size, divide, stops in ((3, True, 3), (1, False, 2), (2, True, 2), (4, False, 2), (2, True, 99)):
        together(size, lambda group, how=(divide, stops): trained(folder, settings, group, *how))
    assert outcome(folder) == outcome(tmp_path / "whole")


@pytest.mark.parametrize("name", ["settings", "weights"])
def test_processes_that_differ_are_refused_in_all(name):
    def work(group):
        values = {"settings": {"lr": 1.0, "out": None}, "weights": {"w": np.arange(3.0)}}
        require_equal(group, **values)
        if group.rank == 2:
            values[name] = {"lr": 1.5, "out": None} if name == "settings" else {"w": np.arange(1, 4.0)}
        return refuses(f"process 2 has other {name} than process 0", require_equal, group, **values)

    assert len(set(together(3, work))) == 1


def test_without_a_launcher_mpi4py_is_not_imported(tmp_path, text, monkeypatch):
    for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert launched() == (0, 1) and connect() is ALONE
    words = flags(tmp_path / "run", text, "--overwrite", in_pieces("gpt", train__steps=1))
    code = f"import sys, tinyllm.cli; tinyllm.cli.main({words}); sys.exit('mpi4py' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0
    monkeypatch.setenv("PMI_RANK", "1")
    monkeypatch.setenv("PMI_SIZE", "3")
    assert launched() == (1, 3)


@pytest.mark.parametrize(("launcher", "lacking", "said"), [
    ("PMI", "mpi4py", "2 processes were started, which need mpi4py and MPI .*: pip install"),
    pytest.param("OMPI_COMM_WORLD", "", "started by another MPI than MPICH", marks=real),
])
def test_an_mpi_that_is_missing_or_of_another_vendor_is_refused(monkeypatch, launcher, lacking, said):
    for name, value in (("RANK", "0"), ("SIZE", "2")):
        monkeypatch.setenv(f"{launcher}_{name}", value)
    if lacking:
        monkeypatch.setitem(sys.modules, lacking, None)
    refuses(said, connect.__wrapped__)


@real
def test_real_processes_write_the_bits_of_one(tmp_path, text):
    settings = in_pieces("gpt")
    trained(tmp_path / "whole", settings | {"data": str(text)}, ALONE, divide=False)
    for size, zero in ((2, "true"), (3, "false")):
        words = flags(tmp_path / str(size), text, "--overwrite", settings | {"parallel.zero": zero})
        code, printed, errors = run(size, words)
        assert (code, errors) == (0, "") and printed.count("what next:") == 1
        assert f"{size} processes: the bits of one with train.accumulate=" in printed
        assert printed.endswith("report.html in a browser\n"), "MPI adds nothing"
        assert outcome(tmp_path / str(size)) == outcome(tmp_path / "whole")
        assert (tmp_path / str(size) / "report.html").exists()


@real
@pytest.mark.parametrize(("changed", "other", "said"), [
    ([], ["--seed", "3"], "process 2 has other settings than process 0"),
    ([], ["--bogus"], "unrecognized arguments: --bogus"),
    (["--bogus"], [], "unrecognized arguments: --bogus"),
    (["--set", "train.batch=11"], [], "11 cannot be split into 5 equal parts.*such as 15"),
    (["--set", "train.accumulate=2"], [], "none for some of 3 processes: start at most 2"),
    (["--minutes", "1"], [], "--minutes times one process"),
    (["--set", "train.lr=1e30"], [], "training has blown up"),
    (["--out", "/proc/x"], [], "cannot write the run to /proc/x"),
    (["--set", "recipe=federated"], [], "federated trains its clients in one process: start it without"),
])
def test_a_mistake_in_one_process_or_in_all_is_one_line_and_exit_code_2(tmp_path, text, changed, other, said):
    words = [*flags(tmp_path / "run", text, "--overwrite", in_pieces("gpt")), *changed]
    code, _, errors = run(2 if other else 3, words, [*words, *other] if other else ())
    assert code == 2 and errors.count("\n") == 1 and re.search(said, errors)


@real
@pytest.mark.parametrize("words", [["plan"], ["scaling", "--out", "laws"]])
def test_another_command_than_train_does_not_do_its_work_in_each_process(here, words):
    code, printed, errors = run(2, words)
    assert (code, printed, errors.count("\n")) == (2, "", 1) and not any(here.iterdir())
    assert f"several processes can only train: start tinyllm {words[0]} without mpiexec" in errors


@real
def test_a_process_that_leaves_by_sys_exit_ends_all(tmp_path, text):
    code = ("import sys, tinyllm.cli, tinyllm.train.loop as loop, tinyllm.parallel.mpi as mpi\n"
            "if mpi.launched()[0]: loop.Loop.measure = lambda self: sys.exit(3)\n"
            "sys.exit(tinyllm.cli.main(sys.argv[1:]))")
    words = flags(tmp_path / "run", text, "--overwrite", in_pieces("gpt"))
    done = subprocess.run([MPIEXEC, "-n", "2", sys.executable, "-c", code, *words], capture_output=True,
                          text=True, timeout=30)
    assert done.returncode == 1 and "SystemExit: 3" in done.stderr


@real
@pytest.mark.signals
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_one_signal_stops_all_and_the_run_goes_on_with_fewer(tmp_path, text, sent):
    settings = in_pieces("gpt", train__steps=150, train__eval_every=150, train__checkpoint_every=10)
    words = flags(tmp_path / "run", text, "--overwrite", settings)
    process = start(4, words)
    while process.poll() is None and not glob.glob(f"{tmp_path}/run/checkpoints/step-*"):
        time.sleep(0.01)
    started = ranks(process)
    assert len(started) == 4
    if sent == signal.SIGKILL:
        os.kill(started[2], sent)
    else:
        process.send_signal(sent)
    printed, errors = process.communicate(timeout=300)  # verify_mpi.py measures the seconds
    assert not any(os.path.exists(f"/proc/{pid}") for pid in started)
    if sent != signal.SIGKILL:
        counts = printed.count("stopped; saved:"), errors.count("\nstopping;")
        assert process.returncode == 130 and counts == (1, 1)
    assert run(2, flags(tmp_path / "run", text, "--resume", {}))[0] == 0
    trained(tmp_path / "whole", settings | {"data": str(text)}, ALONE, divide=False)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
