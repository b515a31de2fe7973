"""Check that `doctor` finds each problem, says what to do, and finds none on a healthy machine."""

import math
import sys

import pytest

from tinyllm.cli import doctor, main
from tinyllm.ops import registry
from tinyllm.ops.registry import OPS, use

WELL = {
    "cpu": "A CPU", "cpus": 2, "level": "avx512", "levels": ["avx512", "avx2"], "threads": 2,
    "memory": 2**33, "blas": "openblas 0.3", "no kernels": None, "losses": (3.7, 3.7),
    "isolation": {"landlock": None, "plain": None}, "environment": {},
}


@pytest.mark.parametrize("changes, problem, advice", [
    ({"level": None, "levels": [], "no kernels": "they were not built"}, "were not built", "C compiler"),
    ({"losses": (math.nan, 3.7)}, "nan", "source run: python -m pip install"),
    ({}, "", ""), ({"memory": None, "environment": {"OMP_X": "1"}}, "", ""),
    ({"isolation": {"landlock": "it needs Linux", "plain": None}}, "", ""),
])
def test_every_illness_is_found_alone_with_what_to_do(changes, problem, advice, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda: WELL | changes)
    assert main(["doctor"]) == bool(problem)
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    told, _, ill = " ".join(said.split()).partition(" these need attention: ")
    assert problem in ill and advice in ill and ill.count("-> ") == bool(problem)
    assert told.endswith("all is well") == (not problem)
    if "isolation" in changes:
        assert "isolation of students' code: plain (" in told and "stops accidents, not attackers" in told
        assert "landlock does not work: it needs Linux" in told
    else:
        assert "isolation of students' code: landlock (" in told


def test_this_machine_is_examined_and_kernels_that_cannot_be_had_give_their_reason(monkeypatch):
    facts = doctor.examine()
    assert facts.keys() == WELL.keys() and doctor.report(facts)
    assert (facts["no kernels"] is None) == (registry._compiled is not None)
    assert math.isclose(*facts["losses"], rel_tol=1e-2) and 1 < facts["losses"][0] < 5
    monkeypatch.setitem(sys.modules, "tinyllm.ops._compiled", None)  # importing it fails
    assert "_compiled" in doctor.why_no_kernels()


def test_a_kernel_that_computes_something_else_fails_the_trial(monkeypatch):
    def wrong(q, k, v, *rest):
        return q * 0 + 3, q[..., 0].swapaxes(1, 2)

    with use("compiled"), monkeypatch.context() as patch:
        patch.setitem(OPS["attention"].implementations, "compiled", wrong)
        use(attention="compiled")
        assert not math.isclose(*doctor.trial(steps=2), rel_tol=1e-2)
    assert OPS["attention"]._run is OPS["attention"].implementations[OPS["attention"].backend]
