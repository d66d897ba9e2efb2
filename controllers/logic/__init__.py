"""Pure decisions: no I/O, no Kubernetes client, no driver back-end. Tables and rules that tests can read."""
