from __future__ import annotations

from pathlib import Path

import pytest

from opportune.errors import InvalidDefinition
from opportune.streams.config import KafkaConfig, RedisConfig, load_config


def written(folder: Path, text: str) -> Path:
    path = folder / "cluster.yaml"
    path.write_text(text)
    return path


def test_defaults(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "kafka: {brokers: 'k:9092'}\nredis: {url: 'redis://r/0'}\n"))
    assert config.kafka.client() == {"bootstrap.servers": "k:9092", "security.protocol": "plaintext"}
    assert config.redis.password() is None
    assert (config.prefix, config.partitions, config.copies, config.exactly_once) == ("opportune", 8, 1, True)


def test_passwords_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", "kp")
    monkeypatch.setenv("REDIS_PASSWORD", "rp")
    kafka = KafkaConfig("k:9092", "sasl_ssl", username="shop", password_env="KAFKA_PASSWORD", ca="/ca.pem")
    assert kafka.client() == {
        "bootstrap.servers": "k:9092",
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "shop",
        "sasl.password": "kp",
        "ssl.ca.location": "/ca.pem",
    }
    assert RedisConfig("rediss://shop@r/0", password_env="REDIS_PASSWORD").password() == "rp"


def test_a_password_that_is_not_there_is_told() -> None:
    with pytest.raises(InvalidDefinition, match=r"not in the environment, saw 'NO_SUCH', at cluster.yaml \$"):
        KafkaConfig("k:9092", "sasl_ssl", password_env="NO_SUCH").client()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("redis: {url: 'redis://r/0'}", "missing required field `kafka`"),
        ("kafka: {brokers: k, user: u}\nredis: {url: 'redis://r'}", "unknown field `user`, at .* \\$.kafka"),
        ("kafka: {brokers: k}\nredis: {url: 'redis://u:secret@r'}", "must not hold a password"),
        ("kafka: {brokers: k}\nredis: {url: 'redis://r'}\npartitions: 0", ">= 1, at .* \\$.partitions"),
    ],
)
def test_what_is_wrong_is_told_with_its_path(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InvalidDefinition, match="(?i)" + told) as raised:
        load_config(written(tmp_path, text))
    assert "secret@" not in str(raised.value)
