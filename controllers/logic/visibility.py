"""Whether a Template or Network may be used by somebody. Pure look-ups in the cache."""

from typing import Any

from controllers.engine.base import Cache, Obj
from controllers.logic.inheritance import allows


def visible(cache: Cache, shared: Obj[Any, Any], namespace: str) -> bool:
    """By `spec.visibility`; the own namespace is always in it."""
    return allows(shared.spec.visibility, shared.namespace, namespace, cache.namespace_labels(namespace))


def came_late(referrer: Obj[Any, Any], target: Obj[Any, Any]) -> bool:
    """What is being deleted takes no new referrer (design.md §3); one that was there before is served still (D4)."""
    return target.deleted_at is not None and referrer.created_at > target.deleted_at
