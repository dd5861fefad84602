from __future__ import annotations

from benchmarks.speed.cluster import own_fold, sizing, table, typed
from scripts.cluster.recorded import recorded

FOUND = {
    "events": 1_000,
    "profiles": 100,
    "own_fold_us": 20.0,
    "exactly_once": {"fold_us": 70.0, "identity_us": 30.0, "events_s": 5_000.0, "rss_mb": 200.0},
    "at_least_once": {"fold_us": 50.0, "identity_us": 20.0},
    "alone": {"fold_us": 200.0, "identity_us": 90.0},
    "learning_us": 60.0,
    "two_workers": {"ratio": 1.9, "one_s": 3.8, "two_s": 2.0},
    "visible": {"p50_ms": 30.0, "p99_ms": 90.0, "fold_us": 300.0, "gateway_us": 500.0},
    "decisions": {"ratio": 1.25, "cluster_us": 500.0, "embedded_us": 400.0, "redis_us": 40.0},
    "restore": {"seconds": 9.5, "cpu_s": 5.0, "redis_bytes": 800.0, "leaf_bytes": 600.0},
}
ABOUT = {"cpu": "c", "cores": 2, "load_before": 0.1, "kernel": "6", "python": "3.11", "quixstreams": "3"}


def test_the_table_says_what_was_measured_beside_the_bar() -> None:
    lines = table(FOUND, ABOUT).splitlines()
    packed = "worker CPU per event, leaf + identity, exactly once, 64 events to a gateway's flush"
    assert f"| {packed} | 150 us | 60 us | 100 us (70 + 30) |" in lines
    assert "| the same where every event comes to the gateway alone |  |  | 290 us (200 + 90) |" in lines
    pair = "two fold workers against one, a core for each, by processor time"
    assert f"| {pair} | 1.8 x | 1.95 x | 1.90 x (3.8 s against 2.0 s for the busier) |" in lines
    assert "| Redis memory per 1 M profiles | 1.5 GB | 0.8 GB | 0.80 GB (leaves of 600 bytes) |" in lines


def test_sizing_is_arithmetic() -> None:
    workers, deciders = 2 * 20_000 * 100e-6, 2 * 5_000 * 500e-6
    redis = 1.5 * 10e6 * 800 / 1e9
    last = sizing(FOUND).splitlines()[-1]
    assert last.endswith(f"| {workers:.1f} | {deciders:.1f} | {redis:.1f} GB |")


def test_the_fold_is_measured_on_a_stream() -> None:
    assert own_fold(typed(recorded(5))) > 0


def test_a_recorded_stream_has_what_it_promises() -> None:
    calls = recorded(200)
    ids = [call["messageId"] for call in calls]
    assert len(ids) > len(set(ids)) > 2_000, "doubled"
    times = [call["timestamp"] for call in calls]
    assert times != sorted(times), "disordered"
    assert sum("userId" in call for call in calls) > 300
    assert any(call.get("event") == "identity_unlinked" for call in calls)
    assert recorded(200) == calls, "the same every time"
