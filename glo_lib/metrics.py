"""Numbers that say how good images are."""

import numpy as np


def psnr(images: np.ndarray, reconstructions: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio of each image, 10 log10(4 / MSE) for the range [-1, 1], whose peak is 2.

    Args:
        images: (n, ...) float, in [-1, 1].
        reconstructions: the same shape; values outside [-1, 1] are clipped, as a display would.

    Returns:
        (n,) float64, in dB; infinite where both are equal.

    Example:
        >>> psnr(np.zeros((1, 4)), np.full((1, 4), 0.2)).round(2).tolist()
        [20.0]
    """
    error = images.astype(np.float64) - np.clip(reconstructions, -1, 1)
    mean_squared_error = np.square(error).reshape(len(images), -1).mean(axis=1)
    with np.errstate(divide="ignore"):
        return 10 * np.log10(4 / mean_squared_error)
