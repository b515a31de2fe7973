"""Test `make verify`: it runs every proof, prints the figures of each, and fails when one fails."""

import verify


def test_figures_reach_the_table_a_failure_is_named_and_a_missing_peer_is_none(tmp_path, monkeypatch, capsys):
    assert {"kills", "names"} < verify.proofs().keys()
    for name, body in {"good": "import sys; print('talk'); print('=> 7 of 7 stars', sys.argv[1:])",
                       "alone": "print('=> peer is missing'); raise SystemExit(77)",
                       "bad": "raise SystemExit(3)"}.items():
        (tmp_path / f"verify_{name}.py").write_text(body)
    monkeypatch.setattr(verify, "__file__", str(tmp_path / "verify.py"))
    monkeypatch.setattr(verify, "OTHERS", {})
    assert verify.main(["--quick"]) == 1 and verify.main(["good", "alone"]) == 0
    table = capsys.readouterr().out.split("figures\n")[1]
    assert "7 of 7 stars ['--quick']" in table and "talk" not in table.split("\n\n")[0]
    assert "not run" in table and "peer is missing" in table
    assert "2 of 3 proofs did not fail; FAILED: bad" in table
