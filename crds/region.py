"""Region: everything one control plane manages. Made by the chart or the demo, called `default`."""

from typing import Annotated

from crds.base import (
    Model,
    StatusModel,
)
from crds.capacity import Capacity, Children, Summary
from crds.fields import Sentence, about, live


class RegionSpec(Model):
    """What a region is told."""

    description: Annotated[
        Sentence | None, live("For people: where this region is, or whom it serves. Unset: nothing.")
    ] = None


class RegionStatus(StatusModel):
    """What is known of a region."""

    zones: Annotated[Children | None, about("Zones of the region. Unset: not counted yet.")] = None
    hosts: Annotated[Children | None, about("Hosts of all its zones. Unset: not counted yet.")] = None
    instances: Annotated[int | None, about("Instances placed in all its zones. Unset: not counted yet.")] = None
    capacity: Annotated[Capacity | None, about("Sum over its zones. Unset: not known yet.")] = None
    summary: Annotated[Summary | None, about("Capacity as the columns show it. Unset: not known yet.")] = None
