"""What the model's people declare. Used by the machine and by the tests of single stories."""

from collections.abc import Iterable

from tests.model.store import Obj


def declared(
    strategy: str = "Always",
    size: tuple[int, str] = (1, "1Gi"),
    entries: Iterable[str] = (),
    nics: int = 1,
    grace: int = 0,
) -> Obj:
    """spec of an instance but its zone."""
    return {
        "runStrategy": strategy, "resources": resources(size), "volumes": [root("1Gi"), *entries_of(entries)],
        "networks": nics_of(nics), "shutdown": {"gracePeriodSeconds": grace},
    }  # fmt: skip


def resources(size: tuple[int, str]) -> Obj:
    return {"cpus": size[0], "memory": size[1]}


def root(size: str) -> Obj:
    managed = {"templateRef": {"name": "tiny"}, "size": size}
    return {"name": "root", "bootOrder": 1, "type": "Managed", "managed": managed}


def entries_of(names: Iterable[str]) -> list[Obj]:
    def entry(name: str) -> Obj:
        if name == "data":
            return {"name": name, "type": "Managed", "managed": {"size": "1Gi"}}
        return {"name": name, "type": "Volume", "volume": {"volumeRef": {"name": name}}}

    return [entry(name) for name in sorted(names)]


def nics_of(count: int) -> list[Obj]:
    names = ("lan", "second")[:count]
    return [{"name": n, "networkRef": {"name": "lan"}, **({"primary": True} if n == "lan" else {})} for n in names]
