"""What somebody says by hand: admissions that no event brought."""

from __future__ import annotations

import secrets
from typing import Literal

from opportune.engine.admission import Admission, tally
from opportune.engine.entries import Entry
from opportune.engine.intake import Intake
from opportune.events import dead_letters, verdicts
from opportune.events.accounting import replayed
from opportune.events.dedupe import digest
from opportune.events.event import DeadLetter, Event, Resolved
from opportune.events.rejected import Rejected
from opportune.events.verdicts import Verdict
from opportune.experiments.switch import Switch
from opportune.identity.corrections import CORRECTIONS, EVENT_OF, Action, correction

MAX_WHY = 500
"""Characters kept of why an experiment was stopped."""


class ByHand(Intake):
    """Each method makes an admission; :meth:`commit` (or a group of posts) makes it durable and effective."""

    def switch_experiment(self, experiment_id: str, action: Literal["stop", "resume"], why: str) -> Admission:
        """Stop a running experiment, or let it go on; :meth:`commit` makes it durable and effective.

        Everybody then sees the placements as they are; who was exposed stays known. Raises
        :class:`NotFound`.
        """
        experiment = self.workspace.experiments.get(experiment_id)
        return Admission([], [Switch(experiment.id, action, why[:MAX_WHY], self.clock())])

    def relink(self, a: str, b: str, action: Action, *, who: str, why: str = "") -> Admission:
        """Join two identifiers by hand (``confirm``: although a guard refuses), or take them apart
        (``reject``: also two that nothing joins, so that nothing will); :meth:`commit` makes it durable and
        effective, and :meth:`together` then says what came of it.

        Raises :class:`InvalidRequest` for what cannot be meant: an identifier that names nobody, a person
        with themselves, taking apart what nothing joins, or what is joined by other links than their own.
        """
        first, second = correction(a, b, action, self.together(a, b))
        now = self.clock()
        event = Event(
            "track",
            EVENT_OF[action],
            secrets.token_hex(16),
            CORRECTIONS,
            now,
            now,
            (first, second),
            properties={"who": who, "why": why[:MAX_WHY]},
        )
        found = [Verdict(0, event.message_id, verdicts.STORED)]
        marks = [digest(event.source, event.message_id)]
        return Admission(found, [event, tally(CORRECTIONS, found)], marks, now)

    def replay_dead_letter(self, letter_id: str, fixed: bytes | None = None) -> Admission:
        """Admit a dead letter again, as it came or fixed; :meth:`commit` makes it durable.

        Raises :class:`NotFound`. When it is stored now, or is a duplicate, the letter is closed; when it is
        refused again it stays, with the new reason.
        """
        before = self.letter(letter_id)
        raw = before.raw if fixed is None else fixed
        admission = self.admit(
            [raw], kind=None, dialect=before.dialect, source=before.source, received=before.received
        )
        entry, verdict = admission.entries[0], admission.verdicts[0]
        if isinstance(entry, DeadLetter):
            again = Rejected(entry.code, entry.reason, entry.where)
            admission.entries = [dead_letters.refused_again(before, raw, again)]
            verdict.letter_id = letter_id
        else:
            stored: list[Entry] = [entry] if isinstance(entry, Event) else []
            closed = Resolved(letter_id, dead_letters.REPLAYED, self.clock())
            admission.entries = [*stored, closed, replayed(before.source, verdict.verdict)]
        return admission

    def discard_dead_letter(self, letter_id: str) -> Admission:
        """Close a dead letter without storing it; :meth:`commit` makes it durable."""
        before = self.letter(letter_id)
        return Admission(
            [Verdict(0, None, verdicts.REJECTED, before.code, before.reason, before.where, letter_id)],
            [Resolved(letter_id, dead_letters.DISCARDED, self.clock())],
        )
