"""The simulated cloud's memory: one SQLite file that any number of processes share.

Used by every other module of this package. It knows nothing of what the rows mean: it hands out short read and write
transactions, keeps the log of changes from which events are made, and wakes this process' watcher after a write.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS hosts(
  name TEXT PRIMARY KEY, machine_id TEXT NOT NULL, cpus INT NOT NULL, memory INT NOT NULL,
  architecture TEXT NOT NULL, cpu_model TEXT NOT NULL, cpu_features TEXT NOT NULL,
  lost INT NOT NULL DEFAULT 0, boot INT NOT NULL DEFAULT 0, frozen_at REAL, keepalive REAL, born REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS domains(
  host TEXT NOT NULL, uuid TEXT NOT NULL, title TEXT NOT NULL, mark TEXT NOT NULL, power TEXT NOT NULL,
  why TEXT NOT NULL, persistent INT NOT NULL, autostart INT NOT NULL, shape TEXT NOT NULL, live TEXT,
  agent INT NOT NULL, due REAL, version INT NOT NULL, PRIMARY KEY(host, uuid)
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS domains_title ON domains(host, title);
CREATE INDEX IF NOT EXISTS domains_uuid ON domains(uuid, power);
CREATE INDEX IF NOT EXISTS domains_due ON domains(due) WHERE due IS NOT NULL;
CREATE TABLE IF NOT EXISTS writers(
  pool TEXT NOT NULL, disk TEXT NOT NULL, host TEXT NOT NULL, uuid TEXT NOT NULL, PRIMARY KEY(pool, disk, host, uuid)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS writers_domain ON writers(host, uuid);
CREATE TABLE IF NOT EXISTS violations(
  id INTEGER PRIMARY KEY, time REAL NOT NULL, cause TEXT NOT NULL, text TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS guests(
  uuid TEXT PRIMARY KEY, shutdown REAL NOT NULL, agent INT NOT NULL, unplug INT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS consoles(id INTEGER PRIMARY KEY, host TEXT NOT NULL, uuid TEXT NOT NULL, text TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS consoles_domain ON consoles(host, uuid, id);
CREATE TABLE IF NOT EXISTS stores(
  address TEXT PRIMARY KEY, claim TEXT NOT NULL, installation TEXT NOT NULL, capacity INT NOT NULL,
  used INT NOT NULL DEFAULT 0, down INT NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS connected(
  host TEXT NOT NULL, pool TEXT NOT NULL, address TEXT NOT NULL, PRIMARY KEY(host, pool)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS disks(
  address TEXT NOT NULL, disk TEXT NOT NULL, mark TEXT NOT NULL, size INT NOT NULL, allocated INT NOT NULL,
  present INT NOT NULL, base TEXT NOT NULL, content TEXT NOT NULL, PRIMARY KEY(address, disk)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS disks_base ON disks(address, base) WHERE base != '';
CREATE TRIGGER IF NOT EXISTS disks_in AFTER INSERT ON disks BEGIN
  UPDATE stores SET used = used + new.allocated WHERE address = new.address; END;
CREATE TRIGGER IF NOT EXISTS disks_up AFTER UPDATE OF allocated ON disks BEGIN
  UPDATE stores SET used = used + new.allocated - old.allocated WHERE address = new.address; END;
CREATE TRIGGER IF NOT EXISTS disks_out AFTER DELETE ON disks BEGIN
  UPDATE stores SET used = used - old.allocated WHERE address = old.address; END;
CREATE TABLE IF NOT EXISTS companions(
  address TEXT NOT NULL, name TEXT NOT NULL, content TEXT NOT NULL, PRIMARY KEY(address, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS faults(
  id INTEGER PRIMARY KEY AUTOINCREMENT, host TEXT NOT NULL, call TEXT NOT NULL, effect TEXT NOT NULL,
  error TEXT NOT NULL, text TEXT NOT NULL, remaining INT, seconds REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS changes(
  id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, host TEXT NOT NULL, uuid TEXT NOT NULL, detail TEXT NOT NULL
);
"""

KEPT_CHANGES = 50_000
"""A watcher further behind than this (a process that was stopped) loses its connections and lists again."""

HOST_CHANGED = "Host"
"""Kind of a change that concerns the connections to a host; every other kind is a `drivers.base.EventKind`."""


@dataclass(slots=True)
class Transaction:
    """A short look at, or change of, the state. `cause` says in the record of violations who did it."""

    connection: sqlite3.Connection
    cause: str = "driver"
    changed: bool = field(default=False)

    def rows(self, sql: str, *values: Any) -> list[Any]:
        return self.connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> Any:
        """The first row, or None."""
        return self.connection.execute(sql, values).fetchone()

    def run(self, sql: str, *values: Any) -> int:
        """Execute and return how many rows it touched."""
        return self.connection.execute(sql, values).rowcount

    def change(self, kind: str, host: str, uuid: str = "", detail: str = "") -> int:
        """Log a change, so that every process' watcher makes an event of it; returns its number."""
        self.changed = True
        cursor = self.connection.execute(
            "INSERT INTO changes(kind, host, uuid, detail) VALUES (?, ?, ?, ?)", (kind, host, uuid, detail)
        )
        number = int(cursor.lastrowid or 0)
        if number % 1024 == 0:
            self.run("DELETE FROM changes WHERE id < ?", number - KEPT_CHANGES)
        return number


class State:
    """The state file as this process has it open. One per path: `State.acquire`, and `release` when done."""

    _open: dict[str, "State"] = {}
    _lock = threading.Lock()

    def __init__(self, path: str) -> None:
        self.path = path
        self._users = 0
        self._idle: list[sqlite3.Connection] = []
        self._writing = threading.Lock()
        self._on_write: Callable[[], None] | None = None
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        connection = self.connect()
        Path(path).chmod(0o600)  # It holds user data, as a real pool does.
        _prepare(connection)
        connection.close()

    @classmethod
    def acquire(cls, path: str) -> "State":
        """The shared State of `path`; made with its file when missing."""
        with cls._lock:
            key = os.path.realpath(path)
            state = cls._open.get(key)
            if state is None:
                state = cls._open[key] = cls(key)
            state._users += 1
            return state

    def release(self) -> None:
        """Give one `acquire` back; the last one closes the file."""
        with self._lock:
            self._users -= 1
            if self._users > 0:
                return
            self._open.pop(self.path, None)
            while self._idle:
                self._idle.pop().close()

    def on_write(self, wake: Callable[[], None] | None) -> None:
        """Call `wake` after each write of this process that logged a change."""
        self._on_write = wake

    def connect(self) -> sqlite3.Connection:
        """A connection of the caller's own. Everybody else takes turns with a few: hundreds of lanes would need
        three file descriptors each."""
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=30.0)
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-1024")
        connection.execute("PRAGMA mmap_size=268435456")
        return connection

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """One consistent view. Blocks nobody."""
        connection = self._take()
        try:
            connection.execute("BEGIN")
            try:
                yield Transaction(connection)
            finally:
                connection.execute("ROLLBACK")
        finally:
            self._give(connection)

    @contextmanager
    def write(self, cause: str = "driver") -> Iterator[Transaction]:
        """All or nothing. The lock keeps this process' threads out of SQLite's own, coarser waiting."""
        with self._writing:
            connection = self._take()
            transaction = Transaction(connection, cause)
            try:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield transaction
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
            finally:
                self._give(connection)
        if transaction.changed and self._on_write is not None:
            self._on_write()

    def _take(self) -> sqlite3.Connection:
        try:
            return self._idle.pop()
        except IndexError:
            return self.connect()

    def _give(self, connection: sqlite3.Connection) -> None:
        if self._users > 0 and len(self._idle) < 16:
            self._idle.append(connection)
        else:
            connection.close()


def _prepare(connection: sqlite3.Connection) -> None:
    """Make what is missing. Two processes may do so at once: SQLite answers "locked" without waiting when both switch
    to the write-ahead log, so it is asked again."""
    deadline = time.monotonic() + 10.0
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(f"BEGIN IMMEDIATE;{SCHEMA}COMMIT;")
            return
        except sqlite3.OperationalError:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
