"""Test `make verify`: it runs every proof, prints the figures of each, and fails when one fails."""

import os
import subprocess
import sys

import pytest
import verify
from native import FLAGS, HERE, compiler, have


def test_every_proof_is_in_the_list():
    assert {path.stem.removeprefix("verify_") for path in HERE.glob("verify_*.py")} == set(verify.PROOFS)


@pytest.mark.skipif(not have(compiler()[0]), reason="needs a C compiler")
@pytest.mark.parametrize("source", sorted(HERE.glob("*.c")), ids=lambda path: path.name)
def test_every_driver_and_level_compiles(source):
    command = [*compiler(), *FLAGS, "-Wall", "-Wextra", "-Werror", "-fsyntax-only", str(source)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr


def stub(tmp_path, monkeypatch, **bodies):
    """Replace the proofs by scripts with these bodies."""
    for name, body in bodies.items():
        (tmp_path / f"verify_{name}.py").write_text(body)
    monkeypatch.setattr(verify, "__file__", str(tmp_path / "verify.py"))
    monkeypatch.setattr(verify, "PROOFS", list(bodies))


def test_figures_reach_the_table_and_a_failure_is_named(tmp_path, monkeypatch, capsys):
    stub(tmp_path, monkeypatch, good="import sys; print('talk'); print('=> 7 of 7 stars', sys.argv[1:])",
         bad="raise SystemExit(3)")
    assert verify.main(["--quick"]) == 1
    table = capsys.readouterr().out.split("figures\n")[1]
    assert "7 of 7 stars ['--quick']" in table and "talk" not in table
    assert "1 of 2 proofs hold; FAILED: bad" in table
    assert verify.main(["good"]) == 0


def test_a_proof_without_its_peer_is_not_run(tmp_path, monkeypatch, capsys):
    stub(tmp_path, monkeypatch, good="", alone="print('=> peer is missing'); raise SystemExit(77)")
    assert verify.main([]) == 0
    table = capsys.readouterr().out.split("figures\n")[1]
    assert "peer is missing" in table and "1 of 1 proofs hold; not run: alone\n" in table


def test_a_missing_peer_is_one_line(tmp_path):
    hide = "import sys\nsys.modules.update(tiktoken=None, tokenizers=None)\n"
    (tmp_path / "sitecustomize.py").write_text(hide)
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    script = [sys.executable, HERE / "verify_tokenizer.py", "--quick"]
    done = subprocess.run(script, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths})
    assert done.returncode == 77 and not done.stderr and done.stdout.count("\n") == 1
    assert done.stdout.startswith("=> tik")


def test_an_unknown_proof_is_one_clear_line():
    done = subprocess.run([sys.executable, HERE / "verify.py", "cold_fusion"], capture_output=True, text=True)
    assert done.returncode == 2 and "there is no proof cold_fusion" in done.stderr.splitlines()[-1]
