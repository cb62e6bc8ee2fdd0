"""How much white noise is in a photograph, from the photograph alone."""

import numpy as np

MAD_TO_STD = 1.4826
LEAST = 1e-4
NORMAL_999 = 3.0902  # what a normal variable exceeds once in a thousand


def estimate_noise_std(image: np.ndarray) -> float:
    """Standard deviation of the noise in an image (H, W), in its own unit (0 black, 1 white).

    The diagonal detail (a - b - c + d) / 2 of every 2 x 2 block is all but free of the scene, above all of a blurred
    one; its median absolute deviation is the estimate (Donoho and Johnstone 1994). Blocks that touch black or white
    are left out: there the sensor cut the noise off. Rounding to 8 bits counts as the noise that it is.
    """
    blocks = [image[i : image.shape[0] - 1 + i, j : image.shape[1] - 1 + j] for i in (0, 1) for j in (0, 1)]
    if not blocks[0].size:
        return LEAST
    a, b, c, d = blocks
    detail = (a - b - c + d) / 2
    inside = np.logical_and.reduce([(block > 0.0) & (block < 1.0) for block in blocks])
    if inside.mean() > 0.05:
        detail = detail[inside]
    spread = MAD_TO_STD * float(np.median(np.abs(detail - np.median(detail))))
    # Where rounding leaves most details at zero the median says nothing: the mean square then bounds the noise.
    return max(spread, LEAST) if spread > 0.0 else max(LEAST, min(1 / 255, float(np.sqrt(np.mean(detail**2)))))


def noise_level(m: int) -> float:
    """rms over noise that m independent values exceed once in a thousand: sqrt(chi2_.999(m) / m).

    By Wilson and Hilferty's cube (1931), within 2 % for every m: an image's command line can do without SciPy.
    """
    spread = 2.0 / (9.0 * m)
    return float((1.0 - spread + NORMAL_999 * spread**0.5) ** 1.5)
