"""The vault: the keys that seal the journal, and what was erased. Backups leave it out.

``vault/master`` wraps the keys, unless ``OPPORTUNE_VAULT_KEY`` does. ``vault/keys-000000`` holds 4,096 random
keys, made before they are needed, so that a key is always on disk before an entry is sealed with it and no
commit waits for one. Which leaf has which key stands in the entries themselves; the vault knows numbers only.
``vault/erased.jsonl`` has a line per erasure: keyed hashes of identifiers, never the identifiers.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from itertools import count

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from opportune.clock import Millis
from opportune.errors import Corrupt, InvalidDefinition, NotFound
from opportune.stores.disk import Disk, read_all, write_whole

FOLDER = "vault"
MASTER = f"{FOLDER}/master"
MARK = "SEALED"
BACKUP_KEY = f"{FOLDER}/backup-key"
ERASED = f"{FOLDER}/erased.jsonl"
VARIABLE = "OPPORTUNE_VAULT_KEY"
KEY_BYTES = 32
BLOCK = 4_096
"""Keys in a file. A new file costs two flushes, once in so many new leaves."""
_ZERO = bytes(KEY_BYTES)
_BLOCKS_HELD = 256


class Tombstone(msgspec.Struct, frozen=True, omit_defaults=True):
    """``marks`` are keyed hashes of identifiers in hexadecimal; what they name and what was received up to
    ``at`` is gone. ``suppress``: whatever comes later is refused as well, until a later line with
    ``lifted``. ``slots`` are the keys that were destroyed; ``before`` is the
    number of the journal's first entry that is somebody new, 0 where that is not known."""

    id: str
    at: Millis
    marks: tuple[str, ...]
    erased: bool = True
    suppress: bool = False
    lifted: bool = False
    slots: tuple[int, ...] = ()
    before: int = 0


class Vault:
    """Keys by slot. One thread at a time. Memory: 128 kB for 4,096 keys in use, at most 32 MB."""

    def __init__(self, disk: Disk, environment: Mapping[str, str] | None = None) -> None:
        """Open the folder's vault, or make one. Raises NotFound (no vault, and the disk is read-only),
        Corrupt (the wrong master key), InvalidDefinition."""
        self._disk = disk
        master = _master(disk, os.environ if environment is None else environment)
        self._wrap = AESGCM(master)
        self._pseudonym_key = _derived(master, b"pseudonyms")
        self.signing_key = _derived(master, b"receipts")
        self.row_key = _derived(master, b"rows")
        self.state_key = _derived(master, b"state")
        self.proposals_key = _derived(master, b"proposals")
        self.id = _derived(master, b"id").hex()[:16]
        self._blocks: dict[int, bytearray] = {}
        self._count = len([name for name in disk.list(FOLDER) if name.startswith("keys-")])
        self._next = 0
        self.tombstones: list[Tombstone] = _read_tombstones(disk)
        if not disk.read_only and not disk.exists(BACKUP_KEY):
            self.renew_backup_key()
        self.erased_at: dict[bytes, Millis] = {}
        self.suppressed: set[bytes] = set()
        for stone in self.tombstones:
            self._bury(stone)

    @staticmethod
    def exists(disk: Disk) -> bool:
        return any(name.startswith("keys-") or name == "master" for name in disk.list(FOLDER))

    # -- keys

    def key(self, slot: int) -> bytes | None:
        """The key of a slot, None when it is destroyed. Raises Corrupt when the vault never had it."""
        block = self._block(slot // BLOCK)
        at = slot % BLOCK * KEY_BYTES
        key = bytes(block[at : at + KEY_BYTES])
        return None if key == _ZERO else key

    def take(self) -> int:
        """A slot that was never used. Writes a file of new keys when none is left."""
        while True:
            slot = self._next
            if slot // BLOCK >= self._count:
                self.extend()
            self._next = slot + 1
            if self.key(slot) is not None:
                return slot

    def used(self, slot: int) -> None:
        """An entry was sealed with this slot: it is taken."""
        if slot >= self._next:
            self._next = slot + 1

    @property
    def next_slot(self) -> int:
        return self._next

    @property
    def spare(self) -> int:
        """Keys that are ready for new leaves."""
        return self._count * BLOCK - self._next

    def extend(self) -> None:
        """Make and write 4,096 keys more: 1 ms and two flushes."""
        number = self._count
        self._blocks[number] = block = bytearray(secrets.token_bytes(BLOCK * KEY_BYTES))
        self._write(number, block)
        self._count = number + 1

    def destroy(self, slots: Iterable[int]) -> None:
        """Overwrite keys; when this returns, no file of the folder has them."""
        touched: set[int] = set()
        for slot in slots:
            block = self._block(slot // BLOCK)
            at = slot % BLOCK * KEY_BYTES
            if block[at : at + KEY_BYTES] != _ZERO:
                block[at : at + KEY_BYTES] = _ZERO
                touched.add(slot // BLOCK)
        for number in sorted(touched):
            self._write(number, self._blocks[number])

    @staticmethod
    def by_file(slots: Iterable[int]) -> list[list[int]]:
        """The slots of one file together: each file takes two flushes."""
        found: dict[int, list[int]] = {}
        for slot in slots:
            found.setdefault(slot // BLOCK, []).append(slot)
        return list(found.values())

    def finish_destroying(self) -> None:
        """A crash may have come between a tombstone and the keys that it lists."""
        self.destroy({slot for stone in self.tombstones for slot in stone.slots})

    def check(self) -> None:
        """Read every file of keys. Raises Corrupt. O(keys)."""
        for number in range(self._count):
            self._read(number)

    def _block(self, number: int) -> bytearray:
        block = self._blocks.get(number)
        if block is None:
            if len(self._blocks) >= _BLOCKS_HELD:
                del self._blocks[next(iter(self._blocks))]
            block = self._blocks[number] = self._read(number)
        return block

    def _read(self, number: int) -> bytearray:
        name = _name(number)
        where = f"{self._disk.name}/{name}"
        try:
            data = read_all(self._disk, name)
        except NotFound as error:
            raise Corrupt(
                "the vault has no such key: it is older than this journal, or another one",
                where=where,
                remedy="put the vault that belongs to this folder into its place",
            ) from error
        try:
            return bytearray(self._wrap.decrypt(data[:12], data[12:], name.encode()))
        except (InvalidTag, ValueError) as error:
            raise Corrupt(
                "the keys do not open with this master key",
                where=where,
                remedy=f"set {VARIABLE}, or put back vault/master, as it was when the vault was made",
            ) from error

    def _write(self, number: int, block: bytearray) -> None:
        name = _name(number)
        nonce = os.urandom(12)
        write_whole(self._disk, name, nonce + self._wrap.encrypt(nonce, bytes(block), name.encode()))

    # -- checkpoints in backups

    def backup_key(self) -> bytes:
        """What the checkpoint in a backup is encrypted with until the next erasure; made when there is
        none."""
        try:
            data = read_all(self._disk, BACKUP_KEY)
        except NotFound:
            return self.renew_backup_key()
        try:
            return self._wrap.decrypt(data[:12], data[12:], BACKUP_KEY.encode())
        except InvalidTag as error:
            raise Corrupt("the key of backups is damaged", where=f"{self._disk.name}/{BACKUP_KEY}") from error

    def renew_backup_key(self) -> bytes:
        """Nobody can open the checkpoints of earlier backups any more: their journals tell the same."""
        key = secrets.token_bytes(KEY_BYTES)
        nonce = os.urandom(12)
        write_whole(self._disk, BACKUP_KEY, nonce + self._wrap.encrypt(nonce, key, BACKUP_KEY.encode()))
        return key

    # -- what was erased

    def pseudonym(self, identifier: str) -> bytes:
        """16 bytes that nobody without the master key can connect with the identifier. 1.5 us."""
        text = identifier.encode("utf-8", "surrogatepass")
        return blake2b(text, key=self._pseudonym_key, digest_size=16).digest()

    def record(self, stone: Tombstone) -> None:
        """Keep a tombstone; durable when this returns."""
        appender = self._disk.open_append(ERASED)
        try:
            appender.append(msgspec.json.encode(stone) + b"\n")
            appender.flush()
        finally:
            appender.close()
        self._disk.flush_dir(FOLDER)
        self.tombstones.append(stone)
        self._bury(stone)

    def keep_receipt(self, name: str, data: bytes) -> None:
        """Receipts name nobody; they stay with the vault."""
        self._disk.make_dir(f"{FOLDER}/receipts")
        write_whole(self._disk, f"{FOLDER}/receipts/{name}.json", data)

    def receipt(self, name: str) -> bytes:
        """Raises NotFound."""
        return read_all(self._disk, f"{FOLDER}/receipts/{name}.json")

    def _bury(self, stone: Tombstone) -> None:
        for text in stone.marks:
            mark = bytes.fromhex(text)
            if stone.erased:
                self.erased_at[mark] = max(stone.at, self.erased_at.get(mark, 0))
            if stone.suppress:
                self.suppressed.add(mark)
            elif stone.lifted:
                self.suppressed.discard(mark)


def _name(number: int) -> str:
    return f"{FOLDER}/keys-{number:06d}"


def _derived(master: bytes, what: bytes) -> bytes:
    return blake2b(what, key=master, digest_size=KEY_BYTES).digest()


def _master(disk: Disk, environment: Mapping[str, str]) -> bytes:
    given = environment.get(VARIABLE, "")
    if given:
        try:
            found = bytes.fromhex(given)
        except ValueError:
            found = b""
        if len(found) != KEY_BYTES:
            raise InvalidDefinition(
                "the vault's master key must be 64 hexadecimal digits",
                where=VARIABLE,
                remedy="make one with: python -c 'import secrets; print(secrets.token_hex(32))'",
            )
        if not disk.read_only:
            disk.make_dir(FOLDER)
        return found
    try:
        return bytes.fromhex(read_all(disk, MASTER).decode("ascii", "replace").strip())
    except NotFound:
        if disk.read_only or Vault.exists(disk):
            raise NotFound(
                "the vault has no master key",
                where=f"{disk.name}/{MASTER}",
                remedy=f"set {VARIABLE}, or put the file back: without it the journal cannot be read",
            ) from None
    except ValueError as error:
        raise Corrupt("the vault's master key is damaged", where=f"{disk.name}/{MASTER}") from error
    disk.make_dir(FOLDER)
    made = secrets.token_bytes(KEY_BYTES)
    write_whole(disk, MASTER, made.hex().encode() + b"\n")
    return made


def _read_tombstones(disk: Disk) -> list[Tombstone]:
    """Every whole line; one that a crash cut off was never acknowledged, and is cut."""
    try:
        data = read_all(disk, ERASED)
    except NotFound:
        return []
    whole = data.rfind(b"\n") + 1
    if whole < len(data) and not disk.read_only:
        disk.truncate(ERASED, whole)
    found = []
    for line, text in zip(count(1), data[:whole].splitlines(), strict=False):
        try:
            found.append(msgspec.json.decode(text, type=Tombstone))
        except msgspec.DecodeError as error:
            raise Corrupt(
                f"the list of what was erased is damaged ({error})",
                where=f"{disk.name}/{ERASED} line {line}",
                remedy="restore the file: without it what was erased could come back",
            ) from error
    return found


def check_belongs(disk: Disk, vault: Vault | None) -> None:
    """The mark says which vault sealed this journal; it goes along with backups. Raises Corrupt."""
    try:
        expected = read_all(disk, MARK).decode("ascii", "replace").strip()
    except NotFound:
        if vault is not None and not disk.read_only:
            write_whole(disk, MARK, vault.id.encode() + b"\n")
        return
    if vault is None:
        raise Corrupt(
            "the journal is sealed, and its vault is not here",
            seen=expected,
            where=f"{disk.name}/{FOLDER}",
            remedy=f"put the folder 'vault' back that goes with it, with the same {VARIABLE} if one was used",
        )
    if vault.id != expected:
        raise Corrupt(
            "this vault belongs to another journal",
            seen=vault.id,
            where=f"{disk.name}/{FOLDER}",
            remedy=f"the vault of this journal is {expected}",
        )
