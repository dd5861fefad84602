"""Every code block of the documents that can run does, in the order in which a reader meets it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.docs.blocks import ROOT, documents, script

RUNNABLE = [path for path in documents() if "reference" not in path.parts and script(path)]
"""Not the generated reference: its examples are of files that are not there; tests/cli runs the commands."""


def test_the_ways_in_are_among_them() -> None:
    names = {str(path.relative_to(ROOT)) for path in RUNNABLE}
    assert {"README.md", "docs/tutorial/first-hour.md"} <= names


@pytest.mark.parametrize("path", RUNNABLE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_does_what_it_says(path: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPPORTUNE_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script(path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
