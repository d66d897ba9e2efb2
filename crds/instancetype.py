"""InstanceType: a compute offering. Immutable: what an instance got lasts until its restart."""

from typing import Annotated

from crds.base import AskedQuantity, LabelSelector, Model, StatusModel, at_least
from crds.fields import Tag, about, between, immutable, set_list


class InstanceTypeSpec(Model):
    """What the offering gives."""

    cpus: Annotated[int, between(1, 512), immutable("Virtual CPUs of the guest.")]
    memory: Annotated[AskedQuantity, at_least("16Mi"), immutable("Memory of the guest.")]
    host_selector: Annotated[
        LabelSelector, immutable("Labels that a host must have. Unset: any host.", schema_default=False)
    ] = LabelSelector()
    storage_tags: Annotated[
        tuple[Tag, ...],
        set_list(most=32),
        immutable("Tags that the pools of managed volumes must have. Unset: any pool."),
    ] = ()


class InstanceTypeStatus(StatusModel):
    """What is known of the offering."""

    instances: Annotated[int | None, about("Instances that refer to it. Unset: not counted yet.")] = None
