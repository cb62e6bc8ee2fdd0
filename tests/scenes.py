"""Pictures that tests make themselves: shapes with edges on a soft ground, values in [0, 1]."""

import numpy as np


def scene(height: int, width: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """(C, H, W) float32: a soft gradient, discs and bars; each channel its own brightness of the same shapes."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    image = 0.35 + 0.15 * np.sin(rows / 17) * np.cos(columns / 23)
    for _ in range(12):
        row, column, radius = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(3, 12)
        image = np.where((rows - row) ** 2 + (columns - column) ** 2 < radius**2, rng.uniform(0.1, 0.9), image)
    for _ in range(6):
        column, tall = rng.integers(0, width), rng.integers(0, height)
        image[tall:, column : column + 2] = rng.uniform(0.1, 0.9)
    gains = rng.uniform(0.75, 1.0, channels)
    return (gains[:, None, None] * image).astype(np.float32)
