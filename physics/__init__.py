"""The world: forward maps, their noise and their constraints. No learning, no solver."""
