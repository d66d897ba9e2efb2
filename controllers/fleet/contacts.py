"""When each host last answered, on record for the next leader (safety.md H1): one Lease per host.

Host.status.lastContact is coarse; the Lease `host-<name>` in the operator's namespace is renewed about once a minute
while the host answers, so that no heartbeat is ever a status write. Owned by the fleet.
"""

import time
from datetime import UTC, datetime, timedelta

import structlog

from controllers.engine.base import ApiError, NotLeader, Services

log = structlog.get_logger(__name__)

RENEW = 60.0
DURATION = 180
_NOT_FOUND = 404


class Contacts:
    """Called from the engine's loop only."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._latest: dict[str, datetime] = {}
        self._written: dict[str, float] = {}
        self._recorded: dict[str, datetime | None] = {}
        self._voids: dict[str, datetime] = {}
        self._floor: dict[str, datetime] = {}

    def note(self, host: str, at: datetime) -> None:
        """The host answered."""
        self._latest[host] = at

    def owe(self, host: str, at: datetime) -> None:
        """The answer voids a declaration: it must be on record, no earlier than `at`, before more is done."""
        self._voids[host] = at

    async def settle(self, host: str) -> None:
        """Write what is owed for a host. Raises ApiError, NotLeader."""
        if host in self._voids:
            self._floor[host] = max(self._voids[host], self._floor.get(host, self._voids[host]))
            await self.load(host)
            await self._write(host, self._latest.get(host, self._floor[host]))
            self._voids.pop(host, None)

    async def load(self, host: str) -> datetime | None:
        """The last contact that was on record when this process first asked; read once. Raises ApiError."""
        if host not in self._recorded:
            found = await self._services.api.read(self._path(host), "Lease")
            text = (found or {}).get("spec", {}).get("renewTime")
            self._recorded[host] = datetime.fromisoformat(text).astimezone(UTC) if text else None
        return self._recorded[host]

    async def last(self, host: str) -> datetime | None:
        """The last contact that is known, on record or in memory. Raises ApiError."""
        known = [await self.load(host), self._latest.get(host), self._floor.get(host)]
        return max((moment for moment in known if moment is not None), default=None)

    def recorded(self, host: str) -> datetime | None:
        """As `load` found it; None when it found nothing or was not asked yet."""
        return self._recorded.get(host)

    async def renew(self) -> None:
        """Write those that are due. An API server that does not answer is asked again next time."""
        now = time.monotonic()
        for host, at in list(self._latest.items()):
            if now - self._written.get(host, -RENEW) < RENEW or not self._newer(host, at):
                continue
            try:
                await self.load(host)
                await self._write(host, at)
            except (ApiError, NotLeader) as error:
                log.warning("last contact of a host was not recorded", host=host, error=str(error))
                return

    def forget(self, host: str) -> None:
        """The Host object is gone; its Lease stays until a Host of that name comes again."""
        for known in (self._latest, self._written, self._recorded, self._voids, self._floor):
            known.pop(host, None)

    def _newer(self, host: str, at: datetime) -> bool:
        return self._services.now() - at < timedelta(seconds=RENEW) or host not in self._written

    async def _write(self, host: str, at: datetime) -> None:
        """The record never goes back."""
        at = max(moment for moment in (at, self._floor.get(host), self._recorded.get(host)) if moment is not None)
        body = {"spec": {"holderIdentity": host, "leaseDurationSeconds": DURATION, "renewTime": _micro(at)}}
        try:
            await self._services.api.merge_patch(self._path(host), body, "Lease")
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": f"host-{host}", "namespace": self._services.namespace},
                **body,
            }
            await self._services.api.create_at(self._path(""), lease, "Lease")
        self._written[host] = time.monotonic()

    def _path(self, host: str) -> str:
        name = f"/host-{host}" if host else ""
        return f"/apis/coordination.k8s.io/v1/namespaces/{self._services.namespace}/leases{name}"


def _micro(moment: datetime) -> str:
    """A MicroTime."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
