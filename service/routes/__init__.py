"""HTTP endpoints, thin: each reads a request, calls one thing, writes an answer."""
