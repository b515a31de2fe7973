"""Check that `doctor` finds what is wrong, says what to do, and leaves the healthy alone."""

import copy
import json
import math
import sys

import pytest

from tinyllm.cli import doctor, main
from tinyllm.ops import registry
from tinyllm.ops.registry import OPS, use

WELL = {
    "tinyllm": "0.1.0",
    "compilers": {"cc": "cc (GCC) 14.2.0"},
    "cpu": "A CPU",
    "cpus": 2,
    "load": 0.1,
    "level": "avx512",
    "levels": ["avx512", "avx2"],
    "threads": 2,
    "kernels": {"built": True, "reason": None, "older_than": None},
    "trial": {"loss": 3.7, "loss_of_specs": 3.7, "agree": True},
    "backends": {"compiled": [f"op{i}" for i in range(40)], "numpy": ["top_k", "bpe_train"]},
    "memory": {"total": 2**34, "available": 2**33},
    "pool": {"hits": 735, "misses": 123, "used": 0, "idle": 2**20, "peak": 2**21, "capacity": 2**30},
    "versions": {"python": "3.11.7", "numpy": "2.4.6"},
    "blas": "openblas 0.3",
    "unicode": "16.0",
    "cache": {"folder": "/home/me/.cache/tinyllm", "writable": True},
    "isolation": {"landlock": None, "plain": None},
    "environment": {},
}


def ill(**changes):
    """Change facts of the healthy one; keys with __ go one level down: kernels__built=False."""
    facts = copy.deepcopy(WELL)
    for key, value in changes.items():
        place, _, name = key.partition("__")
        if name:
            facts[place][name] = value
        else:
            facts[place] = value
    return facts


NO_KERNELS = {"level": None, "levels": [], "pool": None, "kernels__built": False,
              "kernels__reason": "they were not built"}

ILLNESSES = [  # what is changed, a word of the problem, a word of the advice
    (NO_KERNELS, "were not built", "source run: python -m pip install"),
    (NO_KERNELS | {"compilers": {}}, "no compiled kernels", "install a C compiler"),
    ({"kernels__older_than": "csrc/matmul.c"}, "csrc/matmul.c", "pip install"),
    ({"trial": {"loss": math.nan, "loss_of_specs": 3.7, "agree": False}}, "nan", "pip install"),
    ({"environment": {"TINYLLM_BACKEND": "numpy"}}, "TINYLLM_BACKEND", "unset TINYLLM_BACKEND"),
    ({"level": "avx2"}, "can do avx512", "unset TINYLLM_CPU"),
    ({"threads": 3}, "3 threads share 2", "TINYLLM_THREADS"),
    ({"memory__available": 2**28}, "256.0 MiB", "nano"),
    ({"cache__writable": False}, "/home/me/.cache/tinyllm", "TINYLLM_CACHE"),
]


def test_the_healthy_are_left_alone():
    assert doctor.diagnose(WELL) == []
    assert doctor.diagnose(ill(memory={"total": None, "available": None}, environment={"OMP_X": "1"})) == []
    assert doctor.report(WELL, []).endswith("\n\nall is well")


def test_the_isolation_that_works_is_named():
    told = " ".join(doctor.report(WELL, []).split())
    assert "isolation landlock (" in told
    far = ill(isolation={"landlock": "it needs Linux", "plain": None})
    told = " ".join(doctor.report(far, []).split())
    assert "isolation plain (" in told and "stops accidents, not attackers" in told
    assert "landlock does not work: it needs Linux" in told and "plain is here: bounds of" in told


@pytest.mark.parametrize("changes, problem, advice", ILLNESSES)
def test_every_illness_is_found_alone_with_what_to_do(changes, problem, advice):
    facts = ill(**changes)
    (found,) = doctor.diagnose(facts)
    assert problem in found["problem"] and advice in found["advice"]
    text = doctor.report(facts, [found])
    assert "1 thing needs attention:" in text and "all is well" not in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("text", ["", "long" * 40, "two words " * 30])
def test_no_line_is_wider_than_80_columns(text):
    facts = ill(cpu=text, blas=text, environment={"OPENBLAS_X": text}, cache__folder=text,
                compilers={"cc": text}, backends={"numpy": [f"op{i}" for i in range(60)]})
    report = doctor.report(facts, [{"problem": text, "advice": text}] * 2)
    assert max(map(len, report.splitlines())) <= 80
    assert "2 things need attention:" in report and all(f"op{i}" in report for i in range(60))


def test_this_machine_is_examined():
    facts = doctor.examine()
    assert facts.keys() == WELL.keys()
    json.dumps(facts, allow_nan=False)
    assert sorted(name for names in facts["backends"].values() for name in names) == sorted(OPS)
    assert facts["kernels"]["built"] == (registry._compiled is not None)
    assert facts["trial"]["agree"] and 1 < facts["trial"]["loss"] < 5
    assert doctor.report(facts, [])


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
    state = doctor.kernels()
    assert (state["built"], state["reason"]) == (False, "they were not built")


def test_the_command_prints_and_its_exit_code_tells(monkeypatch, capsys, printed):
    monkeypatch.setattr(doctor, "examine", lambda: WELL)
    assert "735 hits, 123 misses" in printed("doctor")
    assert json.loads(printed("doctor", "--json")) == {"ok": True, "problems": []} | WELL
    monkeypatch.setattr(doctor, "examine", lambda: ill(threads=9))
    assert main(["doctor"]) == 1
    assert "-> unset TINYLLM_THREADS" in capsys.readouterr().out
    assert main(["doctor", "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False and len(answer["problems"]) == 1
