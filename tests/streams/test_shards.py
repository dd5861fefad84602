from __future__ import annotations

from collections import Counter

import pytest

from opportune.streams.shards import Shards, murmur2, placed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Kafka's own UtilsTest.testMurmur2, as signed integers there.
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_kafkas(text: bytes, expected: int) -> None:
    assert murmur2(text) == expected % 2**32


@pytest.mark.parametrize("partitions", [1, 3, 8, 64])
def test_the_key_of_a_partition_is_placed_there(partitions: int) -> None:
    shards = Shards(partitions)
    assert [placed(key, partitions) for key in shards.keys] == list(range(partitions))
    assert all(key.isdigit() for key in shards.keys), "no bar, which ends the key in a changelog"


def test_identifiers_are_spread_evenly() -> None:
    shards = Shards(8)
    found = Counter(shards.of(b"anonymous_id:%d" % n) for n in range(8_000))
    assert sorted(found) == list(range(8))
    assert all(abs(count - 1_000) < 4 * 1_000**0.5 for count in found.values())
