"""A cloud on one Debian machine: a real control plane and real libvirt hosts, for the demo, the tests and people at home.

`python -m lab` is its command line, `lab.controlplane.ControlPlane` and `lab.machines` what tests call. Nothing here
imports crds, drivers or controllers: those are started as processes, as anybody's installation would.
"""
