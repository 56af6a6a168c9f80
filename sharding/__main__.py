"""`python -m sharding`: the sharding tool alone, the same as `sentalign shard`."""

from __future__ import annotations

import sys

from sharding.cli import main

if __name__ == "__main__":
    sys.exit(main())
