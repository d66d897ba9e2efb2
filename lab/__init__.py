"""A real private cloud on one machine, for the demo, the tests and for trying Stratiform at home.

It imports nothing of `crds`, `drivers` or `controllers`: it starts them as processes, like any other user.
"""
