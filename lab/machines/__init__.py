"""The machines of a lab: libvirt hosts, an NFS server, a template server, made of namespaces on this machine.

Called by the lab's command line, by the demo and by the tests of level "cloud". The way in is `Machines`:

    machines = Machines("demo")
    machines.up(say=print)
    machines.host("node-1").kill()
"""

from lab.errors import LabError
from lab.machines.host import Host
from lab.machines.lab import Machines, MachineStatus, Options
from lab.machines.plan import Plan
from lab.machines.render import render

__all__ = ["Host", "LabError", "MachineStatus", "Machines", "Options", "Plan", "render"]
