"""A stand-in for the release of CelebA: its files, formats and numbers, with drawn faces, so that the largest runs can be tried without it.

Some hundred faces are drawn, and every image is one of them, moved, mirrored, and lighter or darker, so that no two files are alike. The
landmarks follow. A list has as many rows as in the release, and people have several images each.
"""

import io
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from glo_lib.faces.dataset import ATTRIBUTE_NAMES, attributes, draw_face, sample_factors
from glo_lib.system.progress import slow_progress

# Numbers of CelebA as published; other numbers of images are divided in the same proportions.
NUM_IMAGES, NUM_PEOPLE = 202_599, 10_177
PART_SIZES = (162_770, 19_867, 19_962)
SHARED_PEOPLE = 3  # who are in training and in validation too, as an imperfect list may have them
DRAWN, QUALITY = 256, 35  # about 5 kB for each file, so that all of them take 1 GB
MOST_PIXELS = 6  # by which a face is moved, in each direction
LANDMARK_NAMES = "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y"
LANDMARKS = np.array([[69, 111], [107, 111], [88, 132], [71, 152], [105, 152]])  # of a drawn face, as whole pixels
MIRRORED = [1, 0, 2, 4, 3]  # the landmark that each becomes in a mirrored image
IMAGES_PER_TASK = 128


class Variation(NamedTuple):
    """How an image differs from the drawn face that it shows.

    Attributes:
        face: number of the drawn face.
        shift: columns and rows by which it is moved.
        mirrored: whether left and right are exchanged.
        brightness: factor of all values.
    """

    face: int
    shift: tuple[int, int]
    mirrored: bool
    brightness: float


def write_release(folder: str | Path, num_images: int = NUM_IMAGES, drawn: int = DRAWN, seed: int = 0, archive: bool = True) -> Path:
    """Write a stand-in for the release of CelebA, as its official tree.

    Writes ``Img/img_align_celeba.zip`` (or a folder of that name), ``Anno/list_attr_celeba.txt``, ``Anno/identity_CelebA.txt``,
    ``Anno/list_landmarks_align_celeba.txt`` and ``Eval/list_eval_partition.txt``. The archive is written last, so a folder that has it is
    complete.

    Args:
        folder: is created, and must be empty if it exists.
        num_images: number of images, at least 10.
        drawn: number of faces to draw, which takes 20 ms each.
        seed: seed of the variations.
        archive: write an archive, as in the release, and not a folder of images.

    Returns:
        The folder.

    Raises:
        FileExistsError: the folder is not empty.
        ValueError: there are fewer than 10 images or no faces.

    Example:
        ``write_release("CelebA", num_images=1000, drawn=16)``
    """
    folder = Path(folder)
    if num_images < 10 or drawn < 1:
        raise ValueError(f"num_images is {num_images} and drawn {drawn}; give at least 10 images and 1 face")
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{str(folder)!r} is not empty; give another folder")
    variations = [variation_of(index, drawn, seed) for index in range(num_images)]
    for name in ("Img", "Anno", "Eval"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    all_attributes = [attributes(sample_factors(number)) for number in range(drawn)]
    write_lists(folder, variations, all_attributes)
    with slow_progress("drawing faces", drawn, " faces") as bar:
        faces = []
        for number in range(drawn):
            faces.append(draw_face(sample_factors(number), noise_seed=number))
            bar.update()
    _write_images(folder / "Img" / "img_align_celeba", variations, faces, archive)
    return folder


def variation_of(index: int, drawn: int = DRAWN, seed: int = 0) -> Variation:
    """Return which face an image shows, and how; it depends on nothing but the arguments.

    Example:
        >>> variation_of(5) == variation_of(5), variation_of(5).face < 256
        (True, True)
    """
    rng = np.random.default_rng([seed, index])
    right, down = rng.integers(-MOST_PIXELS, MOST_PIXELS + 1, 2).tolist()
    return Variation(int(rng.integers(drawn)), (right, down), bool(rng.integers(2)), float(rng.uniform(0.85, 1.1)))


def vary(face: np.ndarray, variation: Variation) -> np.ndarray:
    """Return a drawn face (218, 178, 3) moved, mirrored, and lighter or darker; what is moved in at the edges repeats the edge."""
    (right, down), (height, width) = variation.shift, face.shape[:2]
    rows, columns = (np.clip(np.arange(size) - shift, 0, size - 1) for size, shift in ((height, down), (width, right)))
    moved = face[rows[:, np.newaxis], columns]
    moved = moved[:, ::-1] if variation.mirrored else moved
    return np.minimum(moved * np.float32(variation.brightness), 255).astype(np.uint8)


def landmarks_of(variation: Variation, width: int = 178) -> np.ndarray:
    """Return the landmarks (5, 2) of an image: x and y of the left eye, the right eye, the nose, and both corners of the mouth.

    Example:
        >>> landmarks_of(Variation(0, (2, -1), False, 1.0))[0].tolist()
        [71, 110]
    """
    moved = LANDMARKS + variation.shift
    return np.column_stack([width - 1 - moved[:, 0], moved[:, 1]])[MIRRORED] if variation.mirrored else moved


def part_sizes(num_images: int) -> tuple[int, int, int]:
    """Return how many images are for training, validation and test: CelebA's numbers, or the same proportions.

    Example:
        >>> part_sizes(202_599), part_sizes(100)
        ((162770, 19867, 19962), (80, 10, 10))
    """
    validation, test = (round(num_images * size / NUM_IMAGES) for size in PART_SIZES[1:])
    return num_images - validation - test, validation, test


def people_of(num_images: int) -> list[int]:
    """Return the person of each image, from 1: each part has people of its own, and a few of training are in validation too.

    Example:
        >>> len(set(people_of(202_599)))
        10177
    """
    sizes = part_sizes(num_images)
    num_people = max(3, round(num_images * NUM_PEOPLE / NUM_IMAGES))
    counts = [max(1, round(num_people * size / num_images)) for size in sizes[1:]]
    counts.insert(0, num_people - sum(counts))
    people, first = [], 1
    for size, count in zip(sizes, counts, strict=True):
        people += [first + number % count for number in range(size)]
        first += count
    shared = min(SHARED_PEOPLE, sizes[1] // 2, counts[0])
    last = sizes[0] + sizes[1]
    people[last - shared : last] = range(1, shared + 1)
    return people


def write_lists(folder: Path, variations: Sequence[Variation], all_attributes: Sequence[dict[str, int]]) -> None:
    """Write the four lists, as the release has them."""
    num_images = len(variations)
    names = [image_name(index) for index in range(num_images)]
    parts = np.repeat((0, 1, 2), part_sizes(num_images)).tolist()
    rows = ["".join(f" {value:2d}" for value in values.values()) for values in all_attributes]
    header = [f"{num_images}\n"]
    lists = {
        "Anno/list_attr_celeba.txt": header + [f"{' '.join(ATTRIBUTE_NAMES)} \n"] + [
            f"{name}{rows[variation.face]}\n" for name, variation in zip(names, variations, strict=True)
        ],
        "Anno/identity_CelebA.txt": [f"{name} {person}\n" for name, person in zip(names, people_of(num_images), strict=True)],
        "Eval/list_eval_partition.txt": [f"{name} {part}\n" for name, part in zip(names, parts, strict=True)],
        "Anno/list_landmarks_align_celeba.txt": header + [f"{LANDMARK_NAMES}\n"] + [
            name + "".join(f" {value:3d}" for value in landmarks_of(variation).ravel()) + "\n"
            for name, variation in zip(names, variations, strict=True)
        ],
    }  # fmt: skip
    for name, lines in lists.items():
        (folder / name).write_text("".join(lines), newline="\n")


def image_name(index: int) -> str:
    """Return the file name of an image: CelebA counts from one, with six digits."""
    return f"{index + 1:06d}.jpg"


def _write_images(target: Path, variations: Sequence[Variation], faces: Sequence[np.ndarray], archive: bool) -> None:
    if not archive:
        target.mkdir()
        _encode_all(variations, faces, lambda name, contents: (target / name).write_bytes(contents))
        return
    partial = target.with_suffix(".zip.partial")
    with zipfile.ZipFile(partial, "w") as zip_file:  # without compression, because JPEG files hardly compress
        _encode_all(variations, faces, lambda name, contents: zip_file.writestr(f"{target.name}/{name}", contents))
    os.replace(partial, target.with_suffix(".zip"))


def _encode_all(variations: Sequence[Variation], faces: Sequence[np.ndarray], write: Callable[[str, bytes], object]) -> None:
    """Encode all images in several threads, and write them in order."""
    tasks = [range(first, min(first + IMAGES_PER_TASK, len(variations))) for first in range(0, len(variations), IMAGES_PER_TASK)]

    def encode(task: range) -> list[tuple[str, bytes]]:
        return [(image_name(index), _encode(vary(faces[variations[index].face], variations[index]), index)) for index in task]

    with slow_progress("writing images", len(variations), " images") as bar, ThreadPoolExecutor() as pool:
        for part in _in_order(pool, encode, tasks):
            for name, contents in part:
                write(name, contents)
            bar.update(len(part))


def _in_order(pool: ThreadPoolExecutor, function: Callable, tasks: Sequence[range]) -> Iterator[list[tuple[str, bytes]]]:
    """Yield the results in order, with a few tasks under way, so that not all results are in memory at once."""
    ahead = 2 * (os.cpu_count() or 1)
    waiting = [pool.submit(function, task) for task in tasks[:ahead]]
    for number in range(len(tasks)):
        if number + ahead < len(tasks):
            waiting.append(pool.submit(function, tasks[number + ahead]))
        yield waiting.pop(0).result()


def _encode(pixels: np.ndarray, index: int) -> bytes:
    """Return an image as a JPEG file whose comment has its number, so that no two files are alike."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY, comment=f"stand-in {index + 1}".encode())
    return file.getvalue()
