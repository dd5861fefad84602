"""The definition files of a workspace: their JSON Schemas, and what a new workspace starts with."""

from __future__ import annotations

from importlib import resources
from typing import Any

NAMES = (
    "features",
    "placements",
    "tracking_plan",
    "identity",
    "intents",
    "segments",
    "scores",
    "experiments",
    "consent",
    "metrics",
    "privacy",
    "access",
)
SCHEMA_FOLDER = "schemas"


def schemas() -> dict[str, dict[str, Any]]:
    """Name -> JSON Schema, as editors read it."""
    from opportune.access.sign_in import AccessRules
    from opportune.config.definitions import json_schema
    from opportune.decide.placement import placements_schema
    from opportune.events.plan import plan_schema
    from opportune.experiments.definitions import Experiments
    from opportune.experiments.metrics import Metrics
    from opportune.identity.rules import IdentityRules
    from opportune.learn.scores import ScoreSet
    from opportune.privacy.policy import PrivacyPolicy
    from opportune.profiles.consent.policy import ConsentPolicy
    from opportune.profiles.definitions import FeatureSet
    from opportune.profiles.intents.definitions import IntentSet
    from opportune.profiles.segments import SegmentSet

    found = {
        "features": json_schema(FeatureSet),
        "placements": placements_schema(),
        "tracking_plan": plan_schema(),
        "identity": json_schema(IdentityRules),
        "intents": json_schema(IntentSet),
        "segments": json_schema(SegmentSet),
        "scores": json_schema(ScoreSet),
        "experiments": json_schema(Experiments),
        "consent": json_schema(ConsentPolicy),
        "privacy": json_schema(PrivacyPolicy),
        "metrics": json_schema(Metrics),
        "access": json_schema(AccessRules),
    }
    return {
        name: {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"{name}.yaml", **schema}
        for name, schema in found.items()
    }


def starter(name: str) -> str:
    """The text of a new definition file: the shipped placements to edit, or a commented empty file. Its first
    line tells editors where the schema is."""
    if name == "placements":
        text = resources.files("opportune.decide").joinpath("defaults.yaml").read_text(encoding="utf-8")
        _, _, body = text.partition("\n")
        text = (
            "# What decisions can be asked for. These are the shipped placements: change, add, remove.\n"
            + body
        )
    else:
        text = resources.files("opportune.cli").joinpath(f"templates/{name}.yaml").read_text(encoding="utf-8")
    return f"# yaml-language-server: $schema={SCHEMA_FOLDER}/{name}.schema.json\n{text}"
