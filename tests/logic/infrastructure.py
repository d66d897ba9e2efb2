"""Builders of infrastructure objects and an in-memory cache made of the real one, for tests of pure logic."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from controllers.engine.base import Key, Reconciler
from controllers.engine.cache import ObjectCache
from crds.kinds import KINDS

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class References(Reconciler[Any, Any]):
    """The references of the infrastructure kinds, without anything that acts."""

    def __init__(self, kind: str, field: str, target: str) -> None:
        self.kind, self._field, self._target = kind, field, target

    def references(self, obj: Any) -> list[Key]:
        return [Key(self._target, "", getattr(obj.spec, self._field).name)]

    async def reconcile(self, turn: Any) -> None:
        """Never called: nothing runs here."""


class Cloud:
    """region default > zone z > pod p > cluster c, and the hosts that a test adds."""

    def __init__(self) -> None:
        self._versions = itertools.count(1)
        kinds = [
            References("Zone", "region_ref", "Region"),
            References("HostPod", "zone_ref", "Zone"),
            References("HostCluster", "host_pod_ref", "HostPod"),
            References("Host", "host_cluster_ref", "HostCluster"),
        ]
        self.cache = ObjectCache(KINDS, {kind.kind: kind for kind in kinds}, lambda key, why: None)
        self.add("Region", "default")
        self.add("Zone", "z", {"regionRef": {"name": "default"}})
        self.add("HostPod", "p", {"zoneRef": {"name": "z"}})
        self.add("HostCluster", "c", {"hostPodRef": {"name": "p"}, "hypervisor": "Simulated"})

    def add(
        self, kind: str, name: str, spec: dict[str, Any] | None = None, *, namespace: str = "", age: int = 0,
        status: dict[str, Any] | None = None, **metadata: Any,
    ) -> Any:  # fmt: skip
        """Make or replace an object; `age` is in seconds before noon."""
        created = (NOON - timedelta(seconds=age)).isoformat().replace("+00:00", "Z")
        version = next(self._versions)
        raw = {
            "apiVersion": "stratiform.dev/v1alpha1",
            "kind": kind,
            "metadata": {
                "name": name,
                "uid": f"uid-{kind}-{namespace}-{name}",
                "resourceVersion": str(version),
                "generation": version,
                "creationTimestamp": created,
                **({"namespace": namespace} if namespace else {}),
                **metadata,
            },
            "spec": spec or {},
            "status": status or {},
        }
        self.cache.apply(kind, raw)
        return self.cache.get(kind, namespace, name)

    def host(self, name: str = "h", **spec: Any) -> Any:
        connection = {"type": "Simulated", "simulated": {"cpus": 8, "memory": "16Gi"}}
        return self.add("Host", name, {"hostClusterRef": {"name": "c"}, "connection": connection, **spec})
