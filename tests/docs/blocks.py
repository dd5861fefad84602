"""Code blocks of a document, as one script that does what its reader would do.

``bash`` blocks run as they stand, ``python`` blocks with this interpreter, any block with ``file=PATH`` is
written to that file first; ``console``, ``html``, ``ini`` and the like are only shown. All blocks of a
document run in order in one folder, so that a server started in one is there in the next.
"""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PORT = "8080"

_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    language: str
    file: str
    text: str
    line: int


def documents() -> list[Path]:
    """Every document of the project."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def blocks(path: Path) -> list[Block]:
    source = path.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(source):
        language, _, rest = match["info"].strip().partition(" ")
        file = rest.removeprefix("file=") if rest.startswith("file=") else ""
        line = source.count("\n", 0, match.start()) + 1
        found.append(Block(language, file, match["text"], line))
    return found


def runs(block: Block) -> bool:
    return bool(block.file) or block.language in ("bash", "python")


def script(path: Path) -> str:
    """The document as a bash script; empty when nothing in it runs."""
    parts = []
    for block in blocks(path):
        if not runs(block):
            continue
        parts.append(f"echo '# line {block.line}'")
        if block.file:
            parts.append(f"mkdir -p \"$(dirname '{block.file}')\"")
            parts.append(_heredoc(f"cat > '{block.file}'", block.text))
        elif block.language == "python":
            parts.append(_heredoc("python -W error -W ignore::DeprecationWarning -", block.text))
        else:
            parts.append(block.text)
    if not parts:
        return ""
    head = "set -euo pipefail\nset -m\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n"
    return (head + "\n".join(parts) + "\n").replace(PORT, str(_free_port()))


def _heredoc(command: str, text: str) -> str:
    return f"{command} <<'END_OF_BLOCK'\n{text}END_OF_BLOCK"


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
