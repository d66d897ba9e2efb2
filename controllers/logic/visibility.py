"""Whether a Template or Network of one namespace may be used by another. Pure look-up in the cache."""

from typing import Any

from controllers.engine.base import Cache, Obj
from controllers.logic.inheritance import allows


def visible(cache: Cache, shared: Obj[Any, Any], namespace: str) -> bool:
    """By `spec.visibility`; the own namespace is always in it."""
    return allows(shared.spec.visibility, shared.namespace, namespace, cache.namespace_labels(namespace))
