"""Prometheus metrics: one registry a process, every name begins with deceptron_, every label is bounded."""
