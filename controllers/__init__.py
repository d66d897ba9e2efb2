"""Decides and does: the reconcile engine, one thin file per kind, pure decision logic, and placement."""
