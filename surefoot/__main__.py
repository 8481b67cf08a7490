"""Runs `python -m surefoot`."""

import os
import sys

if __name__ == "__main__":
    # -m has put the current folder first, where a stranger's files may have the names of modules
    if sys.path[0] == os.getcwd() != os.path.dirname(os.path.dirname(__file__)):  # noqa: PTH109, PTH120 (pathlib is not loaded yet)
        del sys.path[0]
    from surefoot.cli import main

    sys.exit(main())
