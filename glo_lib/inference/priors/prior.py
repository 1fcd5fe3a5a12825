"""What every prior has in common: codes are drawn, and then projected as in training."""

from abc import ABC, abstractmethod

import numpy as np

from glo_lib.projection import project_array


class Prior(ABC):
    """A distribution of latent codes from which new codes are drawn.

    Attributes:
        projection: the projection of the model, ``"sphere"``, ``"ball"`` or ``"none"``.
    """

    projection: str

    @abstractmethod
    def draw(self, num_samples: int, seed: int = 0) -> np.ndarray:
        """Draw codes (num_samples, d) float32 from the fitted distribution, without projection. Equal seeds give equal codes."""

    def sample(self, num_samples: int, seed: int = 0) -> np.ndarray:
        """Draw codes (num_samples, d) float32, projected as in training. Equal seeds give equal codes.

        Raises:
            ValueError: ``num_samples`` is less than 1.
        """
        return project_array(self.draw(num_samples, seed), self.projection)


def check_num_samples(num_samples: int) -> None:
    """Raise a `ValueError` if no sample is asked for."""
    if num_samples < 1:
        raise ValueError(f"num_samples is {num_samples}; give at least 1")


def check_codes(codes: np.ndarray) -> np.ndarray:
    """Return the codes, or raise a `ValueError` if they are not a matrix (n, d) of finite numbers with at least one row."""
    if codes.ndim != 2 or not len(codes) or not np.isfinite(codes).all():
        raise ValueError(f"codes of shape {codes.shape}; a prior is fitted to a matrix (n, d) of finite numbers with n at least 1")
    return codes
