"""Check that `doctor` finds what is wrong, says what to do, and leaves the healthy alone."""

import json
import math
import sys

import pytest

from tinyllm.cli import doctor, main
from tinyllm.ops import registry
from tinyllm.ops.registry import OPS, use

WELL = {
    "compiler": "/usr/bin/cc", "cpu": "A CPU", "cpus": 2, "load": 0.1, "level": "avx512",
    "levels": ["avx512", "avx2"], "threads": 2, "available_memory": 2**33, "blas": "openblas 0.3",
    "kernels": {"built": True, "reason": None, "older_than": None},
    "trial": {"loss": 3.7, "loss_of_specs": 3.7, "agree": True},
    "versions": {"tinyllm": "0.1.0", "python": "3.11.7", "numpy": "2.4.6"},
    "isolation": {"landlock": None, "plain": None}, "environment": {},
}
NOT_BUILT = {"built": False, "reason": "they were not built", "older_than": None}
NO_KERNELS = {"level": None, "levels": [], "kernels": NOT_BUILT}
ILLNESSES = [  # what is changed, a word of the problem, a word of the advice
    (NO_KERNELS, "were not built", "source run: python -m pip install"),
    (NO_KERNELS | {"compiler": None}, "no compiled kernels", "install a C compiler"),
    ({"kernels": WELL["kernels"] | {"older_than": "csrc/matmul.c"}}, "csrc/matmul.c", "pip install"),
    ({"trial": {"loss": math.nan, "loss_of_specs": 3.7, "agree": False}}, "nan", "pip install"),
    ({"environment": {"TINYLLM_BACKEND": "numpy"}}, "TINYLLM_BACKEND", "unset TINYLLM_BACKEND"),
    ({"level": "avx2"}, "can do avx512", "unset TINYLLM_CPU"),
    ({"threads": 3}, "3 threads share 2", "TINYLLM_THREADS"),
    ({"available_memory": 2**28}, "512 MiB", "nano"),
]


def test_the_healthy_are_left_alone():
    for healthy in (WELL, WELL | {"available_memory": None, "environment": {"OMP_X": "1"}}):
        assert doctor.diagnose(healthy) == [] and doctor.report(healthy, []).endswith("\n\nall is well")


def test_the_isolation_that_works_is_named():
    assert "isolation landlock (" in " ".join(doctor.report(WELL, []).split())
    far = WELL | {"isolation": {"landlock": "it needs Linux", "plain": None}}
    told = " ".join(doctor.report(far, []).split())
    assert "isolation plain (" in told and "stops accidents, not attackers" in told
    assert "landlock does not work: it needs Linux" in told and "plain is here: bounds of" in told


@pytest.mark.parametrize("changes, problem, advice", ILLNESSES)
def test_every_illness_is_found_alone_with_what_to_do(changes, problem, advice):
    facts = WELL | changes
    (found,) = doctor.diagnose(facts)
    assert problem in found["problem"] and advice in found["advice"]
    lines = doctor.report(facts, [found]).splitlines()
    assert "these need attention:" in lines and max(map(len, lines)) <= 80


def test_this_machine_is_examined_and_the_exit_code_tells(capsys, monkeypatch):
    facts = doctor.examine()
    assert facts.keys() == WELL.keys() and doctor.report(facts, [])
    assert facts["kernels"]["built"] == (registry._compiled is not None)
    assert facts["trial"]["agree"] and 1 < facts["trial"]["loss"] < 5
    for found in (WELL, WELL | {"threads": 9}):
        monkeypatch.setattr(doctor, "examine", lambda found=found: found)
        ill = found is not WELL
        assert main(["doctor"]) == ill and ("-> unset TINYLLM_THREADS" in capsys.readouterr().out) == ill
        assert main(["doctor", "--json"]) == ill
        answer = json.loads(capsys.readouterr().out)
        assert (answer.pop("ok"), len(answer.pop("problems")), answer) == (not ill, ill, found)


def test_a_kernel_that_computes_something_else_fails_the_trial(monkeypatch):
    def wrong(q, k, v, *rest):
        return q * 0 + 3, q[..., 0].swapaxes(1, 2)

    with use("compiled"), monkeypatch.context() as patch:
        patch.setitem(OPS["attention"].implementations, "compiled", wrong)
        use(attention="compiled")
        assert not doctor.trial(steps=2)["agree"]
    assert OPS["attention"]._run is OPS["attention"].implementations[OPS["attention"].backend]


def test_kernels_that_cannot_be_had_give_their_reason(monkeypatch):
    monkeypatch.setattr(registry, "_compiled", None)
    monkeypatch.setitem(sys.modules, "tinyllm.ops._compiled", None)  # importing it fails
    assert doctor.kernels() == NOT_BUILT
