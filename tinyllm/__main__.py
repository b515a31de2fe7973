"""Let `python -m tinyllm` do what the command `tinyllm` does."""

import sys

from tinyllm.cli import main

if __name__ == "__main__":
    sys.exit(main())
