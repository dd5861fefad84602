"""A child whose system calls are made to fail from outside (``fiu-run``), or whose disk is really full.

``python -m tests.faults.flushes FOLDER SEED`` appends, flushes and tells every durable seq on standard
output, until a storage error ends it with exit code 3 and its message on standard error.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.faults.writer import write

from opportune.errors import StorageError
from opportune.stores.disk import RealDisk

REFUSED = 3


def main() -> None:
    try:
        with RealDisk(Path(sys.argv[1])) as disk:
            write(disk, int(sys.argv[2]), _tell, groups=150)
    except StorageError as error:
        _say(2, f"{type(error).__name__}: {error}\n")
        raise SystemExit(REFUSED) from error


def _tell(durable: int) -> None:
    _say(1, f"{durable}\n")


def _say(descriptor: int, text: str) -> None:
    # Not `write`: that is the call that is made to fail, and what a test is told must arrive.
    os.writev(descriptor, [text.encode()])


if __name__ == "__main__":
    main()
