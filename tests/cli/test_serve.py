"""``serve`` as a process, and the commands that talk to it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.cli.conftest import Opportune

SECRET = "sk_test"
WRITE = "wk_test"


class Serving(NamedTuple):
    process: subprocess.Popen[str]
    url: str
    folder: Path
    printed: list[str]

    @property
    def to(self) -> tuple[str, ...]:
        return ("--to", self.url, "--key", SECRET)


def start(folder: Path, *options: str, **environment: str) -> Serving:
    process = subprocess.Popen(
        [sys.executable, "-m", "opportune.cli", "serve", "--data-dir", str(folder), "--port", "0", *options],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stdout is not None
    printed = []
    for line in process.stdout:
        printed.append(line.rstrip())
        if found := re.match(r"ready on (http://\S+)", line):
            return Serving(process, found[1], folder, printed)
    raise AssertionError(f"serve ended with {process.wait()}: {printed}")


def stop(serving: Serving) -> int:
    serving.process.send_signal(signal.SIGTERM)
    code = serving.process.wait(timeout=20)
    assert serving.process.stdout is not None
    serving.process.stdout.close()
    return code


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("serve") / "data"
    running = start(folder, OPPORTUNE_WRITE_KEY=WRITE, OPPORTUNE_SECRET_KEY=SECRET)
    yield running
    if running.process.poll() is None:
        stop(running)


def test_commands_work_the_same_over_the_network(
    opportune: Opportune, clicks: Path, serving: Serving
) -> None:
    done = opportune("import", "events", clicks, *serving.to, "--json")
    [summary] = done.json["files"]
    assert (summary["stored"], summary["rejected"], summary["finished"]) == (4, 2, True)
    assert opportune("import", "events", clicks, *serving.to).out.endswith("--again reads it once more\n")
    [again] = opportune("import", "events", clicks, *serving.to, "--again", "--json").json["files"]
    assert (again["stored"], again["duplicate"]) == (0, 4)

    known = opportune("profile", "user_id:u1", *serving.to, "--json").json
    assert known["events"] == {"product_viewed": 2}
    [decision] = opportune("decide", "--placement", "home_recs", *serving.to, "--json").json["decisions"]
    assert {item["item_id"] for item in decision["items"]} == {"a", "b"}

    letters = opportune("dead-letters", "list", *serving.to, "--code", "bad_time", "--json").json["letters"]
    fixed = clicks.with_name("fixed.json")
    fixed.write_text(letters[0]["raw"].replace("noon", "2026-11-20T12:00:00Z"))
    done = opportune("dead-letters", "replay", letters[0]["id"], "--fixed", fixed, *serving.to)
    assert (done.code, done.out) == (0, f"{letters[0]['id']} stored\n")
    assert opportune("profile", "user_id:u3", *serving.to).code == 0
    done = opportune("dead-letters", "discard", letters[1]["id"], *serving.to)
    assert done.code == 0
    totals = opportune("accounting", *serving.to, "--json").json["sources"]["default"]
    assert totals["received"] == totals["stored"] + totals["duplicate"] + totals["rejected"]


def test_items_reach_a_running_server(opportune: Opportune, serving: Serving, tmp_path: Path) -> None:
    items = tmp_path / "items.csv"
    items.write_text("sku,name,price\ncup,Cup,3\n,Nameless,1\n")
    [summary] = opportune("import", "items", items, *serving.to, "--json").json["files"]
    assert (summary["stored"], summary["unusable"]) == (1, 1)


def test_a_wrong_key_is_one_line(opportune: Opportune, serving: Serving) -> None:
    shown = opportune("accounting", "--to", serving.url, "--key", "nonsense")
    assert shown.code == 1
    assert shown.err.startswith("error: no valid key")
    shown = opportune("accounting", "--to", serving.url, "--key", WRITE)
    assert shown.err.startswith("error: this needs the scope reports: use the secret key, or the key")


def test_no_server_is_one_line(opportune: Opportune) -> None:
    shown = opportune("accounting", "--to", "http://127.0.0.1:9", "--key", "k")
    assert (shown.code, shown.err) == (
        1,
        "error: no answer from the server (Connection refused), at http://127.0.0.1:9: "
        "is it running? start it with 'opportune serve'\n",
    )
    shown = opportune("accounting", "--to", "ftp://x", "--key", "k")
    assert (shown.code, shown.err) == (
        2,
        "error: not an address of a server, saw 'ftp://x', at --to: http://host:port\n",
    )


def test_the_console_is_there_and_closed(serving: Serving) -> None:
    with urllib.request.urlopen(f"{serving.url}/console/", timeout=10) as answer:
        assert answer.url.startswith(f"{serving.url}/console/login")
    assert f"console     {serving.url}/console/" in serving.printed


def test_a_backup_of_a_running_server(opportune: Opportune, serving: Serving, tmp_path: Path) -> None:
    vault = serving.folder / "vault"
    assert opportune("doctor", "--data-dir", serving.folder).code == 0
    assert opportune("backup", tmp_path / "b.tar", "--data-dir", serving.folder).code == 0
    assert opportune("restore", tmp_path / "b.tar", "--vault", vault, "--data-dir", tmp_path / "r").code == 0
    totals = [
        opportune("accounting", *where, "--json").json
        for where in (serving.to, ("--data-dir", tmp_path / "r"))
    ]
    assert totals[0] == totals[1]


def test_sigterm_ends_in_order_and_everything_is_there_afterwards(
    opportune: Opportune, clicks: Path, tmp_path: Path
) -> None:
    first = start(tmp_path / "d")
    write = next(line.split()[-1] for line in first.printed if line.startswith("write key"))
    secret = next(line.split()[-1] for line in first.printed if line.startswith("secret key"))
    assert opportune("import", "events", clicks, "--to", first.url, "--key", write).code == 0
    assert stop(first) == 0
    second = start(tmp_path / "d", "--no-console")
    # The secret is shown once, when it is made.
    assert "secret key  hidden, show it with 'opportune keys --secret'" in second.printed
    assert not any(line.startswith("console") for line in second.printed)
    known = opportune("profile", "user_id:u1", "--to", second.url, "--key", secret, "--json").json
    assert known["events"] == {"product_viewed": 2}
    second.process.send_signal(signal.SIGINT)
    assert second.process.wait(timeout=20) == 0
    assert second.process.stdout is not None
    second.process.stdout.close()


def test_a_taken_port_is_one_line(serving: Serving, opportune: Opportune, tmp_path: Path) -> None:
    port = serving.url.rpartition(":")[2]
    shown = opportune("serve", "--data-dir", tmp_path / "d", "--port", port)
    assert shown.code == 1
    assert shown.err.endswith(
        f"cannot listen on 127.0.0.1 port {port} (Address already in use): choose another --port\n"
    )
