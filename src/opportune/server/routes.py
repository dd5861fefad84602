"""Every route of the API in one table: dispatch, metrics, the OpenAPI document and its test all read it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from opportune.access.scopes import Access
from opportune.decide.flags import Evaluation
from opportune.decide.recommendations import RecommendationsAnswer, RecommendationsRequest
from opportune.decide.request import DecideRequest, DecideResponse
from opportune.server import (
    access,
    cloudevents,
    decisions,
    docs,
    experiments,
    identity,
    ingest,
    ofrep,
    pixel,
    privacy,
    probes,
    reads,
    retention,
)
from opportune.server.call import Call, Reply
from opportune.server.pending import Pending
from opportune.server.service import Service
from opportune.server.wire import (
    Batch,
    CloudEvent,
    DeadLetters,
    Fix,
    Health,
    Items,
    Readiness,
    Replayed,
    SegmentSettings,
    Tracked,
    TrackingEvent,
)

Handler = Callable[[Service, Call], Reply | Pending[Reply]]


class Route(msgspec.Struct, frozen=True):
    """``access`` is the scope that its key needs; ``write`` is enforced by the handler, because the key may
    be in the body, every other before the handler runs. ``cors`` routes may be called by any page. ``query``
    maps parameter names to what they do. ``consumes`` and ``produces`` are content types; the first one
    documents ``request`` and ``response``."""

    method: str
    path: str
    handler: Handler
    tag: str
    summary: str
    access: Access = "open"
    cors: bool = False
    request: Any = None
    response: Any = dict[str, Any]
    query: dict[str, str] = {}
    consumes: tuple[str, ...] = ("application/json",)
    produces: str = "application/json"
    body_required: bool = True


_VERDICTS = {"verdicts": "`true` adds the counts and one verdict per item to the answer"}
_WRITE_KEY = {"writeKey": "the write key, when it is neither in a header nor in the body"}
_TEXT = ("application/json", "text/plain")
_CLOUD = ("application/cloudevents+json", "application/cloudevents-batch+json", "application/json")


def _tracking() -> list[Route]:
    calls: list[tuple[str, str, Handler, Any, str]] = [
        ("track", "t", ingest.track, TrackingEvent, "Something that a person did"),
        ("identify", "i", ingest.identify, TrackingEvent, "Who a person is, and their traits"),
        ("page", "p", ingest.page, TrackingEvent, "A page was viewed"),
        ("screen", "s", ingest.screen, TrackingEvent, "A screen was viewed"),
        ("group", "g", ingest.group, TrackingEvent, "The account that a person belongs to"),
        ("alias", "a", ingest.alias, TrackingEvent, "Two identifiers are one person"),
        ("batch", "b", ingest.batch, Batch, "Up to 10,000 events"),
        ("import", "", ingest.batch, Batch, "Historical events, up to 10,000"),
    ]
    table: list[Route] = []
    for name, short, handler, shape, summary in calls:
        paths = [f"/v1/{name}"]
        if short:
            paths += [f"/v1/{short}", f"/{short}"]
        if name == "batch":
            paths.append("/beacon/v1/batch")
        table += [
            Route(
                "POST",
                path,
                handler,
                "capture",
                summary,
                access="write",
                cors=True,
                request=shape,
                response=Tracked,
                query={**_WRITE_KEY, **_VERDICTS},
                consumes=_TEXT,
            )
            for path in paths
        ]
    table += [
        Route(
            "POST",
            path,
            ingest.client_metrics,
            "capture",
            "Telemetry of the browser SDK itself, accepted and dropped",
            cors=True,
            request=dict[str, Any],
            response=Tracked,
            consumes=_TEXT,
        )
        for path in ("/v1/m", "/m")
    ]
    for name, handler in (("track", pixel.track), ("page", pixel.page)):
        table.append(
            Route(
                "GET",
                f"/pixel/v1/{name}",
                handler,
                "capture",
                f"One {name} event by image address",
                access="write",
                response=None,
                query={
                    **_WRITE_KEY,
                    "data": "the event as base64 JSON; otherwise parameters are its fields",
                    "userId": "who",
                    "anonymousId": "who, before login",
                    "event": "the event's name",
                },
                produces="image/gif",
            )
        )
    return table


ROUTES: tuple[Route, ...] = (
    *_tracking(),
    Route(
        "POST",
        "/v1/events",
        cloudevents.events,
        "capture",
        "CloudEvents 1.0: structured, batch or binary",
        access="write",
        cors=True,
        request=CloudEvent | list[CloudEvent],
        response=Tracked,
        query={**_WRITE_KEY, **_VERDICTS},
        consumes=_CLOUD,
    ),
    Route(
        "POST",
        "/v1/items",
        ingest.items,
        "capture",
        "Items of the catalogue, up to 10,000",
        access="catalogue",
        request=Items,
        response=Tracked,
        query=_VERDICTS,
    ),
    Route(
        "GET",
        "/v1/projects/{write_key}/settings",
        probes.settings,
        "capture",
        "What the browser SDK loads first",
        cors=True,
        response=SegmentSettings,
    ),
    Route(
        "POST",
        "/v1/decide",
        decisions.decide,
        "decide",
        "What should this person see now?",
        access="write",
        cors=True,
        request=DecideRequest,
        response=DecideResponse,
        query=_WRITE_KEY,
        consumes=_TEXT,
    ),
    Route(
        "POST",
        "/api/recommendations",
        decisions.recommendations,
        "decide",
        "Ranked product ids for a session told inline",
        access="write",
        cors=True,
        request=RecommendationsRequest,
        response=list[str] | RecommendationsAnswer,
        query={**_WRITE_KEY, "verbose": "`true` answers an object with reasons and the decision's id"},
        consumes=_TEXT,
    ),
    Route(
        "POST",
        "/ofrep/v1/evaluate/flags",
        ofrep.evaluate_all,
        "decide",
        "Every experiment, and the placements named in the context, as OpenFeature flags",
        access="write",
        cors=True,
        request=ofrep.FlagRequest,
        response=ofrep.Flags,
    ),
    Route(
        "POST",
        "/ofrep/v1/evaluate/flags/{key}",
        ofrep.evaluate,
        "decide",
        "An experiment or a placement as an OpenFeature flag",
        access="write",
        cors=True,
        request=ofrep.FlagRequest,
        response=Evaluation,
    ),
    Route(
        "POST",
        "/v1/experiments/{experiment_id}/stop",
        experiments.stop,
        "decide",
        "Stop a running experiment: everybody sees the placements as they are",
        access="campaigns",
        request=experiments.SwitchRequest,
        response=experiments.Switched,
        body_required=False,
    ),
    Route(
        "POST",
        "/v1/experiments/{experiment_id}/resume",
        experiments.resume,
        "decide",
        "Let a stopped experiment go on; people stay where they were",
        access="campaigns",
        request=experiments.SwitchRequest,
        response=experiments.Switched,
        body_required=False,
    ),
    Route(
        "GET",
        "/v1/decisions/{decision_id}",
        reads.decision,
        "decide",
        "A decision's record: inputs, scores, reasons, outcomes",
        access="people",
    ),
    Route(
        "GET",
        "/v1/groups/{identifier:path}",
        reads.group,
        "know",
        "An account or a household by `type:value`: its people, and their features as one",
        access="people",
    ),
    Route(
        "GET",
        "/v1/profiles/{identifier:path}",
        reads.profile,
        "know",
        "A person by `type:value`; a part by `/traits`, `/external_ids`, `/events`, `/metadata`, `/links`",
        access="people",
        query={
            "verbose": "`true` gives each trait with its source and time",
            "limit": "entries per answer of a part, 1 to 1,000",
            "next": "where the next page of a part begins",
        },
    ),
    *(
        Route(
            "POST",
            f"/v1/identity/{path}",
            handler,
            "identity",
            summary,
            access="identity",
            request=identity.Relink,
        )
        for path, handler, summary in (
            ("merge", identity.merge, "Join two identifiers by hand; a guard may put the link in quarantine"),
            ("unmerge", identity.unmerge, "Take two identifiers apart, whatever events say later"),
            ("reviews/accept", identity.accept, "Join two identifiers although a guard refuses"),
            ("reviews/reject", identity.reject, "Never join the two, whether or not anything does now"),
        )
    ),
    Route(
        "GET",
        "/v1/identity/reviews",
        identity.reviews,
        "identity",
        "Links in quarantine, newest first, with their evidence and both sides as they stand",
        access="identity",
        query={"limit": "links, 1 to 1,000"},
    ),
    Route(
        "GET",
        "/v1/identity/corrections",
        identity.corrections,
        "identity",
        "What was joined and taken apart by hand, by whom and why, newest first",
        access="identity",
        query={"limit": "corrections, 1 to 1,000; 500 are kept"},
    ),
    Route(
        "GET",
        "/v1/keys",
        access.keys,
        "access",
        "The keys besides the two that every folder has, newest first; without their secrets",
        access="administer",
    ),
    Route(
        "POST",
        "/v1/keys",
        access.create_key,
        "access",
        "A new key, by role or by scopes; the answer is the one time that it is shown",
        access="administer",
        request=access.NewKey,
        response=access.CreatedKey,
    ),
    Route(
        "POST",
        "/v1/keys/{key_id}/revoke",
        access.revoke_key,
        "access",
        "Refuse a key from now on",
        access="administer",
    ),
    Route(
        "GET",
        "/v1/audit",
        access.audit,
        "access",
        "Who read what about whom, and who changed what; newest first",
        access="audit",
        query={
            "limit": "entries, 1 to 1,000",
            "about": "only entries about this identifier, `type:value`",
            "did": "only actions that start like this",
        },
    ),
    Route(
        "GET",
        "/v1/accounting",
        reads.accounting,
        "account",
        "received = stored + duplicate + rejected + suppressed + filtered, by source",
        access="reports",
    ),
    Route(
        "GET",
        "/v1/dead-letters",
        reads.dead_letters,
        "account",
        "Events that could not be stored, and why",
        access="repair",
        response=DeadLetters,
        query={
            "cursor": "from the previous page",
            "limit": "letters per page, 1 to 1,000",
            "code": "only this reason code",
        },
    ),
    Route(
        "POST",
        "/v1/dead-letters/{letter_id}/replay",
        reads.replay,
        "account",
        "Try a dead letter again, as it came or as fixed in the body",
        access="repair",
        request=Fix,
        response=Replayed,
        body_required=False,
    ),
    Route(
        "POST",
        "/v1/dead-letters/{letter_id}/discard",
        reads.discard,
        "account",
        "Close a dead letter for good",
        access="repair",
        response=Replayed,
    ),
    Route(
        "POST",
        "/regulations",
        privacy.regulate,
        "privacy",
        "Erase people, by any of their identifiers, refuse what comes later, or both; and take it in again",
        access="privacy",
        request=privacy.RegulationRequest,
        response=privacy.Regulated,
    ),
    Route(
        "GET",
        "/v1/privacy/export/{identifier:path}",
        privacy.holdings,
        "privacy",
        "Everything that is held about the person with this `type:value`",
        access="privacy",
    ),
    Route(
        "POST",
        "/v1/privacy/rights",
        privacy.exercise,
        "privacy",
        "Put a trait right, restrict what is done with a person's data, object to uses; and take it back",
        access="privacy",
        request=privacy.RightsRequest,
    ),
    Route(
        "POST",
        "/v1/privacy/preference-link",
        privacy.preference_link,
        "privacy",
        "A link to a person's own page: what they allow, why they see what they see, their data",
        access="privacy",
        request=privacy.LinkRequest,
    ),
    Route(
        "GET",
        "/v1/privacy/anonymous",
        privacy.anonymous,
        "privacy",
        "People who refuse, counted with differential privacy; what of the budget is spent",
        access="reports",
    ),
    Route(
        "POST",
        "/v1/privacy/retention",
        retention.retire,
        "privacy",
        "Take out what is past its time, as privacy.yaml says; or say what would go",
        access="privacy",
        request=retention.RetentionRequest,
        body_required=False,
    ),
    Route(
        "GET",
        "/v1/privacy/retention",
        retention.state,
        "privacy",
        "What went last, and how long what is kept",
        access="privacy",
    ),
    Route(
        "GET",
        "/v1/privacy/rights/{identifier:path}",
        privacy.rights,
        "privacy",
        "What is restricted, objected to and put right for the person with this `type:value`",
        access="privacy",
    ),
    Route(
        "GET",
        "/regulations/{regulate_id}",
        privacy.regulation,
        "privacy",
        "How far an erasure has come, and its signed receipt",
        access="privacy",
        response=privacy.Regulated,
    ),
    Route("GET", "/health", probes.health, "operate", "The process answers", response=Health),
    Route("GET", "/ready", probes.ready, "operate", "Posts and decisions would succeed", response=Readiness),
    Route(
        "GET",
        "/metrics",
        probes.metrics,
        "operate",
        "Prometheus metrics",
        response=None,
        produces="text/plain",
    ),
    Route("GET", "/openapi.json", docs.openapi_json, "operate", "This document"),
    Route(
        "GET", "/docs", docs.page, "operate", "This document, for people", response=None, produces="text/html"
    ),
    Route(
        "GET",
        "/.well-known/gpc.json",
        probes.global_privacy_control,
        "operate",
        "Global Privacy Control is honoured here",
    ),
)
