"""intents.yaml as events and features meet it."""

from __future__ import annotations

import pytest

from opportune.errors import InvalidDefinition
from opportune.events.event import Event
from opportune.profiles.definitions import default_features, parse_features
from opportune.profiles.intents.definitions import parse_intents, with_intents
from opportune.profiles.intents.reader import IntentReader

YAML = """
intents:
  - {name: price, examples: [is there a discount, cheapest tea pot, coupon for plates]}
  - {name: fit, examples: [which size should I take, the shoes are too tight, runs small]}
"""


def said(text="", name="chat_message_sent", context=None, query=""):
    return Event(
        "track", name, "m1", "web", 1, 1, ("user_id:u1",), query=query,
        properties={"text": text}, context=context or {},
    )  # fmt: skip


def test_searches_and_messages_get_their_intent():
    reader = IntentReader(parse_intents(YAML))
    chat, search = said("any discount today"), said(name="products_searched", query="shoes too tight")
    reader.stamp(chat)
    reader.stamp(search)
    assert (chat.context, search.context) == ({"intent": "price"}, {"intent": "fit"})


def test_other_events_unclear_texts_and_what_the_sender_said_stay_as_they_are():
    reader = IntentReader(parse_intents(YAML))
    untouched = [
        said("any discount", name="page_viewed"),
        said("zzz"),
        said("  "),
        said("any discount", context={"intent": "mine"}),
    ]
    for event in untouched:
        before = dict(event.context)
        reader.stamp(event)
        assert event.context == before


def test_the_sender_s_context_is_not_shared_with_other_events():
    context = {"page": "/"}
    first, second = said("any discount", context=context), said("zzz", context=context)
    IntentReader(parse_intents(YAML)).stamp(first)
    assert second.context == {"page": "/"}


def test_intents_add_features_that_a_workspace_may_replace():
    intents = parse_intents(YAML)
    added = with_intents(default_features(), intents).features[-2:]
    assert [(f.name, f.fold, f.value) for f in added] == [
        ("intents", "affinity", "context.intent"),
        ("last_intents", "last", "context.intent"),
    ]
    own = parse_features("features: [{name: intents, fold: count, event: products_searched}]")
    kept = [f for f in with_intents(own, intents).features if f.name == "intents"]
    assert [f.fold for f in kept] == ["count"]
    assert with_intents(own, parse_intents("intents: []")) is own


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "intents: [{name: Price, examples: [a, b, c]}]",
            r"not a name, or there twice, saw 'Price', at intents.yaml \$.intents\[0\].name: use a-z",
        ),
        (
            "intents: [{name: a, examples: [x, x, x]}, {name: b, examples: [x, y, z]}]",
            r"at least 3 different examples, saw 1, at intents.yaml \$.intents\[0\].examples: add texts",
        ),
        ("intents: [{name: a, examples: [x, y, z]}]", r"two intents or more.*saw '1 and 3'"),
        ("refuse: 0.9", r"refuse must be 0 to 0.5, saw 0.9, at intents.yaml \$.refuse"),
        ("texts: [category]", r"not of its products, saw 'category', at intents.yaml \$.texts\[0\]"),
        ("texts: [nonsense]", r"not a path in an event, saw 'nonsense'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text, message):
    with pytest.raises(InvalidDefinition, match=message):
        parse_intents(text)
