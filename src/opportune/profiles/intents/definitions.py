"""intents.yaml: what searches and chat lines may be after, in the words of those who ask."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from opportune.config.definitions import parse
from opportune.errors import InvalidDefinition
from opportune.profiles.definitions import Feature, FeatureSet
from opportune.profiles.paths import getter, is_line_path

MAX_EXAMPLES = 20_000
FEWEST_EXAMPLES = 3
PATH = "context.intent"
"""Where the event keeps the intent that was read from its text, once it is admitted."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")


class IntentExamples(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One intent: its name, and at least three texts that have it. Ten or more serve better."""

    name: str
    examples: tuple[str, ...]
    description: str = ""


class IntentSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file. ``events`` carry text at one of the ``texts`` (the first that is there is read).
    ``vectors``: ``auto`` understands meaning where the extra ``text`` is installed and goes by words where it
    is not, ``never`` goes by words, ``always`` insists. ``refuse``: the share of texts with a known intent
    that may be called out of scope, 0 to 0.5."""

    intents: tuple[IntentExamples, ...] = ()
    events: tuple[str, ...] = ("products_searched", "Chat Message Sent", "chat_message_sent")
    texts: tuple[str, ...] = ("query", "properties.text", "properties.message")
    vectors: Literal["auto", "always", "never"] = "auto"
    refuse: float = 0.01


def parse_intents(text: str, *, name: str = "intents.yaml") -> IntentSet:
    """Read and check intents.yaml. Raises :class:`InvalidDefinition` with the path and a remedy."""
    given = parse(text, IntentSet, name=name)
    names: set[str] = set()
    total = 0
    for i, intent in enumerate(given.intents):
        where = f"{name} $.intents[{i}]"
        if not _NAME.match(intent.name) or intent.name in names:
            raise InvalidDefinition(
                "not a name, or there twice",
                seen=intent.name,
                where=f"{where}.name",
                remedy="use a-z, 0-9 and _, a letter first, each name once",
            )
        names.add(intent.name)
        total += len(intent.examples)
        if len(set(intent.examples)) < FEWEST_EXAMPLES:
            raise InvalidDefinition(
                f"an intent needs at least {FEWEST_EXAMPLES} different examples",
                seen=len(set(intent.examples)),
                where=f"{where}.examples",
                remedy="add texts as people write them",
            )
    if len(given.intents) == 1 or total > MAX_EXAMPLES:
        raise InvalidDefinition(
            f"there must be two intents or more, and at most {MAX_EXAMPLES} examples in all",
            seen=f"{len(given.intents)} and {total}",
            where=f"{name} $.intents",
            remedy="an intent is told from others, so name at least one other",
        )
    if not 0 <= given.refuse <= 0.5:
        raise InvalidDefinition(
            "refuse must be 0 to 0.5", seen=given.refuse, where=f"{name} $.refuse", remedy="0.01 is usual"
        )
    for i, path in enumerate(given.texts):
        getter(path, f"{name} $.texts[{i}]")
        if is_line_path(path):
            raise InvalidDefinition(
                "a text is a part of the event, not of its products",
                seen=path,
                where=f"{name} $.texts[{i}]",
                remedy="use query or properties.<name>",
            )
    return given


def with_intents(features: FeatureSet, intents: IntentSet) -> FeatureSet:
    """The features, and what people were after lately, as an affinity and as the last three; one that the
    workspace declares under the same name stands."""
    if not intents.intents:
        return features
    known = {(f.entity, f.name) for f in features.features}
    added = (
        Feature(
            name="intents", fold="affinity", event=intents.events, value=PATH, half_life="1d",
            description="What searches and messages were after, fading by half in a day",
        ),
        Feature(
            name="last_intents", fold="last", event=intents.events, value=PATH, n=3,
            description="What the newest searches and messages were after",
        ),
    )  # fmt: skip
    return FeatureSet(
        (*features.features, *(f for f in added if (f.entity, f.name) not in known)), features.extends
    )
