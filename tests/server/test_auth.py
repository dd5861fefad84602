from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest

from opportune.access.scopes import SECRET_GRANT, WRITE_GRANT, Grant
from opportune.errors import InvalidDefinition, StorageError
from opportune.server.auth import Keys, load_keys

KEYS = Keys(write="wk", secret="sk")


def basic(text: str) -> bytes:
    return b"Basic " + base64.b64encode(text.encode())


@pytest.mark.parametrize(
    ("header", "grant"),
    [
        (basic("wk:"), WRITE_GRANT),
        (basic("wk"), WRITE_GRANT),
        (basic("wk:password"), WRITE_GRANT),
        (basic("sk:"), SECRET_GRANT),
        (b"Bearer wk", WRITE_GRANT),
        (b"BEARER  sk ", SECRET_GRANT),
        (b"Bearer wk2", None),
        (b"Bearer w", None),
        (b"Bearer ", None),
        (b"Bearer", None),
        (b"", None),
        (b"Basic !", None),
        (b"Basic \xff\xff", None),
        (b"wk", None),
    ],
)
def test_what_a_header_allows(header: bytes, grant: Grant | None) -> None:
    assert KEYS.header_grant(header) is grant


def test_the_secret_does_not_show_in_a_repr() -> None:
    assert repr(Keys(write="wk", secret="hush")) == "Keys(write='wk', secret=<hidden>, source='default')"


def test_keys_from_the_environment_leave_no_file(tmp_path: Path) -> None:
    keys = load_keys(tmp_path, {"OPPORTUNE_WRITE_KEY": "a", "OPPORTUNE_SECRET_KEY": "b"})
    assert (keys.write, keys.secret, keys.generated) == ("a", "b", False)
    assert list(tmp_path.iterdir()) == []


def test_keys_are_made_once_and_kept_for_the_owner_only(tmp_path: Path) -> None:
    first = load_keys(tmp_path / "new", {})
    assert first.generated
    assert len(first.secret) > 40
    path = tmp_path / "new" / "keys.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = load_keys(tmp_path / "new", {})
    assert (again.write, again.secret, again.generated) == (first.write, first.secret, False)
    assert [one.name for one in path.parent.iterdir()] == ["keys.json"]


def test_one_key_from_the_environment_takes_its_place(tmp_path: Path) -> None:
    kept = load_keys(tmp_path, {})
    mixed = load_keys(tmp_path, {"OPPORTUNE_WRITE_KEY": "mine"})
    assert (mixed.write, mixed.secret) == ("mine", kept.secret)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"write": "a"}'])
def test_a_damaged_file_is_not_overwritten(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys.json").write_text(text)
    with pytest.raises(StorageError, match=r"cannot read the kept keys, at .*keys\.json: restore the file"):
        load_keys(tmp_path, {})
    assert (tmp_path / "keys.json").read_text() == text


@pytest.mark.parametrize("key", ["has space", "has:colon", "naïve", "new\nline"])
def test_keys_must_travel_in_a_header(tmp_path: Path, key: str) -> None:
    with pytest.raises(InvalidDefinition, match="characters that cannot travel") as refused:
        load_keys(tmp_path, {"OPPORTUNE_WRITE_KEY": "wk", "OPPORTUNE_SECRET_KEY": key})
    assert refused.value.where == "OPPORTUNE_SECRET_KEY"
    assert key not in str(refused.value)


def test_the_public_key_cannot_be_the_secret(tmp_path: Path) -> None:
    with pytest.raises(InvalidDefinition, match="the write key and the secret key are the same"):
        load_keys(tmp_path, {"OPPORTUNE_WRITE_KEY": "k", "OPPORTUNE_SECRET_KEY": "k"})


def test_the_file_holds_what_was_given(tmp_path: Path) -> None:
    keys = load_keys(tmp_path, {})
    assert json.loads((tmp_path / "keys.json").read_text()) == {"write": keys.write, "secret": keys.secret}
