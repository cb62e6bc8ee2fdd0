"""Who may come in: keys, the gate in front of the whole application, and the headers of every answer."""

SCOPES = ("submit", "read", "admin")
"""What a key may do: post and cancel; look; both of these, on everybody's jobs."""
