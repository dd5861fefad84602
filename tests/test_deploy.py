"""What deploys a cluster fits what the commands, the configuration and the schemas say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import msgspec
import pytest
import yaml

from opportune.cli.cluster_roles import ROLES, chosen
from opportune.streams.config import ClusterConfig

DEPLOY = Path("deploy")
KUBERNETES = "1.34"


def manifests() -> list[Any]:
    return [
        pytest.param(manifest, id=f"{path.stem}-{manifest['kind']}-{manifest['metadata']['name']}")
        for path in (*sorted((DEPLOY / "kubernetes").glob("*.yaml")), DEPLOY / "secret.example.yaml")
        for manifest in yaml.safe_load_all(path.read_text())
    ]


@pytest.mark.parametrize("manifest", manifests())
def test_a_manifest_is_what_kubernetes_takes(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_every_role_has_a_workload_and_a_service_in_both() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    commands = [service.get("command", ()) for service in compose["services"].values()]
    by_compose = {_role(command) for command in commands if "--role" in command}
    by_kubernetes = {
        _role(container["args"])
        for [manifest] in (param.values for param in manifests())
        if manifest["kind"] in ("Deployment", "StatefulSet")
        for container in manifest["spec"]["template"]["spec"]["containers"]
    }
    assert by_compose == by_kubernetes == set(ROLES)


@pytest.mark.parametrize("text", ["compose", "kubernetes"])
def test_the_cluster_file_within_is_one(text: str) -> None:
    if text == "compose":
        found = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["configs"]["cluster"]["content"]
    else:
        [found] = [
            manifest["data"]["cluster.yaml"]
            for [manifest] in (param.values for param in manifests())
            if "cluster.yaml" in manifest.get("data", {})
        ]
    config = msgspec.convert(yaml.safe_load(found), ClusterConfig)
    assert config.redis.password_env == "REDIS_PASSWORD"


def _role(args: list[str]) -> str:
    [role] = chosen(args[args.index("--role") + 1])
    return role
