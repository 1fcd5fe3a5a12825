"""Keep the fits of priors that are learned, because they take up to a minute.

A fit is a file in the cache, named after a digest of the codes and of the settings of the prior, which determine the fit. So the codes of
another checkpoint have a fit of their own, and a model that was moved or exported finds the same one again. The files are written whole and
verified when they are read; a damaged one is made again.
"""

import hashlib
import json
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from glo_lib.inference.priors.prior import Prior
from glo_lib.system.cache import make_cache_folder
from glo_lib.system.replace import replacing

Learned = TypeVar("Learned", bound=Prior)
WEIGHTS = "weights/"


def fit_or_load(
    name: str, kind: Callable[..., Learned], fit: Callable[[np.ndarray, str], Learned], codes: np.ndarray, projection: str, settings: tuple
) -> Learned:
    """Return a learned prior from the cache, or fit it and store it there.

    Args:
        name: of the prior; part of the file's name.
        kind: class of the prior, a dataclass whose fields are arrays, numbers, and a dictionary ``weights`` of arrays.
        fit: fits it to codes.
        codes: (n, d), projected.
        projection: the projection of the model.
        settings: whatever else determines the fit.

    Returns:
        The prior. If the cache cannot be written, it is fitted anew each time, and a warning says so.

    Example:
        ``fit_or_load("flow", FlowPrior, fit_flow, codes, "sphere", settings=(3000,))``
    """
    try:
        path = make_cache_folder("priors") / f"{name}-{_digest(codes, projection, settings)}.npz"
    except OSError as error:
        reason = error if error.errno is None else f"the cache cannot be written ({error.strerror}); make room"
        warnings.warn(f"{reason}; until then the prior {name!r} is fitted anew each time", stacklevel=3)
        return fit(codes, projection)
    found = _load(path, kind)
    if found is None:
        found = fit(codes, projection)
        _save(path, found)
    return found


def _digest(codes: np.ndarray, projection: str, settings: tuple) -> str:
    content = hashlib.sha256(np.ascontiguousarray(codes, np.float32).tobytes())
    content.update(json.dumps([codes.shape, projection, settings]).encode())
    return content.hexdigest()[:16]


def _save(path: Path, prior: Prior) -> None:
    arrays = dict(vars(prior))
    weights = {WEIGHTS + name: value for name, value in arrays.pop("weights").items()}
    try:
        with replacing(path, several_writers=True) as partial, open(partial, "wb") as file:
            np.savez(file, **arrays, **weights)
    except OSError as error:
        warnings.warn(
            f"the fitted prior cannot be kept in {str(path.parent)!r} ({error.strerror}); it is fitted anew next time", stacklevel=4
        )


def _load(path: Path, kind: Callable[..., Learned]) -> Learned | None:
    """Return the prior that a file holds, or None if there is no such file or it is damaged (each entry has a checksum)."""
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        weights = {name.removeprefix(WEIGHTS): arrays.pop(name) for name in list(arrays) if name.startswith(WEIGHTS)}
        values = {name: value if value.ndim else value.item() for name, value in arrays.items()}
        return kind(**values, weights=weights)
    except (OSError, EOFError, KeyError, ValueError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        warnings.warn(f"{str(path)!r} is damaged ({error}); the prior is fitted anew", stacklevel=4)
        return None
