"""privacy.yaml: what is sealed, what is sensitive, how long things are kept, what is counted."""

from __future__ import annotations

import msgspec

from opportune.config.definitions import parse
from opportune.privacy.anonymous import AnonymousRules
from opportune.privacy.retention import RetentionRules
from opportune.privacy.sensitive import Sensitive


class PrivacyPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``seal_journal``: entries about people are written sealed, each with a key of its leaf, so that erasure
    reaches every copy of the journal by destroying the key, and checkpoints with a key of the folder. What is
    sealed already can be read either way. ``sensitive`` is what may be used only where it says so,
    ``retention`` how long things are kept, ``anonymous`` how people who refuse are counted."""

    seal_journal: bool = True
    sensitive: tuple[Sensitive, ...] = ()
    retention: RetentionRules = RetentionRules()
    anonymous: AnonymousRules = AnonymousRules()


def parse_privacy(text: str) -> PrivacyPolicy:
    """Read ``privacy.yaml``. Raises :class:`InvalidDefinition`."""
    return parse(text, PrivacyPolicy, name="privacy.yaml")
