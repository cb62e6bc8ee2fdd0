"""Protocols that other people's tools already speak, in terms of our own requests and answers. No HTTP in here."""
