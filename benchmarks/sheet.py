"""Sheets of small images, as PNG."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.charts import Picture

LABEL, GAP = 14, 4  # pixels
PAPER, INK = 255, 0


def paste(picture: Picture, directory: Path) -> str:
    """Writes the sheet into the directory and returns the file's name."""
    height, width = picture.rows[0][0][1].shape
    step_down, step_right = height + LABEL + GAP, width + GAP
    columns = max(len(row) for row in picture.rows)
    sheet = Image.new("L", (columns * step_right + GAP, len(picture.rows) * step_down + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, row in enumerate(picture.rows):
        for j, (label, image) in enumerate(row):
            corner = GAP + j * step_right, GAP + i * step_down
            draw.text(corner, label, fill=INK)
            pixels = np.rint(255.0 * image.numpy()).astype(np.uint8)
            sheet.paste(Image.fromarray(pixels), (corner[0], corner[1] + LABEL))
    directory.mkdir(parents=True, exist_ok=True)
    sheet.save(directory / picture.file, optimize=True)
    return picture.file
