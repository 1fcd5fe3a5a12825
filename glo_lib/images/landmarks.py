"""A tight crop that follows the eyes, from the positions of eyes and mouth that CelebA's list ``list_landmarks_align_celeba`` has.

The list says where the eyes, the nose and the corners of the mouth are, in pixels of the upright image. Other faces are cropped in the same
way if such a list, made by any program that finds landmarks, lies beside them.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from glo_lib.images.celeba import find_list, look_up, read_landmarks
from glo_lib.images.crop import TIGHT_CROP
from glo_lib.images.formats import FORMATS
from glo_lib.images.metadata import orientation_of, read_jpeg_header
from glo_lib.images.release import HEIGHT, LANDMARKS, WIDTH, where_to_get
from glo_lib.system.cache import digest_of, shown
from glo_lib.system.progress import slow_progress

LEFT_EYE, RIGHT_EYE, LEFT_MOUTH, RIGHT_MOUTH = 0, 1, 3, 4  # rows of the five points; 2 is the nose
# CelebA's aligned faces have, on average, the middle of their eyes here (x, y; pixel i covers i to i + 1), and these distances in pixels.
MIDDLE_OF_EYES = (WIDTH / 2, 112.0)
EYE_DISTANCE, MOUTH_DISTANCE = 38.0, 41.0  # between the eyes; from their middle to that of the corners of the mouth
# Where the middle of the eyes lies in the central square of 108 pixels, from its left and its upper edge.
EYES_IN_CROP = (MIDDLE_OF_EYES[0] - (WIDTH - TIGHT_CROP) / 2, MIDDLE_OF_EYES[1] - (HEIGHT - TIGHT_CROP) / 2)


def landmarks_for(crop: str, filenames: Sequence[str], data_dir: str | Path | None = None) -> np.ndarray | None:
    """Return the landmarks that a kind of crop needs.

    Args:
        crop: the setting of that name.
        filenames: image files.
        data_dir: folder or archive that they come from; by default each file's own folder is searched for the list.

    Returns:
        (N, 5, 2), see `find_landmarks`; None unless the crop is ``"landmarks"``.

    Raises:
        ValueError: see `find_landmarks`.

    Example:
        >>> landmarks_for("tight", ["000001.jpg"]) is None
        True
    """
    return find_landmarks(filenames, data_dir) if crop == "landmarks" else None


def find_landmarks(filenames: Sequence[str], data_dir: str | Path | None = None) -> np.ndarray:
    """Find the landmarks of image files, in ``list_landmarks_align_celeba.txt`` or Kaggle's CSV file.

    Args:
        filenames: image files.
        data_dir: folder or archive that they come from, see `glo_lib.images.celeba.find_list`; by default each file's own folder.

    Returns:
        (N, 5, 2) float64: x and y of the left eye, the right eye, the nose, the left and the right corner of the mouth, in pixels. Left is
        the left of the image.

    Raises:
        ValueError: there is no list, it is damaged or lacks an image, or the two eyes of a face are the same point.

    Example:
        ``find_landmarks(list_images("CelebA"), "CelebA")[0]``
    """
    found: dict[str, np.ndarray] = {}
    groups: dict[str, list[str]] = {}
    for filename in filenames:
        groups.setdefault("" if data_dir else os.path.dirname(filename), []).append(filename)
    for folder, names in groups.items():
        search = find_list(LANDMARKS, data_dir or folder or os.curdir, names)
        if search.path is None:
            raise ValueError(
                f"crop is 'landmarks', and nothing says where the eyes of {os.path.basename(names[0])!r} are: there is no {LANDMARKS}.txt "
                f"or .csv in {', '.join(map(shown, search.folders))} (nor in Eval or Anno there); add the list, with a line such as "
                f"'NAME.jpg 69 109 106 113 77 142 73 152 108 154' for each image (x and y of the left eye, the right eye, the nose, the "
                f"left and the right corner of the mouth), or give crop 'tight' or 'square'{where_to_get(names)}"
            )
        found |= dict(zip(names, look_up(read_landmarks(search.path), names, search.path, "crop 'tight' to do without"), strict=True))
    points = np.array([found[filename] for filename in filenames]).reshape(-1, 5, 2)
    same = np.flatnonzero(np.all(points[:, LEFT_EYE] == points[:, RIGHT_EYE], axis=1))
    if len(same):
        raise ValueError(f"the landmarks of {filenames[same[0]]!r} have both eyes in one point ({len(same)} such images); correct the list")
    return points


def landmarks_digest(landmarks: np.ndarray) -> str:
    """Return 16 hexadecimal digits that depend on every landmark.

    Example:
        >>> landmarks_digest(np.zeros((1, 5, 2))) == landmarks_digest(np.zeros((1, 5, 2), np.int64))
        True
    """
    return digest_of(np.ascontiguousarray(landmarks, np.float64).tobytes().hex())


def eye_squares(landmarks: np.ndarray) -> np.ndarray:
    """Return the square around each face that has its eyes where the central square of 108 pixels has them in CelebA's aligned images.

    Its side is proportional to the distance between the eyes or, if that gives a larger square, to the distance from the eyes to the mouth,
    because the eyes of a face that is turned aside are close together. The square is upright: a face that is tilted stays tilted.

    Args:
        landmarks: (N, 5, 2), see `find_landmarks`.

    Returns:
        (N, 3) float64: upper edge, left edge and side, in pixels; pixel i covers i to i + 1.

    Example:
        >>> average = [[69.5, 111.5], [107.5, 111.5], [88.5, 132], [71.5, 152.5], [105.5, 152.5]]
        >>> eye_squares(np.array([average])).tolist()
        [[55.0, 35.0, 108.0]]
    """
    middle = (landmarks[:, LEFT_EYE] + landmarks[:, RIGHT_EYE]) / 2
    mouth = (landmarks[:, LEFT_MOUTH] + landmarks[:, RIGHT_MOUTH]) / 2
    between = np.linalg.norm(landmarks[:, RIGHT_EYE] - landmarks[:, LEFT_EYE], axis=1) / EYE_DISTANCE
    scale = np.maximum(between, np.linalg.norm(mouth - middle, axis=1) / MOUTH_DISTANCE)
    corner = middle + 0.5 - scale[:, np.newaxis] * EYES_IN_CROP  # the list numbers pixels, whose centres lie half a pixel further
    return np.column_stack([corner[:, 1], corner[:, 0], TIGHT_CROP * scale])


def fit_into(squares: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Move squares so that they lie in their images; a square larger than its image becomes as large as the short side.

    Args:
        squares: (N, 3) upper edge, left edge and side.
        sizes: (N, 2) height and width of the images.

    Returns:
        (N, 3).

    Example:
        >>> fit_into(np.array([[-4.0, 3.0, 10.0], [0.0, 30.0, 50.0]]), np.array([[20, 12], [30, 40]])).tolist()
        [[0.0, 2.0, 10.0], [0.0, 10.0, 30.0]]
    """
    side = np.minimum(squares[:, 2:], sizes.min(axis=1, keepdims=True))
    shrunk = squares[:, :2] + (squares[:, 2:] - side) / 2
    return np.column_stack([np.clip(shrunk, 0, sizes - side), side])


def stored_squares(filenames: Sequence[str], landmarks: np.ndarray) -> np.ndarray:
    """Return the square to be cut from each image as it is stored, which may lie on its side.

    Args:
        filenames: image files.
        landmarks: (N, 5, 2) in the upright images, see `find_landmarks`.

    Returns:
        (N, 3) float32 upper edge, left edge and side; zeros for a file whose header cannot be read.

    Example:
        ``stored_squares(filenames, find_landmarks(filenames))``
    """
    squares = np.zeros((len(filenames), 3), np.float32)
    wanted = eye_squares(landmarks)
    with slow_progress("looking for the eyes", len(filenames), " images") as bar:
        for number, filename in enumerate(filenames):
            header = _header_of(filename)
            if header is not None:
                height, width, orientation = header
                upright = (width, height) if orientation >= 5 else (height, width)
                square = fit_into(wanted[number : number + 1], np.array([upright]))[0]
                squares[number] = as_stored(square, upright, orientation)
            bar.update()
    return squares


def as_stored(square: np.ndarray, size: tuple[int, int], orientation: int) -> tuple[float, float, float]:
    """Return where a square of an upright image lies in the image as it is stored.

    Args:
        square: (3,) upper edge, left edge and side.
        size: height and width of the upright image.
        orientation: EXIF's number, see `glo_lib.images.metadata.turn_upright`.

    Example:
        >>> as_stored(np.array([1.0, 2.0, 5.0]), (10, 20), 6)  # stored with the upper edge at the left
        (13.0, 1.0, 5.0)
    """
    (top, left, side), (height, width) = map(float, square), size
    bottom, right = height - top - side, width - left - side  # distances from the other edges
    return (*STORED_CORNERS[orientation](top, left, bottom, right), side)


# Upper and left edge in the image as stored, from the distances to all edges of the upright image, by EXIF's number.
STORED_CORNERS: Mapping = {
    1: lambda top, left, bottom, right: (top, left),
    2: lambda top, left, bottom, right: (top, right),
    3: lambda top, left, bottom, right: (bottom, right),
    4: lambda top, left, bottom, right: (bottom, left),
    5: lambda top, left, bottom, right: (left, top),
    6: lambda top, left, bottom, right: (right, top),
    7: lambda top, left, bottom, right: (right, bottom),
    8: lambda top, left, bottom, right: (left, bottom),
}


def _header_of(filename: str) -> tuple[int, int, int] | None:
    """Return height and width of an image as stored, and its orientation; None if they cannot be read."""
    header = read_jpeg_header(filename)
    if header is not None:
        return header.height, header.width, header.orientation
    try:
        with Image.open(filename, formats=FORMATS) as image:
            return image.height, image.width, orientation_of(image)
    except Exception:  # Pillow raises almost any exception for damaged files; decoding says what is wrong
        return None
