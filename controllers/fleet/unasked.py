"""Whether a new leader has hosts left that it has not asked once: what it would say before is not known yet.

Called by the Instance kind before a first placement (N2: an orphan of the name may be there) and where room is counted.
"""

from controllers.engine.base import Cache
from controllers.fleet.base import Fleet, Link


def unasked(cache: Cache, fleet: Fleet, zone: str) -> bool:
    """A host that is on record as Ready and has no session yet, or one that is being opened for the first time."""
    for name in fleet.hosts_in_zone(zone):
        view, host = fleet.view(name), cache.get("Host", "", name)
        if view.link is Link.CONNECTING if view else bool(host and host.is_true("Ready")):
            return True
    return False
