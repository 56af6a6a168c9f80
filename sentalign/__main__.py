"""`python -m sentalign`: the same as the command `sentalign`."""

import sys

from sentalign.cli import main

if __name__ == "__main__":
    sys.exit(main())
