"""``oidc-provider-mock``, a provider that others wrote, in a process of its own on the loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SCRIPT = """
import sys
from oidc_provider_mock import User, run_server_in_thread
ada = {"email": "ada@example.org", "email_verified": True, "groups": ["shop-admins"]}
eve = {"email": "eve@elsewhere.test", "email_verified": True}
users = [User(sub="ada", claims=ada), User(sub="eve", claims=eve)]
with run_server_in_thread(require_nonce=True, user_claims=users) as server:
    print(server.server_port, flush=True)
    sys.stdin.read()
"""


@contextmanager
def mock_provider() -> Iterator[str]:
    """Its issuer. It knows Ada, who is in a group, and Eve, who is in none."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "AUTHLIB_INSECURE_TRANSPORT": "1"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield f"http://localhost:{int(process.stdout.readline())}"
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()
