"""Pools and disks as one simulated host reaches them: `drivers.base.Storage` over the rows of `disks`.

Handed out by the end-point. Disks are made in the same steps as on real storage (mark, disk, mark again), each a
write of its own, so that a fault or a kill between them leaves what it would leave there.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace

from drivers.base import (
    DiskDefinition,
    DiskFacts,
    EventKind,
    ImageSource,
    PoolDefinition,
    PoolFacts,
    Progress,
    Seed,
    SimulatedSource,
)
from drivers.errors import Busy, Invalid, NoSpace, NotOurs, Unreachable, Unsupported, WrongPool
from drivers.images import open_image
from drivers.marks import DiskMark, DiskState, encode
from drivers.simulated import disks
from drivers.simulated.disks import Disk
from drivers.simulated.gate import Effect, Gate
from drivers.simulated.state import Transaction
from drivers.storage.claim import Claim, missing


class SimulatedStorage:
    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    # ---------------------------------------------------------------- pools

    def connect_pool(self, pool: PoolDefinition) -> PoolFacts:
        effects = self._gate.enter("connect_pool")
        source = pool.source
        if not isinstance(source, SimulatedSource):
            raise Unsupported(f"pool {pool.name}: a simulated host reaches no {type(source).__name__}, only Simulated")
        address = source.address or pool.uuid
        with self._write(effects) as tx:
            row = tx.row("SELECT claim, down FROM stores WHERE address = ?", address)
            if row is not None and row[1]:
                raise Unreachable(f"pool {pool.name}: its storage {address} does not answer host {self._gate.host}")
            if pool.claimed and (row is None or not row[0]):
                raise missing(
                    Claim(uuid=pool.uuid, installation=pool.installation, name=pool.name), f"storage {address}"
                )
            if row is not None and row[0] and row[0] != pool.uuid:
                raise WrongPool(
                    f"pool {pool.name}: storage {address} is claimed by pool {row[0]}, not by {pool.uuid}. "
                    "Give this one another address, or set spec.uuid to attach the known pool again"
                )
            tx.run(
                "INSERT OR IGNORE INTO stores(address, claim, installation, capacity) VALUES (?, '', '', 0)", address
            )
            tx.run(
                "UPDATE stores SET claim = ?, installation = ?, capacity = ? WHERE address = ?",
                pool.uuid, pool.installation, source.capacity, address,
            )  # fmt: skip
            new = tx.run(
                "INSERT INTO connected VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET address = excluded.address"
                " WHERE address != excluded.address",
                self._gate.host, pool.uuid, address,
            )  # fmt: skip
            if new:
                tx.change(EventKind.POOL, self._gate.host, pool.uuid, "connected")
            return _pool_facts(tx, pool.uuid, address)

    def disconnect_pool(self, pool: PoolDefinition) -> None:
        effects = self._gate.enter("disconnect_pool")
        with self._write(effects) as tx:
            used = disks.users(tx, self._gate.host, pool.uuid)
            if used:
                raise Busy(f"pool {pool.name}: {len(used)} of its disks are used by domains of host {self._gate.host}")
            if tx.run("DELETE FROM connected WHERE host = ? AND pool = ?", self._gate.host, pool.uuid):
                tx.change(EventKind.POOL, self._gate.host, pool.uuid, "disconnected")

    def observe_pool(self, pool: PoolDefinition) -> PoolFacts | None:
        self._gate.enter("observe_pool")
        with self._gate.state.read() as tx:
            address = disks.address_of(tx, self._gate.host, pool.uuid)
            return None if address is None else _pool_facts(tx, pool.uuid, address)

    # ---------------------------------------------------------------- looking

    def list_disks(self, pool: PoolDefinition) -> tuple[DiskFacts, ...]:
        self._gate.enter("list_disks")
        with self._gate.state.read() as tx:
            address = self._address(tx, pool)
            users = disks.users(tx, self._gate.host, pool.uuid)
            return tuple(disks.facts(d, users.get(d.disk, ())) for d in disks.load_all(tx, address))

    def observe_disk(self, pool: PoolDefinition, disk: str) -> DiskFacts | None:
        self._gate.enter("observe_disk")
        with self._gate.state.read() as tx:
            return self._facts(tx, pool, disk)

    # ---------------------------------------------------------------- making

    def create_disk(self, pool: PoolDefinition, definition: DiskDefinition) -> DiskFacts:
        effects = self._gate.enter("create_disk")
        if Effect.LIE in effects:
            return _claimed(definition)
        there = self._begin(pool, definition, definition.mark)
        if there is None:
            self._step(effects)
            allocated = definition.size if definition.provisioning == "Thick" else min(disks.THIN, definition.size)
            there = self._finish(pool, definition, definition.mark, definition.size, allocated, "")
        self._answer(effects)
        return there

    def clone_disk(self, pool: PoolDefinition, definition: DiskDefinition, base: str) -> DiskFacts:
        effects = self._gate.enter("clone_disk")
        if Effect.LIE in effects:
            return _claimed(definition)
        thin = definition.provisioning == "Thin"
        mark = replace(definition.mark, base=base if thin else "")
        there = self._begin(pool, definition, mark, base)
        if there is None:
            self._step(effects)
            with self._gate.state.read() as tx:
                origin = _ready_base(tx, self._address(tx, pool), pool, base)
            size = max(definition.size, origin.size)
            allocated = disks.THIN if thin else size
            there = self._finish(pool, definition, mark, size, allocated, origin.content, base if thin else "")
        self._answer(effects)
        return there

    def import_image(
        self,
        pool: PoolDefinition,
        definition: DiskDefinition,
        source: ImageSource,
        progress: Callable[[Progress], None],
    ) -> DiskFacts:
        effects = self._gate.enter("import_image")
        if Effect.LIE in effects:
            return _claimed(definition)
        there = self._begin(pool, definition, definition.mark)
        if there is None:
            self._step(effects)
            try:
                size, length = self._read(source, progress)
                there = self._finish(pool, definition, definition.mark, size, length, source.checksum)
            except Exception:
                self._discard(pool, definition.disk)
                raise
        self._answer(effects)
        return there

    def copy_image(
        self, source: PoolDefinition, disk: str, pool: PoolDefinition, definition: DiskDefinition
    ) -> DiskFacts:
        effects = self._gate.enter("copy_image")
        if Effect.LIE in effects:
            return _claimed(definition)
        with self._gate.state.read() as tx:
            origin = _ready_base(tx, self._address(tx, source), source, disk)
        there = self._begin(pool, definition, definition.mark)
        if there is None:
            self._step(effects)
            there = self._finish(pool, definition, definition.mark, origin.size, origin.allocated, origin.content)
        self._answer(effects)
        return there

    def resize_disk(self, pool: PoolDefinition, disk: str, size: int) -> DiskFacts:
        effects = self._gate.enter("resize_disk")
        with self._write(effects) as tx:
            rival = tx.row("SELECT uuid FROM writers WHERE pool = ? AND disk = ?", pool.uuid, disk)
            if rival is not None:
                raise Busy(f"disk {disk} of pool {pool.name}: guest {rival[0]} runs on it; grow it through the guest")
            disks.grow(tx, self._gate.host, pool.uuid, disk, size)
            facts = self._facts(tx, pool, disk)
        if facts is None:
            raise Invalid(f"pool {pool.name} has no disk {disk}")
        return facts

    def delete_disk(self, pool: PoolDefinition, disk: str, expected_uid: str) -> None:
        effects = self._gate.enter("delete_disk")
        with self._write(effects) as tx:
            address = self._address(tx, pool)
            found = disks.load(tx, address, disk)
            if found is None:
                return
            mark, _ = disks.read_mark(found.mark)
            if mark is None or mark.uid != expected_uid:
                raise NotOurs(f"disk {disk} of pool {pool.name} {_owner(mark)}, expected uid {expected_uid}")
            users = disks.users(tx, self._gate.host, pool.uuid, disk).get(disk, ())
            if users:
                raise Busy(f"disk {disk} of pool {pool.name} is used by domain {users[0]} of host {self._gate.host}")
            clones = tx.row("SELECT count(*) FROM disks WHERE address = ? AND base = ?", address, disk)[0]
            if clones:
                raise Busy(f"disk {disk} of pool {pool.name} is the base of {clones} clones")
            disks.remove(tx, address, disk)

    # ---------------------------------------------------------------- beside the disks

    def write_disk_mark(self, pool: PoolDefinition, disk: str, mark: DiskMark) -> None:
        effects = self._gate.enter("write_disk_mark")
        with self._write(effects) as tx:
            address = self._address(tx, pool)
            found = disks.load(tx, address, disk) or Disk(address=address, disk=disk, mark="", present=False)
            disks.save(tx, replace(found, mark=encode(mark)))

    def write_seed(self, pool: PoolDefinition, disk: str, seed: Seed) -> str:
        effects = self._gate.enter("write_seed")
        name = f"{disk}.seed"
        with self._write(effects) as tx:
            tx.run(
                "INSERT OR REPLACE INTO companions VALUES (?, ?, ?)",
                self._address(tx, pool), name, json.dumps(asdict(seed)),
            )  # fmt: skip
        return name

    # ---------------------------------------------------------------- steps

    def _begin(
        self, pool: PoolDefinition, definition: DiskDefinition, mark: DiskMark, base: str = ""
    ) -> DiskFacts | None:
        """The first step: the mark, creating. Answers with the disk when it was made before."""
        with self._gate.change() as tx:
            address = self._address(tx, pool)
            found = disks.load(tx, address, definition.disk)
            if found is not None:
                old, _ = disks.read_mark(found.mark)
                if old is None or old.uid != mark.uid:
                    raise NotOurs(f"disk {definition.disk} of pool {pool.name} {_owner(old)}, asked for by {mark.uid}")
                if old.state is not DiskState.CREATING and (found.present or old.kind != "Template"):
                    return self._facts(tx, pool, definition.disk)
                if disks.users(tx, self._gate.host, pool.uuid, definition.disk):
                    raise Busy(f"disk {definition.disk} of pool {pool.name} is half made and used by a domain")
                disks.remove(tx, address, definition.disk)
            if base:
                origin = _ready_base(tx, address, pool, base)
                if definition.size < origin.size:
                    raise Invalid(f"disk {definition.disk}: {definition.size} bytes asked, its base has {origin.size}")
            text = encode(replace(mark, state=DiskState.CREATING))
            disks.save(tx, Disk(address=address, disk=definition.disk, mark=text, present=False))
            return None

    def _finish(
        self, pool: PoolDefinition, definition: DiskDefinition, mark: DiskMark,
        size: int, allocated: int, content: str, base: str = "",
    ) -> DiskFacts:  # fmt: skip
        """The disk, then the mark, ready. Without room nothing is left behind."""
        ready = replace(mark, state=DiskState.READY, size=size)
        try:
            with self._gate.change() as tx:
                address = self._address(tx, pool)
                room = _pool_facts(tx, pool.uuid, address).available
                if allocated > room:
                    raise NoSpace(f"pool {pool.name} has {room} bytes free, disk {definition.disk} takes {allocated}")
                disk = Disk(
                    address=address, disk=definition.disk, mark=encode(replace(mark, state=DiskState.CREATING)),
                    size=size, allocated=allocated, base=base, content=content,
                )  # fmt: skip
                disks.save(tx, disk)
        except NoSpace:
            self._discard(pool, definition.disk)
            raise
        with self._gate.change() as tx:
            disks.save(tx, replace(disk, mark=encode(ready)))
        return disks.facts(replace(disk, mark=encode(ready)), ())

    def _discard(self, pool: PoolDefinition, disk: str) -> None:
        """A failed copy is deleted; not over a dead connection: then it is found `creating` later."""
        if self._gate.alive:
            with self._gate.change() as tx:
                disks.remove(tx, self._address(tx, pool), disk)

    def _read(self, source: ImageSource, progress: Callable[[Progress], None]) -> tuple[int, int]:
        """Virtual size and length of a verified image; its bytes are not kept."""
        length = 0
        with open_image(source, progress) as image:
            for chunk in image:
                self._gate.look()
                length += len(chunk)
            return image.virtual_size, length

    # ---------------------------------------------------------------- small things

    @contextmanager
    def _write(self, effects: frozenset[Effect]) -> Iterator[Transaction]:
        """A write that a fault may turn into a lie (rolled back) or leave without its answer."""
        try:
            with self._gate.change() as tx:
                yield tx
                if Effect.LIE in effects:
                    raise _Undone
        except _Undone:
            return
        self._answer(effects)

    def _step(self, effects: frozenset[Effect]) -> None:
        if Effect.PARTIAL in effects:
            raise Unreachable(f"host {self._gate.host}: the connection broke when the disk's mark was written")

    def _answer(self, effects: frozenset[Effect]) -> None:
        if Effect.LOST_ANSWER in effects:
            raise Unreachable(f"host {self._gate.host}: the connection broke before the answer came")

    def _address(self, tx: Transaction, pool: PoolDefinition) -> str:
        address = disks.address_of(tx, self._gate.host, pool.uuid)
        if address is None:
            raise Busy(f"host {self._gate.host} has not connected pool {pool.name} yet")
        return address

    def _facts(self, tx: Transaction, pool: PoolDefinition, disk: str) -> DiskFacts | None:
        found = disks.load(tx, self._address(tx, pool), disk)
        if found is None:
            return None
        return disks.facts(found, disks.users(tx, self._gate.host, pool.uuid, disk).get(disk, ()))


class _Undone(Exception):
    """A lie: roll the write back, and say nothing."""


def _claimed(definition: DiskDefinition) -> DiskFacts:
    """What a liar answers."""
    mark = replace(definition.mark, state=DiskState.READY, size=definition.size)
    return DiskFacts(disk=definition.disk, mark=mark, size=definition.size, allocated=disks.THIN)


def _owner(mark: DiskMark | None) -> str:
    return (
        "carries no mark that we can read"
        if mark is None
        else f"belongs to {mark.namespace}/{mark.name}, uid {mark.uid}"
    )


def _ready_base(tx: Transaction, address: str, pool: PoolDefinition, base: str) -> Disk:
    origin = disks.load(tx, address, base)
    mark, _ = disks.read_mark(origin.mark) if origin else (None, False)
    if origin is None or mark is None:
        raise Invalid(f"pool {pool.name} has no image {base} with a mark of ours")
    if mark.state is DiskState.CREATING:
        raise Busy(f"image {base} of pool {pool.name} is still being made")
    if not origin.present:
        raise Invalid(f"image {base} of pool {pool.name} is lost: its mark is there and the disk is not")
    return origin


def _pool_facts(tx: Transaction, uuid: str, address: str) -> PoolFacts:
    capacity, used = tx.row("SELECT capacity, used FROM stores WHERE address = ?", address)
    return PoolFacts(uuid=uuid, capacity=capacity, available=max(0, capacity - used))
