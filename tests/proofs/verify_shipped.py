"""Prove that tools/shipped_model.py makes the model in the package again, to the bit.

    python tests/proofs/verify_shipped.py [--quick]

It trains for some minutes; with --quick, ten steps. Exits with 1 if the bits differ: then the shipped model
has to be made again, with tools/shipped_model.py.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import shipped_model

if __name__ == "__main__":
    sys.argv = [sys.argv[0], "--check", *sys.argv[1:]]
    sys.exit(shipped_model.main())
