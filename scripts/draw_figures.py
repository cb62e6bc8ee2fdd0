"""Draws the figures of docs/method.md: `.venv/bin/python scripts/draw_figures.py [FOLDER]`."""

import sys
from pathlib import Path

from benchmarks.method import figures
from benchmarks.plots import draw
from models.registry import Registry

ROOT = Path(__file__).resolve().parents[1]

if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "figures"
    draw(figures(Registry(ROOT / "checkpoints")), folder)
