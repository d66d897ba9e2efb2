"""Leader election by a coordination.k8s.io Lease, with a hard stop of side effects before it can end (safety.md W6).

Started by the engine before anything else. `guard` is asked before every side effect; a kernel timer, armed anew at
each renewal, kills the process at the Lease's end even if it was stopped meanwhile.
"""

import asyncio
import os
import signal
import socket
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog

from controllers import metrics
from controllers.config import Settings
from controllers.engine.base import ApiError, NotLeader
from controllers.engine.client import Client

log = structlog.get_logger(__name__)


def now() -> float:
    """Seconds that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """Ours from `acquire` until `lost` is called, or `release`."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self.identity = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.term = 0
        """How often the Lease changed hands: one more for each leader."""
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{settings.namespace}/leases"
        self._held: dict[str, Any] | None = None
        self._until = 0.0
        self._renewing: asyncio.Task[None] | None = None

    def holds(self) -> bool:
        """Whether a side effect may be started now."""
        return not self._settings.leader_election or now() < self._until - self._settings.lease_margin

    def guard(self) -> None:
        """Raises NotLeader unless `holds`. Thread-safe."""
        if not self.holds():
            raise NotLeader("the Lease is not safely ours any more: nothing is changed until it is")

    async def acquire(self) -> None:
        """Wait until the Lease is ours. Another holder's is taken when it was seen unchanged for its whole duration."""
        if not self._settings.leader_election:
            metrics.LEADER.set(1)
            return
        seen_version, seen_at, told = "", 0.0, ""
        while True:
            started = now()
            try:
                lease = await self._read()
                if lease is None:
                    started = now()
                    self._won(await self._create(), started)
                    return
                version = lease["metadata"]["resourceVersion"]
                if version != seen_version:
                    # From after the answer: its holder may have renewed it just before a slow server looked.
                    seen_version, seen_at = version, now()
                holder = lease["spec"].get("holderIdentity") or ""
                held_for = float(lease["spec"].get("leaseDurationSeconds") or self._settings.lease_duration)
                if not holder or started - seen_at > held_for:
                    term = int(lease["spec"].get("leaseTransitions") or 0) + 1
                    started = now()
                    self._won(await self._write(lease, self.identity, term), started)
                    return
                if holder != told:
                    log.info("waiting for the Lease", holder=holder)
                    told = holder
            except ApiError as error:
                log.warning("Lease cannot be taken yet", error=str(error))
            await asyncio.sleep(self._settings.lease_renew)

    def keep(self, lost: Callable[[], None]) -> None:
        """Renew it in the background; call `lost` once when it is not ours any more."""
        if self._settings.leader_election:
            self._renewing = asyncio.create_task(self._keep(lost), name="lease")

    async def release(self) -> None:
        """Stop renewing, and let another process have it at once. Side effects must have ended. Idempotent."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
            self._renewing = None
        self._until = 0.0
        metrics.LEADER.set(0)
        if self._held is not None:
            try:
                async with asyncio.timeout(self._settings.lease_margin):
                    await self._give_back(self._held)
            except (ApiError, TimeoutError) as error:
                log.warning("Lease could not be given back: the next process waits for its end", error=str(error))
            self._held = None
        self._disarm()

    async def _give_back(self, lease: dict[str, Any]) -> None:
        try:
            await self._write(lease, "", self.term)
        except ApiError as error:
            # The renewal that was under way may have gone through before it was cancelled.
            if error.status != 409 or not await self._still_ours():
                raise
            await self._write(self._held or lease, "", self.term)

    async def _keep(self, lost: Callable[[], None]) -> None:
        begun = self._until - self._settings.lease_duration
        while self.holds():
            # From beginning to beginning: with a slow server there is no time for more.
            await asyncio.sleep(max(0.0, begun + self._settings.lease_renew - now()))
            begun = now()
            try:
                async with asyncio.timeout(max(0.1, self._until - self._settings.lease_margin - begun)):
                    await self._renew()
            except ApiError as error:
                log.warning("Lease not renewed", error=str(error), seconds_left=round(self._until - now(), 1))
                if error.status == 409 and not await self._still_ours():
                    break
            except TimeoutError:
                log.warning("Lease not renewed: no answer", seconds_left=round(self._until - now(), 1))
            except Exception:
                # Whatever it is: as long as time is left, the next try may do better.
                log.exception("Lease not renewed", seconds_left=round(self._until - now(), 1))
        self._until = 0.0
        metrics.LEADER.set(0)
        lost()

    async def _renew(self) -> None:
        """Raises ApiError. While no answer comes another try begins every quarter of the duration, and the first that
        is answered counts: a connection may be dead without saying so, and a server slow."""
        tries: list[asyncio.Task[None]] = []
        try:
            while not any(task.done() for task in tries):
                tries.append(asyncio.create_task(self._try(), name="lease renewal"))
                quarter = self._settings.lease_duration / 4
                await asyncio.wait(tries, timeout=quarter, return_when=asyncio.FIRST_COMPLETED)
            next(task for task in tries if task.done()).result()
        finally:
            for task in tries:
                task.cancel()
            await asyncio.gather(*tries, return_exceptions=True)

    async def _try(self) -> None:
        assert self._held is not None
        started = now()
        self._won(await self._write(self._held, self.identity, self.term), started)

    async def _still_ours(self) -> bool:
        """After a conflict: somebody else's hand in the object is no loss as long as we are its holder."""
        try:
            lease = await self._read()
        except ApiError:
            return True
        if lease is None or lease["spec"].get("holderIdentity") != self.identity:
            return False
        self._held = lease
        return True

    def _won(self, lease: dict[str, Any], started: float) -> None:
        first = self._held is None
        self._held = lease
        self.term = int(lease["spec"].get("leaseTransitions") or 0)
        # Counted from before the request was sent: the API server's own count begins later.
        self._until = started + self._settings.lease_duration
        if self._settings.kernel_timer:
            signal.signal(signal.SIGALRM, signal.SIG_DFL) if first else None
            signal.setitimer(signal.ITIMER_REAL, max(0.001, self._until - now()))
        if first:
            metrics.LEADER.set(1)
            log.info("leader", identity=self.identity, term=self.term)

    def _disarm(self) -> None:
        if self._settings.kernel_timer and self._settings.leader_election:
            signal.setitimer(signal.ITIMER_REAL, 0)

    async def _read(self) -> dict[str, Any] | None:
        try:
            return await self._client.get(f"{self._collection}/{self._settings.lease_name}", kind="Lease")
        except ApiError as error:
            if error.reason == "NotFound":
                return None
            raise

    async def _create(self) -> dict[str, Any]:
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._settings.lease_name},
            "spec": {**self._spec(self.identity, 1), "acquireTime": _micro_time()},
        }
        return await self._send("POST", self._collection, body)

    async def _write(self, lease: dict[str, Any], holder: str, term: int) -> dict[str, Any]:
        spec = {**lease["spec"], **self._spec(holder, term)}
        if lease["spec"].get("holderIdentity") != holder:
            spec["acquireTime"] = _micro_time()
        body = {**lease, "spec": spec}
        return await self._send("PUT", f"{self._collection}/{self._settings.lease_name}", body)

    async def _send(self, verb: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = orjson.loads(
            await self._client.send(verb, path, kind="Lease", body=body, guarded=False)
        )
        return answer

    def _spec(self, holder: str, term: int) -> dict[str, Any]:
        return {
            "holderIdentity": holder,
            "leaseDurationSeconds": max(1, round(self._settings.lease_duration)),
            "leaseTransitions": term,
            "renewTime": _micro_time(),
        }


def _micro_time() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
