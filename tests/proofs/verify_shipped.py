"""Prove that tools/shipped_model.py makes the model in the package again, to the bit.

    python tests/proofs/verify_shipped.py [--quick]

It trains for some minutes. --quick trains ten steps, and compares their loss with the shipped model's. Exits
with 1 where other bits come out: then the shipped model has to be made again, by the same command.
"""

import sys
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import shipped_model

from tinyllm.runs import make_config, prepare


def first_steps():
    """Train ten steps; print and compare their mean loss -> exit code."""
    setup = prepare(make_config(shipped_model.SETTINGS))
    loss = sum(step.loss for step in islice(setup.steps(), 10)) / 10
    print(f"=> mean loss of the first ten steps {loss!r}, when it was made {shipped_model.FIRST_LOSS!r}")
    return 0 if loss == shipped_model.FIRST_LOSS else 1


if __name__ == "__main__":
    if "--quick" in sys.argv:
        sys.exit(first_steps())
    sys.argv = [sys.argv[0], "--check"]
    code = shipped_model.main()
    said = "comes out again, bit for bit" if code == 0 else "is not what its command makes"
    print(f"=> the shipped model {said}")
    sys.exit(code)
