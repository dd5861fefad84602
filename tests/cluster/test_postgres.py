"""Definitions and the audit log in a real PostgreSQL, which refuses, dies, sleeps and comes back."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from scripts.cluster.parts import Parts, listens
from scripts.cluster.postgres import PASSWORD
from scripts.cluster.postgres import Postgres as Server
from tests.access.audit_conformance import AuditConformance, Ticks, noted

from opportune.access import shared_audit
from opportune.access.shared_audit import SharedAudit
from opportune.cli.cluster_shared import FOLDER, opened, workspace_of
from opportune.cli.edge import run
from opportune.engine.workspace import load_workspace
from opportune.errors import InvalidDefinition, InvalidRequest, NotFound, StorageError
from opportune.stores.postgres import Postgres
from opportune.streams import definitions
from opportune.streams.config import ClusterConfig, KafkaConfig, PostgresConfig, RedisConfig
from opportune.streams.definitions import Revisions

SEGMENTS = "segments:\n  - name: buyers\n    where: {feature: orders, at_least: 1}\n"
TABLES = ("opportune_definitions", "opportune_revisions", "opportune_audit", "opportune_audit_key")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    folder = Path("/tmp") / tmp_path_factory.mktemp("pg").name  # another user must get there
    folder.mkdir(mode=0o755)
    parts = Parts(folder)
    try:
        Server(parts).up()
        yield parts
    finally:
        parts.down()
        shutil.rmtree(folder)


@pytest.fixture
def servers(running: Parts) -> Parts:
    """The name tells the suite that a real server is needed."""
    return running


@pytest.fixture
def postgres(servers: Parts) -> Iterator[Postgres]:
    url = servers.addresses()["postgres"]
    with psycopg.connect(url, password=PASSWORD) as connection:
        for table in TABLES:
            connection.execute(f"drop table if exists {table}")
    found = connected(url)
    yield found
    found.close()


def connected(url: str, timeout_s: float = 10.0) -> Postgres:
    tables = (*definitions.TABLES, *shared_audit.TABLES)
    return Postgres(url, password=PASSWORD, timeout_s=timeout_s, tables=tables)


class TestSharedAudit(AuditConformance):
    @pytest.fixture
    def log(self, postgres: Postgres) -> SharedAudit:
        return SharedAudit(postgres, Ticks())


def test_two_processes_make_one_chain(servers: Parts, postgres: Postgres) -> None:
    logs = [SharedAudit(postgres), SharedAudit(connected(servers.addresses()["postgres"]))]

    def note(log: SharedAudit) -> None:
        for number in range(50):
            log.note("test", "something", ["user_id:u1"], number=str(number))

    threads = [threading.Thread(target=note, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (logs[0].verify().entries, logs[0].verify().broken_at) == (2 * 50, 0)
    assert logs[0].pseudonym("user_id:u1") == logs[1].pseudonym("user_id:u1")
    logs[1].close()


@pytest.mark.parametrize(
    ("change", "broken_at", "problem"),
    [
        ("update opportune_audit set did = 'profile.rode' where n = 1", 1, "not what was written"),
        ("update opportune_audit set about = '{}' where n = 2", 2, "not what was written"),
        ("delete from opportune_audit where n = 2", 2, "does not follow the one before it"),
    ],
)
def test_a_changed_row_is_found(postgres: Postgres, change: str, broken_at: int, problem: str) -> None:
    log = SharedAudit(postgres)
    noted(log)
    postgres.run(lambda connection: connection.execute(change))
    found = log.verify()
    assert found.broken_at == broken_at
    assert problem in found.problem


def test_revisions_are_kept_and_restored(postgres: Postgres) -> None:
    revisions = Revisions(postgres, Ticks())
    assert revisions.newest() == 0
    assert revisions.push({"a.yaml": b"1", "models/m": b"\x00\xff"}, who="ada", why="first") == 1
    assert revisions.push({"a.yaml": b"2"}, who="bob", why="") == 2
    assert revisions.files(1) == {"a.yaml": b"1", "models/m": b"\x00\xff"}
    assert revisions.push(revisions.files(1), who="ada", why="back") == 3
    assert revisions.newest() == 3
    assert [(r.n, r.who, r.why, r.files) for r in revisions.listed()] == [
        (3, "ada", "back", 2),
        (2, "bob", "", 1),
        (1, "ada", "first", 2),
    ]
    with pytest.raises(NotFound, match="no such revision, saw 9: opportune cluster definitions list"):
        revisions.files(9)


def test_definitions_pushed_by_command_are_what_a_process_starts_with(
    servers: Parts, postgres: Postgres, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("PG_PASSWORD", PASSWORD)
    url = servers.addresses()["postgres"]
    file = tmp_path / "cluster.yaml"
    file.write_text(
        "kafka: {brokers: '127.0.0.1:1'}\nredis: {url: 'redis://127.0.0.1:1/0'}\n"
        f"postgres: {{url: '{url}', password_env: PG_PASSWORD}}\n"
    )
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "segments.yaml").write_text("segments: []\n")
    (workspace / "schemas").mkdir()
    (workspace / "schemas" / "for-editors.json").write_text("{}")
    said: list[str] = []
    assert workspace_of(postgres, tmp_path / "d", say=said.append) is None, "nothing was pushed"
    push = ["cluster", "definitions", "push", "--cluster", str(file), "--workspace", str(workspace)]
    assert run([*push, "--why", "a start"]) == 0
    assert "revision 1 is the newest" in capsys.readouterr().out
    folder = workspace_of(postgres, tmp_path / "d", say=said.append)
    assert folder == tmp_path / "d" / FOLDER
    assert load_workspace(folder).revision == load_workspace(workspace).revision
    assert said == ["definitions revision 1"]
    assert not (folder / "schemas").exists()
    (workspace / "segments.yaml").write_text("segments: [{}]\n")
    assert run(push) != 0, "what does not hold is not pushed"
    assert "segments" in capsys.readouterr().err
    assert run(["cluster", "definitions", "restore", "1", "--cluster", str(file)]) == 0
    assert run(["cluster", "definitions", "list", "--cluster", str(file)]) == 0
    assert "restored revision 1" in capsys.readouterr().out
    export = ["cluster", "definitions", "export", str(tmp_path / "out"), "--cluster", str(file)]
    assert run(export) == 0
    assert (tmp_path / "out" / "segments.yaml").read_text() == "segments: []\n"


def test_a_wrong_password_is_told_and_nobody_else_sees_it(servers: Parts) -> None:
    wrong = Postgres(servers.addresses()["postgres"], password="wr0ng", timeout_s=5.0)
    with pytest.raises(
        StorageError, match=r"PostgreSQL refuses the password .*postgres\.password_env"
    ) as told:
        wrong.wait(30)
    assert "wr0ng" not in str(told.value)
    wrong.close()


def test_nobody_there_is_told_after_some_patience() -> None:
    said: list[str] = []
    nowhere = Postgres("postgresql://x@127.0.0.1:1/y?connect_timeout=1", timeout_s=5.0)
    with pytest.raises(
        StorageError, match=r"PostgreSQL does not answer \(.*saw 'postgresql://x@127.0.0.1:1/y'"
    ):
        nowhere.wait(0.6, say=said.append)
    assert said
    nowhere.close()


def test_a_killed_server_is_found_again(servers: Parts, postgres: Postgres, tmp_path: Path) -> None:
    log, revisions = SharedAudit(postgres), Revisions(postgres)
    log.note("test", "before", changed=True)
    revisions.push({"segments.yaml": b"segments: []\n"}, who="ada", why="")
    said: list[str] = []
    workspace_of(postgres, tmp_path, say=said.append)
    servers.stop("postgres", signal.SIGKILL)
    with pytest.raises(StorageError, match="PostgreSQL does not answer"):
        log.note("test", "meanwhile", changed=True)
    assert workspace_of(postgres, tmp_path, say=said.append) == tmp_path / FOLDER
    assert "going on with revision 1 of the definitions" in said[-1]
    servers.again("postgres")
    port = int(servers.addresses()["postgres"].rpartition(":")[2].partition("/")[0])
    servers.wait("postgres", lambda: listens(port))
    postgres.wait(30)
    log.note("test", "after", changed=True)
    assert [entry.did for entry in log.entries()] == ["before", "after"]
    assert log.verify().broken_at == 0


def test_a_sleeping_server_is_waited_for_once(servers: Parts) -> None:
    sleepy = connected(servers.addresses()["postgres"], timeout_s=0.3)
    sleepy.wait(30)
    leader = servers.running()["postgres"]["pid"]
    sleeping = [leader, *children(leader)]
    for pid in sleeping:
        os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(StorageError, match=r"no answer within 0.3 s"):
            sleepy.run(lambda connection: connection.execute("select 1"))
        began = time.monotonic()
        with pytest.raises(StorageError, match="it has not answered an earlier question yet"):
            sleepy.run(lambda connection: connection.execute("select 1"))
        assert time.monotonic() - began < 0.2, "nobody waits a second time"
    finally:
        for pid in sleeping:
            os.kill(pid, signal.SIGCONT)
    sleepy.wait(30)
    sleepy.close()


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_password_in_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"postgres.url must not hold a password"):
        ClusterConfig(
            KafkaConfig("b:1"), RedisConfig("redis://r"), postgres=PostgresConfig("postgresql://u:p@h/d")
        )
    with pytest.raises(InvalidRequest, match=r"this cluster has no PostgreSQL, at cluster.yaml \$.postgres"):
        opened(ClusterConfig(KafkaConfig("b:1"), RedisConfig("redis://r")))
    config = ClusterConfig(
        KafkaConfig("b:1"), RedisConfig("redis://r"), postgres=PostgresConfig("postgresql://u@h/d", "NO_SUCH")
    )
    with pytest.raises(InvalidDefinition, match=r"the password is not in the environment, saw 'NO_SUCH'"):
        opened(config)
