"""A child whose system calls are made to fail from outside (``fiu-run``), or whose disk is really full.

``python -m tests.faults.flushes FOLDER SEED`` appends, flushes and tells every durable seq on standard
output, until a storage error ends it with exit code 3 and its message on standard error.
"""

from __future__ import annotations

import contextlib
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
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        raise SystemExit(REFUSED) from error


def _tell(durable: int) -> None:
    # When writes are made to fail, so may this one; what is not told counts as not acknowledged.
    with contextlib.suppress(OSError):
        os.write(1, b"%d\n" % durable)


if __name__ == "__main__":
    main()
