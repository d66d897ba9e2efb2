"""Two small kinds of these tests: Widget (namespaced, names a Rack) and Rack (cluster-scoped, sums up its widgets)."""

from typing import Annotated, Any

from crds.base import Column, Kind, Model, NameRef, StatusModel
from crds.fields import about, between, live
from crds.schema import custom_resource_definition


class WidgetSpec(Model):
    rack_ref: Annotated[NameRef | None, live("Where it is.")] = None
    size: Annotated[int, between(0, 1000), live("How big.")] = 1


class WidgetStatus(StatusModel):
    made: Annotated[int | None, between(0, 1000), about("What was made.")] = None


class RackSpec(Model):
    rows: Annotated[int, between(0, 1000), live("How many.")] = 1


class RackStatus(StatusModel):
    total: Annotated[int | None, between(0, 10**9), about("Sum of its widgets' sizes.")] = None


_AGE = (Column("Age", ".metadata.creationTimestamp", "date"),)
WIDGET = Kind("Widget", "widgets", "widget", "wdg", True, WidgetSpec, WidgetStatus, "A small thing.", _AGE)
RACK = Kind("Rack", "racks", "rack", "rck", False, RackSpec, RackStatus, "Holds widgets.", _AGE)
KINDS = {"Widget": WIDGET, "Rack": RACK}


def crds() -> list[dict[str, Any]]:
    return [custom_resource_definition(kind) for kind in KINDS.values()]
