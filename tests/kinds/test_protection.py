"""Namespaces with a protected instance carry the label that a policy refuses to delete."""

from tests.cluster import until
from tests.kinds.simcloud import SimCloud

LABEL = "stratiform.dev/protected"


def labelled(cloud: SimCloud) -> bool:
    found = cloud.api.get("namespace", cloud.namespace) or {}
    return LABEL in (found["metadata"].get("labels") or {})


def test_the_label_comes_and_goes_and_keeps_the_namespace(cloud: SimCloud) -> None:
    cloud.build(hosts=1)
    cloud.instance("web", deletionProtection=True)
    until(lambda: labelled(cloud))
    refused = cloud.api.kubectl.attempt("delete", "namespace", cloud.namespace, "--wait=false")
    assert refused.returncode != 0
    assert LABEL in refused.stderr or "protected" in refused.stderr
    assert cloud.api.kubectl.attempt("delete", "instance", "web", "-n", cloud.namespace, "--wait=false").returncode != 0
    cloud.api.patch("Instance", "web", {"deletionProtection": False})
    until(lambda: not labelled(cloud))
    cloud.api.kubectl.run("delete", "namespace", cloud.namespace, "--wait=false")
    until(lambda: cloud.api.get("namespace", cloud.namespace) is None, 90)
