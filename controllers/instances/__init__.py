"""The parts of the Instance kind, each one task of a reconcile; `controllers.instance` puts them in order."""
