"""An erasure of the whole cluster: orders to every leaf, through the same topics as everything else."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from opportune.clock import Millis
from opportune.engine.erasing import Erasing, named
from opportune.engine.rights import Rights
from opportune.engine.turns import Turns
from opportune.events.event import Identifier
from opportune.privacy.order import Order
from opportune.profiles.leaf import Leaf
from opportune.stores.vault import Tombstone

if TYPE_CHECKING:
    from opportune.streams.engine import ClusterEngine
    from opportune.streams.mirror import Mirror

PAUSE_S = 0.05


def orders(order: Order, leaf_of: Callable[[Identifier], Leaf]) -> Iterator[Order]:
    """A copy for every leaf that has to do something: those who are meant, and, when they are erased, whoever
    is linked to them or shares a group."""
    yield from (msgspec.structs.replace(order, name=name) for name in order.members)
    if order.erases:
        near: dict[Identifier, None] = {}
        for name in order.members:
            leaf = leaf_of(name)
            near |= dict.fromkeys((*leaf.links, *leaf.groups, *leaf.members))
        for name in near:
            if name not in order.members:
                yield msgspec.structs.replace(order, name=name)


def order_of(engine: ClusterEngine | Mirror, identifiers: Sequence[str], **how: bool) -> Order:
    """Everybody whom the identifiers lead to. Raises :class:`InvalidRequest` for what names nobody."""
    found: dict[Identifier, None] = {}
    for identifier in identifiers:
        key = named(identifier)
        found |= dict.fromkeys((*engine.fresh_component(key).identifiers, key))
    members = tuple(found)
    return Order(secrets.token_hex(8), engine.clock(), members[0], members, **how)


def send(engine: ClusterEngine | Mirror, order: Order) -> None:
    """Durable in Kafka when it returns. Raises :class:`StorageError`."""
    for copy in orders(order, engine.state.leaf):
        engine.log.append(copy)
    engine.log.flush()


class ClusterErasing(Erasing):
    """:meth:`begin` sends the orders: workers, doors and deciders then forget by themselves, and ``derive``
    carries out the erasure of its own folder, with the receipt, when the order comes to it."""

    def __init__(
        self, engine: ClusterEngine | Mirror, identifiers: Sequence[str], *, suppress: bool = False
    ) -> None:
        super().__init__(engine, identifiers, suppress=suppress)
        self._cluster = engine
        self._asked = identifiers

    def begin(self) -> None:
        """Raises :class:`StorageError` when Kafka does not acknowledge or Redis does not say who is meant."""
        order = order_of(self._cluster, self._asked, suppress=self._suppress)
        order = msgspec.structs.replace(order, id=self.id)
        send(self._cluster, order)
        self._cluster.heard(order)

    def turns(self) -> Turns:
        """Nothing is left to do here."""
        return iter(())


class ClusterRights(Rights):
    """Keeping out and letting in again goes to every leaf and door too."""

    def __init__(self, engine: ClusterEngine | Mirror) -> None:
        super().__init__(engine)
        self._cluster = engine

    def suppress(self, identifiers: Sequence[str], *, lift: bool = False) -> Tombstone:
        """As :meth:`Rights.suppress`; whoever is let in again is who the identifiers lead to now. Raises
        :class:`StorageError` when Kafka does not acknowledge."""
        order = order_of(self._cluster, identifiers, erases=False, suppress=not lift, lifted=lift)
        send(self._cluster, order)
        self._cluster.heard(order)
        return stone_of(order, ())


def stone_of(order: Order, marks: tuple[str, ...]) -> Tombstone:
    """What a vault keeps of somebody who is kept out or let in again."""
    at: Millis = order.time
    return Tombstone(order.id, at, marks, erased=False, suppress=order.suppress, lifted=order.lifted)
