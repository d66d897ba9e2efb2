"""Capacity, as Hosts, pools and all that is above them show it."""

from typing import Annotated

from crds.base import Model, Quantity
from crds.fields import Name, Word, about, between


class CPUAmounts(Model):
    """Whole CPUs."""

    total: Annotated[int, between(0, 2**31), about("CPUs (threads) that are there.")]
    allocatable: Annotated[int, between(0, 2**31), about("CPUs that may be given out: overcommitted, less reserved.")]
    allocated: Annotated[int, between(0, 2**31), about("CPUs given to instances that run or are about to.")]
    used: Annotated[int, between(0, 2**31), about("CPUs busy when last looked at, rounded up.")] = 0


class ByteAmounts(Model):
    """Bytes, as quantities."""

    total: Annotated[Quantity, about("Bytes that are there.")]
    allocatable: Annotated[Quantity, about("Bytes that may be given out: overcommitted, less reserved.")]
    allocated: Annotated[Quantity, about("Bytes given out, with the hypervisor's overhead.")]
    used: Annotated[Quantity, about("Bytes really in use when last looked at, rounded to 1 % of the total.")] = 0


class Capacity(Model):
    """What is there, what may be given out, what was, and what is used."""

    cpus: Annotated[CPUAmounts | None, about("Unset: none below, or not known yet.")] = None
    memory: Annotated[ByteAmounts | None, about("Unset: none below, or not known yet.")] = None
    storage: Annotated[ByteAmounts | None, about("Unset: none below, or not known yet.")] = None


class Summary(Model):
    """Capacity as the columns show it."""

    cpus: Annotated[Word | None, about("Allocated/allocatable CPUs, such as 3/32. Unset: not known.")] = None
    memory: Annotated[Word | None, about("Allocated/allocatable memory, such as 1.5Gi/64Gi. Unset: not known.")] = None
    storage: Annotated[Word | None, about("Allocated/allocatable storage, such as 1Ti/10Ti. Unset: not known.")] = None


class Room(Model):
    """How many more instances of one InstanceType fit now."""

    type: Annotated[Name, about("Name of the InstanceType.")]
    more: Annotated[
        int,
        between(0, 2**31),
        about("So many more fit, each without volumes; rounded down to two digits, so that it changes seldom."),
    ]


class Children(Model):
    """How many objects of one kind are below another."""

    total: Annotated[int, between(0, 2**31), about("All that refer to this one, directly or through others.")]
    ready: Annotated[int, between(0, 2**31), about("Those of them that are Ready.")] = 0
    disabled: Annotated[int, between(0, 2**31), about("Those of them where nothing new is placed.")] = 0
