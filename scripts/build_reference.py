"""Writes docs/reference/ from the code: ``python scripts/build_reference.py``; ``--check`` only compares.

A test compares too, so that no command, route, setting, definition or metric is undocumented.
"""

from __future__ import annotations

import inspect
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
import yaml

from opportune import errors
from opportune.access.scopes import ROLES, names_of
from opportune.access.sign_in import SECRET_VARIABLE as OIDC_SECRET_VARIABLE
from opportune.access.sign_in import AccessRules, OpenId, RoleRule
from opportune.cli import options
from opportune.cli.app import every_command
from opportune.cli.definition_files import schemas
from opportune.decide import reasons
from opportune.decide.placement import (
    SOURCES,
    STAGES,
    Diversity,
    ExcludeBought,
    Filters,
    Names,
    Placement,
    PriceRange,
    Rule,
    Source,
    default_placements,
)
from opportune.events import ecommerce, envelope, identifiers, items, rejected, segment
from opportune.events import wire as event_wire
from opportune.events.plan import EventRule, TrackingPlan
from opportune.experiments.definitions import (
    Arm,
    Change,
    Experiment,
    Experiments,
    Factor,
    Guardrail,
    Holdout,
    Layer,
    Minimum,
    Ramp,
    Step,
    Switchback,
)
from opportune.experiments.metrics import Measure, Metric
from opportune.experiments.metrics import Metrics as MetricsFile
from opportune.identity.rules import IdentityRules
from opportune.identity.survivorship import Survivorship
from opportune.importing.events import FIELDS as EVENT_FIELDS
from opportune.importing.events import SHORT_NAMES
from opportune.importing.items import FIELDS as ITEM_FIELDS
from opportune.importing.orders import FIELDS as ORDER_FIELDS
from opportune.learn.scores import Score, ScoreSet
from opportune.privacy.anonymous import AnonymousRules
from opportune.privacy.policy import PrivacyPolicy
from opportune.privacy.retention import RetentionRules
from opportune.privacy.sensitive import Sensitive
from opportune.profiles.consent.policy import ConsentPolicy, Purpose
from opportune.profiles.definitions import Feature, FeatureSet, default_features
from opportune.profiles.intents.definitions import IntentExamples, IntentSet
from opportune.profiles.segments import Segment, SegmentSet
from opportune.server import auth, sessions, wire, writer
from opportune.server.body import BODY_LIMIT
from opportune.server.metrics import Metrics
from opportune.server.protocol import Patience
from opportune.server.rates import Rates
from opportune.server.routes import ROUTES, Route
from opportune.stores import vault

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reference"
NOTE = "<!-- Written by scripts/build_reference.py. Change the code, then run it again. -->"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


def prose(text: str | None) -> str:
    """A docstring as Markdown: double backticks become single ones, roles become code."""
    text = inspect.cleandoc(text or "")
    text = text.partition("\n>>>")[0]
    text = re.sub(r":(?:class|func|data|meth|mod|attr):`~?([^`]+)`", r"`\1`", text)
    return text.replace("``", "`").strip()


def first_line(text: str | None) -> str:
    return prose(text).partition("\n\n")[0].replace("\n", " ")


# -- the command line


def cli_page() -> str:
    parts = [
        "# Command line",
        NOTE,
        "`opportune COMMAND --help` says the same. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 "
        "interrupted. "
        "An error is one line on stderr: what, the value seen, where, and what to do; with `--json` it is "
        "the "
        "JSON error body.",
        table(
            ("command", "what it does"),
            [
                (f"[`{name}`](#opportune-{name.replace(' ', '-')})", first_line(one.help))
                for name, one in every_command()
            ],
        ),
    ]
    for name, one in every_command():
        parts += [f"## opportune {name}", prose(one.help).replace("\b\n", "")]
        parts.append(f"```\nopportune {name} {usage(one)}\n```")
        rows = [option_row(parameter) for parameter in one.params if isinstance(parameter, click.Option)]
        parts.append(table(("option", "", "default"), rows))
        examples = inspect.cleandoc(getattr(one, "examples", ""))
        parts.append("```bash\n" + examples + "\n```")
    return "\n\n".join(parts)


def usage(command: click.Command) -> str:
    context = click.Context(command)
    return " ".join(command.collect_usage_pieces(context))


def option_row(option: click.Option) -> tuple[str, str, str]:
    names = ", ".join(f"`{name}`" for name in option.opts)
    if not option.is_flag:
        kind = option.metavar or option.type.name.upper()
        if isinstance(option.type, click.Choice):
            kind = "\\|".join(map(str, option.type.choices))
        names += f" {kind}"
    meaning = option.help or ""
    if option.envvar:
        meaning += f" Environment: `{option.envvar}`."
    if option.required:
        meaning += " Needed."
    default = "" if option.is_flag or option.default in (None, "", ()) else str(option.default)
    return names, meaning, default if "UNSET" not in default.upper() else ""


# -- HTTP


def http_page() -> str:
    said = errors_said()
    parts = [
        "# HTTP API",
        NOTE,
        "The same as an OpenAPI document: `GET /openapi.json`, for people at `GET /docs`.",
        "Keys: `Authorization: Basic base64(key:)`, `Authorization: Bearer key`, `X-API-Key: key`; where a "
        "page or "
        "a pixel cannot send a header, `writeKey` in the body or the query. The *write* key is public: it "
        "captures "
        "and decides. The *secret* key does everything. Others are made with `opportune keys create`, in a "
        "role or with scopes:",
        table(
            ("role", "scopes"),
            [(role.value, ", ".join(names_of(scopes))) for role, scopes in ROLES.items()],
        ),
        "Errors are JSON: `code` and `message` always, `seen`, `where` (a JSON path) and `remedy` where "
        "known.",
        table(
            ("status", "code", "when"),
            [(e.status, f"`{e.code}`", said.get(e.__name__) or words(e.__name__)) for e in error_tree()],
        ),
    ]
    for tag in dict.fromkeys(route.tag for route in ROUTES):
        parts.append(f"## {tag.capitalize()}")
        rows = [
            (f"`{route.method} {route.path}`", route.summary, route.access)
            for route in ROUTES
            if route.tag == tag
        ]
        parts.append(table(("route", "what", "scope"), rows))
        for route in (r for r in ROUTES if r.tag == tag and r.query):
            if is_first_of_kind(route):
                listed = [(f"`{name}`", meaning) for name, meaning in route.query.items()]
                parts += [f"Query of `{route.path}`" + (" and its like:" if route.tag == "capture" else ":")]
                parts.append(table(("parameter", "meaning"), listed))
    parts += ["## Bodies", "Fields as they stand on the wire; `?` may be left out."]
    for shape in wire_shapes():
        parts += [f"### {shape.__name__}", prose(shape.__doc__), struct_table(shape)]
    return "\n\n".join(parts)


def errors_said() -> dict[str, str]:
    """What the tree in the head of ``errors.py`` says of each error."""
    drawn = re.findall(r"[|`]-+ *(\w+) +(?:\d{3} +)?(.+)", errors.__doc__ or "")
    return {name: prose(text) for name, text in drawn}


def words(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).capitalize()


def error_tree() -> list[type[errors.OpportuneError]]:
    found = [
        one
        for one in vars(errors).values()
        if isinstance(one, type)
        and issubclass(one, errors.OpportuneError)
        and one is not errors.OpportuneError
    ]
    return sorted(found, key=lambda one: (one.status, one.code))


def is_first_of_kind(route: Route) -> bool:
    return next(r for r in ROUTES if r.tag == route.tag and r.query == route.query) is route


def wire_shapes() -> list[type]:
    """Request and answer shapes, in the order in which the routes mention them, and what they are made of."""
    found: dict[type, None] = {}

    def add(kind: Any) -> None:
        for argument in getattr(kind, "__args__", ()):
            add(argument)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in found:
            found[kind] = None
            for field in msgspec.structs.fields(kind):
                add(field.type)

    for route in ROUTES:
        add(route.request)
        add(route.response)
    add(wire.ErrorBody)
    return list(found)


def struct_table(kind: type) -> str:
    rows = []
    for field in msgspec.structs.fields(kind):
        optional = "" if field.required else "?"
        rows.append((f"`{field.encode_name}`{optional}", f"`{type_name(field.type)}`", default_of(field)))
    return table(("field", "type", "default"), rows)


def type_name(kind: Any) -> str:
    text = kind.__name__ if isinstance(kind, type) and not hasattr(kind, "__args__") else str(kind)
    text = re.sub(r"typing\.|collections\.abc\.|opportune\.(?:\w+\.)+|msgspec\.|NoneType", lambda m: "", text)
    annotated = re.fullmatch(r"Annotated\[(.+?), Meta\((.*)\)\]", text)
    if annotated:
        text = f"{annotated[1]} ({annotated[2]})"
    return re.sub(r"Annotated\[(\w+), Meta\(([^)]*)\)\]", r"\1 (\2)", text)


def default_of(field: Any) -> str:
    if field.required:
        return ""
    has_factory = field.default_factory is not msgspec.NODEFAULT
    value = field.default_factory() if has_factory else field.default
    if value is msgspec.UNSET:
        return ""
    if isinstance(value, msgspec.Struct):
        return "see below" if msgspec.structs.fields(type(value)) else ""
    if value in ("", (), [], {}, None):
        return "" if value is None else f"`{value!r}`" if value == "" else ""
    if isinstance(value, float) and value == float("inf"):
        return "no limit"
    return f"`{yaml_of(value)}`"


def yaml_of(value: Any) -> str:
    return (
        yaml.safe_dump(msgspec.to_builtins(value), default_flow_style=True, width=10_000)
        .strip()
        .removesuffix("...")
        .strip()
    )


# -- definitions


def definitions_page() -> str:
    parts = [
        "# Definitions",
        NOTE,
        "A workspace is a folder with the files below; each may be missing, and its defaults hold. "
        "`opportune init "
        "FOLDER` writes them commented, with the JSON Schemas that editors complete them with (`opportune "
        "schema "
        "NAME` prints one). A file is checked when the engine opens: an error names the file, the path in "
        "it, the "
        "value seen, and what to do. Nothing in a definition is evaluated as code.",
        table(("file", "what it defines"), [(f"`{name}.yaml`", what) for name, what in FILES.items()]),
    ]
    for name, kinds in SHAPES.items():
        parts.append(f"## {name}.yaml")
        for kind in kinds:
            parts += [f"### {kind.__name__}", prose(kind.__doc__), struct_table(kind)]
    missing = set(schemas()) - set(SHAPES)
    assert not missing, f"say what is in {missing}"
    return "\n\n".join(parts)


FILES = {
    "features": "what is known about people, sessions and items; see [features](features.md)",
    "placements": "what decisions can be asked for; see [placements](placements.md)",
    "tracking_plan": "what each event should look like, and whether one that does not is noted or refused",
    "identity": "what may join two identifiers into one person",
    "intents": "what searches and chat lines may be after; see [read intents](../how-to/read-intents.md)",
    "segments": "who belongs to which audience, as conditions on features",
    "scores": "learnt models as features; see [predict who buys](../how-to/predict-who-buys.md)",
    "experiments": "what is tried, on whom, and how it is judged",
    "consent": "what people are asked for, what each answer allows, and what silence means where",
    "metrics": "what experiments measure",
    "privacy": "what is sealed; see [erase a person](../how-to/erase-a-person.md)",
    "access": "who else may sign in to the console; see [give access](../how-to/give-access.md)",
}
SHAPES: dict[str, tuple[type, ...]] = {
    "features": (FeatureSet, Feature),
    "placements": (Placement, Source, Filters, ExcludeBought, Names, PriceRange, Rule, Diversity),
    "tracking_plan": (TrackingPlan, EventRule),
    "identity": (IdentityRules, Survivorship),
    "intents": (IntentSet, IntentExamples),
    "segments": (SegmentSet, Segment),
    "scores": (ScoreSet, Score),
    "experiments": (
        Experiments,
        Experiment,
        Arm,
        Change,
        Factor,
        Ramp,
        Step,
        Switchback,
        Guardrail,
        Minimum,
        Holdout,
        Layer,
    ),
    "consent": (ConsentPolicy, Purpose),
    "privacy": (PrivacyPolicy, Sensitive, RetentionRules, AnonymousRules),
    "metrics": (MetricsFile, Metric, Measure),
    "access": (AccessRules, OpenId, RoleRule),
}


def features_page() -> str:
    rows = []
    for feature in default_features().features:
        about = ", ".join(feature.events) or "every event"
        what = feature.value + (f", half-life {feature.half_life}" if feature.half_life else "")
        rows.append(
            (feature.entity, f"`{feature.name}`", feature.fold, about, what, ", ".join(feature.outputs))
        )
    return "\n\n".join(
        [
            "# Features",
            NOTE,
            "The features that every workspace starts with. What `features.yaml` declares is added to "
            "them; a feature "
            "of the same entity and name replaces one; `extends: nothing` starts empty. How to write one: "
            "[how-to](../how-to/write-a-feature.md).",
            table(("of", "feature", "fold", "about", "value", "read as"), rows),
        ]
    )


def placements_page() -> str:
    parts = [
        "# Placements",
        NOTE,
        "The placements that every workspace starts with, the candidate sources they may use, and the "
        "reasons that "
        "answers carry. How to write one: [how-to](../how-to/write-a-placement.md).",
        table(
            ("placement", "title", "count", "sources (weight)", "fallbacks"),
            [
                (
                    f"`{p.name}`",
                    p.title,
                    p.count,
                    ", ".join(f"{s.source} ({s.weight:g})" for s in p.sources),
                    ", ".join(p.fallbacks),
                )
                for p in default_placements(SOURCES)
            ],
        ),
        "## Candidate sources",
        table(
            ("source", "what it proposes"), [(f"`{name}`", SOURCE_WORDS[name]) for name in sorted(SOURCES)]
        ),
        "`given` keeps the order of the request's own `candidates`; `newest`, a fallback, is what "
        "the catalogue listed last, and `default` the placement's `default_items`.",
        "## Stages",
        "A decision runs through "
        + ", ".join(f"`{stage}`" for stage in STAGES)
        + ". `took_ms` in the answer has "
        "one entry per stage that ran; `degraded` names the ones that failed, were late, or found too "
        "little.",
        "## Reasons",
        "A placement's `reasons` replace the texts.",
        table(("code", "text"), [(f"`{code}`", text) for code, text in reasons.TEXTS.items()]),
    ]
    return "\n\n".join(parts)


SOURCE_WORDS = {
    "sequence": "where a trained sequence model sees the session going (self-attention); proposes nothing "
    "until `opportune train --model sequence` was made live",
    "factors": "what matrix factorization puts near the session (implicit ALS); proposes nothing until "
    "`opportune train --model factors` was made live",
    "microsegments": "what is popular among sessions of the same kind (k-means); proposes nothing until "
    "`opportune train --model microsegments` was made live",
    "attributes": "what is most touched among items of the categories, brands and price bands of the "
    "session; learns only where a placement names it",
    "content_meaning": "items whose descriptions mean what the session's do, in whatever words; needs the "
    "extra `text`, and encodes the catalogue once, at 6 ms an item, where a placement names it",
    "most_bought": "what is bought most, half of the weight lost every 30 days",
    "session_knn": "what the sessions most like this one went on to (VMIS-kNN, SIGMOD 2022)",
    "covisitation": "what is viewed or bought together with the items of this session",
    "content": "items whose name, category and brand are like the session's: works for items nobody has "
    "touched",
    "trending": "what has gained most lately",
    "popular": "what is touched most, older touches counting less",
    "popular_in_category": "the same within the category of the page",
}


# -- events


def events_page() -> str:
    return "\n\n".join(
        [
            "# Events",
            NOTE,
            "## E-commerce events",
            "These are typed: their products become lines, their money becomes `value`. Any other event is "
            "kept as it "
            "came, and features can be about it.",
            table(
                ("event", "canonical name", "touches its items as", "other spellings"),
                [
                    (
                        title,
                        f"`{name}`",
                        ecommerce.interaction(name) or "",
                        ", ".join(f"`{alias}`" for alias, of in ecommerce.ALIASES.items() if of == name),
                    )
                    for title, name in ecommerce.SPECIFIED.items()
                ],
            ),
            "## Identifiers",
            "From strongest to weakest; the strongest one that an event carries names the leaf that it is "
            "folded into. "
            "`external` stands for every type of `context.externalIds`.",
            ", ".join(f"`{kind}`" for kind in identifiers.ORDER),
            "These values name nobody, in any case of letters, and so does any run of zeros:",
            ", ".join(f"`{value}`" for value in sorted(identifiers.BLOCKED) if value),
            "## Why an event is rejected",
            "A rejected event is a dead letter with one of these codes, the reason in words, and a JSON "
            "path.",
            ", ".join(f"`{code}`" for code in rejected.CODES),
            "## Columns that import finds",
            "Case, blanks and punctuation do not matter: `Customer ID` is `customerid`. `--map "
            "COLUMN=FIELD` names "
            "others.",
            *(
                part
                for title, fields in (
                    ("Events", EVENT_FIELDS),
                    ("Orders", ORDER_FIELDS),
                    ("Items", ITEM_FIELDS),
                )
                for part in (
                    f"### {title}",
                    table(
                        ("field", "columns, the surest first"),
                        [
                            (f"`{field}`", ", ".join(f"`{name}`" for name in names))
                            for field, names in fields.items()
                        ],
                    ),
                )
            ),
            "Short event names in such files: "
            + ", ".join(f"`{k}` ({v})" for k, v in SHORT_NAMES.items())
            + ".",
        ]
    )


# -- operation


def metrics_page() -> str:
    from opportune import Engine

    with tempfile.TemporaryDirectory() as folder, Engine.open(folder) as engine:
        metrics = Metrics()
        metrics.gauges["writer_queue_events"] = lambda: 0.0
        metrics.gauges["ready"] = lambda: 1.0
        metrics.engine_gauges = engine.gauges
        families = sorted(metrics.collect(), key=lambda family: family.name)
    rows = []
    for family in families:
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = ", ".join(f"`{label}`" for label in getattr(family, "_labelnames", ()))
        rows.append((f"`{name}`", family.type, labels, family.documentation))
    return "\n\n".join(
        [
            "# Metrics",
            NOTE,
            "`GET /metrics` in the Prometheus format, open on purpose. Labels are bounded: never a person, "
            "never an "
            "item. Beside these, `opportune_process_*` (CPU, memory, open files).",
            table(("metric", "type", "labels", "what"), rows),
        ]
    )


def configuration_page() -> str:
    settings = [
        (
            f"`{auth.WRITE_KEY_VARIABLE}`",
            "the public key; without it one is made and kept in the data folder",
        ),
        (f"`{auth.SECRET_KEY_VARIABLE}`", "the secret key; likewise"),
        (
            f"`{sessions.PASSWORD_VARIABLE}`",
            f"a password for the console, for the name `{sessions.OWNER}`; others are added with "
            "`opportune users add`",
        ),
        (f"`{OIDC_SECRET_VARIABLE}`", "the client's secret at the OpenID provider of `access.yaml`"),
        (f"`{options.DATA_DIR_VARIABLE}`", "the data folder of commands, for `--data-dir`"),
        (
            f"`{vault.VARIABLE}`",
            "the vault's master key, 64 hexadecimal digits, instead of a file in the vault",
        ),
        (f"`{options.WORKSPACE_VARIABLE}`", "the folder with the definitions, for `--workspace`"),
        (f"`{options.URL_VARIABLE}`", "a running server that commands talk to, for `--to`"),
        (f"`{options.KEY_VARIABLE}`", "the key they use there, for `--key`"),
    ]
    limits = [
        ("one event", f"{segment.MAX_EVENT_BYTES:,} bytes"),
        ("one body, before and after unpacking", f"{BODY_LIMIT:,} bytes"),
        ("events in a batch", f"{envelope.MAX_BATCH_ITEMS:,}"),
        ("nesting of an event", f"{event_wire.MAX_DEPTH} levels"),
        (
            "a message id",
            f"under {segment.MESSAGE_ID_CHARS} characters; a longer one is replaced by its digest",
        ),
        ("events waiting for the disk before posts get 429", f"{writer.QUEUE_LIMIT:,}"),
        ("an item of the catalogue", f"{items.MAX_ITEM_BYTES:,} bytes"),
        ("de-duplication by source and message id", "exact for at least seven days after arrival"),
    ]
    patience = [
        (f"`{f.name}`", f"{f.default:g} s" if "_s" in f.name else f.default) for f in fields_of(Patience)
    ]
    options_of = {
        "key_per_s": "--key-rate",
        "address_per_s": "--address-rate",
        "burst_s": "--rate-burst",
        "proxies": "--proxies",
    }
    rates = [(f"`{f.name}`", f"{f.default:g}", f"`{options_of[f.name]}`") for f in fields_of(Rates)]
    return "\n\n".join(
        [
            "# Configuration",
            NOTE,
            "There is little to configure. What the engine does is in [definitions](definitions.md); where "
            "it runs is "
            "in the options of [`opportune serve`](cli.md#opportune-serve) and in the environment:",
            table(("variable", "meaning"), settings),
            "## Limits",
            table(("what", "limit"), limits),
            "## Patience with clients",
            prose(Patience.__doc__),
            table(("limit", "value"), patience),
            "## Rates of clients",
            prose(Rates.__doc__),
            table(("rate", "default", "option of [`opportune serve`](cli.md#opportune-serve)"), rates),
            "Who asks for more is answered 429 `rate_limited`, with `Retry-After` in whole seconds, and "
            'counted as `opportune_http_refused_total{code="rate_limited"}`.',
            "## The data folder",
            table(
                ("file", "what"),
                [
                    ("`FORMAT`", "which format of data folder this is; an older version refuses a newer one"),
                    ("`journal/`", "every acknowledged event, decision record and dead letter, append-only"),
                    ("`archive/`", "journal segments that every fold has passed"),
                    ("`state/`", "checkpoints of folded state; can always be rebuilt from the journal"),
                    ("`vault/`", "the keys that seal the journal, tombstones, receipts; not in backups"),
                    ("`SEALED`", "which vault sealed the journal"),
                    ("`derived/`", "tables for reports, which follow the journal"),
                    ("`keys.json`", "the keys that were made at the first start (mode 0600)"),
                    ("`access.json`", "other keys and who may sign in, as hashes (mode 0600)"),
                    ("`audit/`", "who read what about whom and who changed what, each entry sealed"),
                    ("`imports/`", "how far each imported file has come"),
                ],
            ),
        ]
    )


def fields_of(kind: type) -> Sequence[Any]:
    return msgspec.structs.fields(kind)


PAGES: dict[str, Callable[[], str]] = {
    "cli.md": cli_page,
    "http-api.md": http_page,
    "definitions.md": definitions_page,
    "features.md": features_page,
    "placements.md": placements_page,
    "events.md": events_page,
    "metrics.md": metrics_page,
    "configuration.md": configuration_page,
}


def pages() -> dict[Path, str]:
    """Every generated page by its path."""
    return {FOLDER / name: page() + "\n" for name, page in PAGES.items()}


def main(arguments: Sequence[str]) -> int:
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text() != text]
    if "--check" in arguments:
        for path in stale:
            print(
                f"{path.relative_to(ROOT)} is not what the code says: run python scripts/build_reference.py"
            )
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(pages()[path])
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
