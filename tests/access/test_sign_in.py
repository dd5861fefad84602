from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from opportune.access.scopes import Role
from opportune.access.sign_in import (
    AccessRules,
    claim_of,
    client_secret,
    is_private,
    load_access,
    parse_access,
)
from opportune.cli.definition_files import starter
from opportune.errors import InvalidDefinition

TEXT = """
oidc:
  issuer: https://login.example.org
  client_id: opportune
  roles:
    - {role: administrator, claim: groups, value: shop-admins}
    - {role: marketer, claim: realm_access.roles, value: marketing}
    - {role: viewer, claim: email, domain: Example.org}
"""


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"groups": ["x", "shop-admins"]}, Role.ADMINISTRATOR),
        ({"groups": "shop-admins"}, Role.ADMINISTRATOR),
        ({"groups": "not-shop-admins"}, None),
        ({"groups": ["shop"]}, None),
        ({"groups": {"shop-admins": 1}}, None),
        ({"realm_access": {"roles": ["marketing"]}}, Role.MARKETER),
        ({"realm_access": {"roles": ["marketing"]}, "groups": ["shop-admins"]}, Role.ADMINISTRATOR),
        ({"realm_access": "marketing"}, None),
        ({"email": "a@EXAMPLE.org", "email_verified": True}, Role.VIEWER),
        ({"email": "a@example.org"}, None),
        ({"email": "a@example.org", "email_verified": "true"}, None),
        ({"email": "a@sub.example.org", "email_verified": True}, None),
        ({"email": "a@example.org@evil.test", "email_verified": True}, None),
        ({"email": "example.org", "email_verified": True}, None),
        ({}, None),
    ],
)
def test_the_first_rule_that_holds_gives_the_role(claims: dict[str, Any], role: Role | None) -> None:
    oidc = parse_access(TEXT).oidc
    assert oidc is not None
    assert oidc.role(claims) is role


def test_without_rules_nobody_has_a_role() -> None:
    oidc = parse_access("oidc: {issuer: 'https://a.test', client_id: c}").oidc
    assert oidc is not None
    assert oidc.role({"groups": ["a"], "email": "a@b.test", "email_verified": True}) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("https:", "http:"), "the issuer must be an https address (http only on the loopback)"),
        (("client_id: opportune", "client_id: ''"), "there must be a client_id, and openid among the scopes"),
        (("client_id: opportune", "{a}"), "not valid YAML"),
        ((", domain: Example.org", ""), "a rule has a claim, and either a value or a domain"),
        (("domain:", "value: x, domain:"), "a rule has a claim, and either a value or a domain"),
        (("role: viewer", "role: owner"), "Invalid enum value 'owner', at access.yaml $.oidc.roles[2].role"),
        (("client_id:", "client_secret: x\n  client_id:"), "unknown field `client_secret`"),
        (("client_id:", "public_url: shop\n  client_id:"), "public_url must be an address"),
    ],
)
def test_a_wrong_file_is_told(change: tuple[str, str], message: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        parse_access(TEXT.replace(*change))
    assert message in str(caught.value)


def test_the_starting_file_lets_nobody_in(tmp_path: Path) -> None:
    assert load_access(None) == load_access(tmp_path) == AccessRules()
    (tmp_path / "access.yaml").write_text(starter("access"))
    assert load_access(tmp_path) == AccessRules()
    commented = starter("access").replace("oidc: null\n", "").replace("\n# ", "\n")
    assert parse_access(commented.partition("\n")[2].partition("\n")[2]).oidc is not None


def test_the_secret_is_in_the_environment_or_in_a_file(tmp_path: Path) -> None:
    oidc = parse_access(TEXT.replace("client_id:", "client_secret_file: secret\n  client_id:")).oidc
    assert oidc is not None
    with pytest.raises(InvalidDefinition, match="cannot read the definition file"):
        client_secret(oidc, tmp_path, {})
    (tmp_path / "secret").write_text("from the file\n")
    assert client_secret(oidc, tmp_path, {}) == "from the file"
    assert client_secret(oidc, tmp_path, {"OPPORTUNE_OIDC_SECRET": "from outside"}) == "from outside"
    public = parse_access(TEXT).oidc
    assert public is not None
    assert client_secret(public, tmp_path, {}) == ""


def test_claims_with_dots_in_their_names() -> None:
    assert claim_of({"https://a.test/r": ["x"], "a": {"b": 1}}, "https://a.test/r") == ["x"]
    assert claim_of({"a": {"b": 1}}, "a.b.c") is None


@pytest.mark.parametrize(
    ("address", "is_so"),
    [
        ("https://a.test", True), ("http://127.0.0.1:5000", True), ("http://localhost", True),
        ("http://a.test", False), ("http://127.0.0.1.a.test", False), ("ftp://localhost", False),
        ("https://", False), ("http://[::1", False), ("", False),
    ],
)  # fmt: skip
def test_only_what_nobody_reads_on_the_way(address: str, is_so: bool) -> None:
    assert is_private(address) is is_so
