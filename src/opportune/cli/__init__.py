"""The command line: thin callers of the engine's two verbs and its queries, one command per file.

``app`` holds the table of commands, ``edge`` the process edge, ``target`` what a command talks to: an engine
over a data folder, or a running server.
"""

from __future__ import annotations


def main() -> None:
    """The entry point of ``opportune``."""
    import sys

    from opportune.cli.edge import run

    sys.exit(run(sys.argv[1:]))
