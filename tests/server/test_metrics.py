from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from opportune.server.metrics import LATENCY_S, Buckets, Metrics


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_buckets_count_inclusively_and_add_up() -> None:
    buckets = Buckets((0.001, 0.01))
    for value in (0.0005, 0.001, 0.002, 5.0):
        buckets.observe(value)
    assert buckets.cumulative() == [("0.001", 2.0), ("0.01", 3.0), ("+Inf", 4.0)]
    assert buckets.total == pytest.approx(0.0005 + 0.001 + 0.002 + 5.0)


def test_the_first_bucket_is_half_a_millisecond() -> None:
    assert LATENCY_S[0] == 0.0005
    assert list(LATENCY_S) == sorted(LATENCY_S)


def test_a_scrape_counts_what_happened(public: httpx.Client) -> None:
    def scrape() -> dict[Any, float]:
        return samples(public.get("/metrics").text)

    before = scrape()

    def grown(name: str, **labels: str) -> float:
        key = (name, tuple(sorted(labels.items())))
        return after.get(key, 0.0) - before.get(key, 0.0)

    public.post(
        "/v1/batch",
        json={"batch": [{"type": "track", "messageId": "a"}, {}, {"type": "x", "messageId": "a"}]},
    )
    public.post("/v1/decide", json={"placements": ["home_recs", "cart_upsell"]})
    public.post("/v1/batch", content=b"{")
    public.get("/nothing")
    after = scrape()
    assert grown("opportune_events_total", dialect="segment", verdict="stored") == 1
    assert grown("opportune_events_total", dialect="segment", verdict="duplicate") == 1
    assert grown("opportune_events_total", dialect="segment", verdict="rejected") == 1
    assert grown("opportune_events_rejected_total", code="unknown_type") == 1
    assert grown("opportune_decisions_total", placement="home_recs", consent="personal") == 1
    assert grown("opportune_decision_degraded_total", stage="rank") == 2
    assert grown("opportune_decision_stage_seconds_count", stage="candidates") == 2
    assert grown("opportune_decision_stage_seconds_sum", stage="candidates") == pytest.approx(0.0004)
    assert grown("opportune_decision_stage_seconds_bucket", stage="candidates", le="0.0002") == 2
    assert grown("opportune_http_responses_total", route="/v1/batch", status="200") == 1
    assert grown("opportune_http_responses_total", route="/v1/batch", status="400") == 1
    assert grown("opportune_http_refused_total", route="/v1/batch", code="invalid_request") == 1
    assert grown("opportune_http_request_seconds_count", method="POST", route="/v1/decide") == 1
    assert grown("opportune_http_responses_total", route="unknown", status="404") == 1
    assert grown("opportune_journal_flush_seconds_count") >= 1
    assert after[("opportune_dedupe_entries", ())] == 1
    assert after[("opportune_checkpoint_age_seconds", ())] == 1.5
    assert after[("opportune_ready", ())] == 1
    assert after[("opportune_process_cpu_seconds_total", ())] > 0


def test_every_metric_is_ours_and_no_label_grows_without_bound(public: httpx.Client) -> None:
    for number in range(300):
        public.get(f"/nothing/{number}")
        public.post("/v1/decide", json={"placement": f"made-up-{number}"})
    text = public.get("/metrics").text
    for family in text_string_to_metric_families(text):
        assert family.name.startswith("opportune_"), family.name
    assert text.count("made-up-") <= 200
    assert 'placement="other"' in text
    assert "/nothing/" not in text


def test_counting_a_request_costs_microseconds() -> None:
    metrics = Metrics()
    started = time.process_time()
    for _ in range(10_000):
        metrics.request("POST", "/v1/track", 200, 0.001)
    assert (time.process_time() - started) / 10_000 < 20e-6  # 1 us on a quiet machine
