"""Whether a new leader has hosts left that it has not asked once: what it would say before is not known yet.

Called by the Instance kind before a first placement (N2: an orphan of the name may be there) and where room is counted.
"""

from controllers.engine.base import Cache
from controllers.fleet.base import Fleet, Link


def unasked(cache: Cache, fleet: Fleet, zone: str) -> bool:
    """A host that is on record as Ready and has no session yet, or one that is being opened for the first time."""
    for name in fleet.hosts_in_zone(zone):
        link = fleet.link(name)
        if link is Link.CONNECTING or (link is None and _on_record(cache, name)):
            return True
    return False


def _on_record(cache: Cache, name: str) -> bool:
    host = cache.get("Host", "", name)
    return host is not None and host.is_true("Ready")
