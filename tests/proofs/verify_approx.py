"""Measures the error of the kernels' functions on all 2**32 floats.

    python tests/proofs/verify_approx.py [--quick] [exp log tanh silu gelu gelu_tanh rsqrt]

Compiles verify_approx.c ($CC, else cc) and runs it on the installed kernels; the exit code says whether every
bound was kept. --quick looks at one float in 128.
"""

import argparse
import sys

from native import run_installed


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one float in 128")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args(argv)
    code, text = run_installed("verify_approx.c", "quick" if args.quick else "all", *args.names, timeout=3000)
    print(text, end="")
    return code


if __name__ == "__main__":
    sys.exit(main())
