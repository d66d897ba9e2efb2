"""The placement engine: arrays in, decision and story out. No I/O, no clock, no Kubernetes types.

Called by `controllers.placement.scheduler` (live), `whatif` (a dump) and `simulate` (traces).
"""
