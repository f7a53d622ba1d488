"""``python -m kdmm``: the same as ``kdmm``."""

import sys

from kdmm.cli import main

if __name__ == "__main__":
    sys.exit(main())
