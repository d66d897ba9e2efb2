"""HostPod: a rack, one L2 segment. CloudStack's pod; the name Pod belongs to core Kubernetes."""

from typing import Annotated

from crds.base import (
    ALL_NAMESPACES,
    ALLOCATION_STATE,
    DEDICATED_TO,
    AllocationState,
    Model,
    NameRef,
    NamespaceSet,
    StatusModel,
)
from crds.capacity import Capacity, Children, Summary
from crds.fields import about, immutable, live


class HostPodSpec(Model):
    """What a rack is told."""

    zone_ref: Annotated[NameRef, immutable("The Zone this rack stands in.")]
    allocation_state: Annotated[AllocationState, live(ALLOCATION_STATE)] = "Enabled"
    dedicated_to: Annotated[NamespaceSet, live(DEDICATED_TO)] = ALL_NAMESPACES


class HostPodStatus(StatusModel):
    """What is known of a rack."""

    clusters: Annotated[Children | None, about("HostClusters in the rack. Unset: not counted yet.")] = None
    hosts: Annotated[Children | None, about("Hosts in the rack. Unset: not counted yet.")] = None
    instances: Annotated[int | None, about("Instances placed in the rack. Unset: not counted yet.")] = None
    capacity: Annotated[Capacity | None, about("Sum over its clusters. Unset: not known yet.")] = None
    summary: Annotated[Summary | None, about("Capacity as the columns show it. Unset: not known yet.")] = None
