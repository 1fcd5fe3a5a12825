"""The cache of decoded images: every file is decoded, cropped and resized once, and its bytes stay in one file.

A row is read when it is asked for (`StoredImages`), so that two hundred thousand images need no more memory than four.
"""

import json
import os
import sys
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, NamedTuple

import numpy as np
from tqdm import tqdm

from glo_lib.images.decode import decode_files
from glo_lib.images.identity import Identity, identify
from glo_lib.images.reading import refuse
from glo_lib.system import locks
from glo_lib.system.cache import cache_root

SLOW_TO_DECODE = 10_000  # images; below that a progress bar is more noise than news
CHECKSUM_BYTES = 2**20
CHECKED_BLOCKS = 1024  # of a cache above 1 GiB that many blocks are checked when it is opened, evenly spread; of a smaller one all
UNFINISHED = "decoding-"  # prefix of files that are still being written


class DecodedImages(NamedTuple):
    """Images decoded, cropped and resized once, as bytes in one file.

    A stream of batches (`glo_lib.inputs.get_inputs_dataset`) holds up to 256 MiB of images in memory. Of more images it reads from the file
    what a batch asks for, and the operating system caches as much of the file as there is room for, so that memory does not grow with the
    data.

    Attributes:
        path: file of ``num_images * image_size * image_size * 3`` bytes.
        num_images: N.
        image_size: pixels a side.
        filenames: the N files, by index.
        skipped: files that are not among them because they cannot be read, and why.
    """

    path: Path
    num_images: int
    image_size: int
    filenames: tuple[str, ...]
    skipped: Mapping[str, str] = MappingProxyType({})

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, image_size, image_size, 3)."""
        return self.num_images, self.image_size, self.image_size, 3

    @property
    def num_bytes(self) -> int:
        """Size of the file."""
        return int(np.prod(self.shape, dtype=np.int64))

    def array(self) -> "StoredImages | np.memmap":
        """The images, indexed like a uint8 array (N, image_size, image_size, 3); rows are read from the file when they are asked for."""
        if not hasattr(os, "preadv"):  # Windows
            return np.memmap(self.path, np.uint8, mode="r", shape=self.shape)
        return StoredImages(self.path, self.shape)


def decode_images(
    filenames: Sequence[str] | Identity, image_size: int, tight_crop: bool = False, progress: bool = False, on_bad_image: str = "error"
) -> DecodedImages:
    """Decode, crop and resize every file once, or find the cache of an earlier call.

    Ordinary JPEG files are decoded and cropped in one step by TensorFlow, on all cores; whatever else is an image (PNG, 16-bit, rotated by
    EXIF, ...) is read by Pillow. The cache is keyed by names, sizes and times of the files and by the geometry, is written
    under a temporary name and renamed when whole, and is checked when it is opened: a damaged one is made anew.

    Args:
        filenames: image files, or what `glo_lib.images.identity.identify` found of them; the position in this list is the index.
        image_size: pixels a side.
        tight_crop: see `glo_lib.inputs.preprocess_inputs`.
        progress: show a progress bar.
        on_bad_image: "error" refuses files that cannot be read, all of them at once; "skip" leaves them out: the index is then the
            position among the remaining files.

    Returns:
        `DecodedImages`.

    Raises:
        ValueError: files that cannot be read, all of them counted, the first ten named with their reason; or no file can be read.
        FileNotFoundError: a file that is not there.
    """
    files = filenames if isinstance(filenames, Identity) else identify(filenames)
    path = cache_root() / "images" / f"{files.cache_key(image_size, tight_crop)}.uint8"
    wanted = DecodedImages(path, len(files.filenames), image_size, files.filenames)
    decoded = _read_cache(wanted) or _build(wanted, tight_crop, progress, on_bad_image)
    _refuse_unless_allowed(decoded, on_bad_image)
    return decoded


def _refuse_unless_allowed(decoded: DecodedImages, on_bad_image: str) -> None:
    if decoded.skipped and (on_bad_image == "error" or not decoded.num_images):
        refuse([f"{filename!r}: {reason}" for filename, reason in decoded.skipped.items()])


def _without(wanted: DecodedImages, reasons: Mapping[int, str]) -> DecodedImages:
    """The images but those at some positions."""
    left = tuple(filename for position, filename in enumerate(wanted.filenames) if position not in reasons)
    skipped = {wanted.filenames[position]: reason for position, reason in reasons.items()}
    return wanted._replace(num_images=len(left), filenames=left, skipped=MappingProxyType(skipped))


def _read_cache(wanted: DecodedImages) -> DecodedImages | None:
    """What the cache holds, if it is there, is that of these files, has the size it should have, and holds the bytes that were written."""
    try:
        description = json.loads(wanted.path.with_suffix(".json").read_text())
        checksums = description["crc32"]
        decoded = _without(wanted, {int(position): str(reason) for position, reason in description.get("skipped", {}).items()})
        if description.get("key", wanted.path.stem) != wanted.path.stem or decoded.path.stat().st_size != decoded.num_bytes:
            return None
        stride = max(1, len(checksums) // CHECKED_BLOCKS)
        with open(decoded.path, "rb") as file:
            for block in range(0, len(checksums), stride):
                file.seek(block * CHECKSUM_BYTES)
                if zlib.crc32(file.read(CHECKSUM_BYTES)) != checksums[block]:
                    return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return decoded if len(checksums) == -(-decoded.num_bytes // CHECKSUM_BYTES) else None


def _build(wanted: DecodedImages, tight_crop: bool, progress: bool, on_bad_image: str) -> DecodedImages:
    folder = wanted.path.parent
    folder.mkdir(parents=True, exist_ok=True)
    locks.remove_abandoned(folder, UNFINISHED)
    handle, partial = tempfile.mkstemp(dir=folder, prefix=UNFINISHED)
    description = Path(f"{partial}.json")
    try:
        with os.fdopen(handle, "wb") as file, locks.acquire(partial) or locks.Lock(None):
            decoded = _without(wanted, _write_decoded(file, wanted, tight_crop, progress))
            _refuse_unless_allowed(decoded, on_bad_image)
            file.flush()
            # The images first: a description without its images is seen as incomplete, and so are images without one.
            description.write_text(json.dumps(_description(decoded, wanted, _checksums(partial))))
            os.replace(partial, decoded.path)
            os.replace(description, decoded.path.with_suffix(".json"))
    finally:
        Path(partial).unlink(missing_ok=True)
        description.unlink(missing_ok=True)
    return decoded


def _description(decoded: DecodedImages, wanted: DecodedImages, checksums: list[int]) -> dict[str, object]:
    reasons = {position: decoded.skipped[name] for position, name in enumerate(wanted.filenames) if name in decoded.skipped}
    return {"key": decoded.path.stem, "shape": decoded.shape, "crc32": checksums, "skipped": reasons}


def _checksums(filename: str) -> list[int]:
    with open(filename, "rb") as file:
        return [zlib.crc32(block) for block in iter(lambda: file.read(CHECKSUM_BYTES), b"")]


def _write_decoded(file: BinaryIO, wanted: DecodedImages, tight_crop: bool, progress: bool) -> dict[int, str]:
    """Write all images that can be read, and say of the others, by position, why not."""
    reasons, total = {}, len(wanted.filenames)
    with tqdm(total=total, desc="decoding", unit=" images", disable=not progress or total < SLOW_TO_DECODE, file=sys.stdout) as bar:
        for first, part in decode_files(wanted.filenames, wanted.image_size, tight_crop):
            if isinstance(part, str):
                reasons[first] = part
            else:
                part.tofile(file)
            bar.update(1 if isinstance(part, str) else len(part))
    return reasons


class StoredImages:
    """A read-only stand-in for a uint8 array (N, height, width, channels) whose bytes lie in a file, one image after the other.

    It is indexed like an array, by a number, a slice or an array of indices, and gives an ordinary array of the rows asked for. What was
    read before, the operating system keeps in memory as long as there is room. A memory map would do the same, but
    every page that it has touched counts as memory of the process: after one epoch, the whole data set.

    Args:
        path: file of exactly ``N * height * width * channels`` bytes.
        shape: (N, height, width, channels).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file has another size.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "images.uint8"
        ...     _ = path.write_bytes(bytes(range(24)))
        ...     images = StoredImages(path, (2, 2, 2, 3))
        ...     images[[1, 0]][:, 0, 0].tolist()
        [[12, 13, 14], [0, 1, 2]]
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, path: str | Path, shape: tuple[int, ...]):
        self.shape = tuple(int(side) for side in shape)
        self.ndim = len(self.shape)
        self._row_bytes = int(np.prod(self.shape[1:], dtype=np.int64))
        self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        size = os.fstat(self._file).st_size
        if size != len(self) * self._row_bytes:
            os.close(self._file)
            self._file = -1
            raise ValueError(f"{str(path)!r} has {size} bytes; images of shape {self.shape} have {len(self) * self._row_bytes}")

    def __del__(self):
        if getattr(self, "_file", -1) >= 0:
            os.close(self._file)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                images = np.empty((max(0, stop - start), *self.shape[1:]), np.uint8)
                self._read(_bytes_of(images), start)
                return images
            return self._gather(np.arange(start, stop, step))
        indices = np.asarray(rows)
        if indices.dtype == bool:
            indices = np.flatnonzero(indices)
        return self._gather(indices.reshape(-1)).reshape(*indices.shape, *self.shape[1:])

    def _gather(self, indices: np.ndarray) -> np.ndarray:
        if len(indices) and not (-len(self) <= indices.min() and indices.max() < len(self)):
            raise IndexError(f"images {indices.min()} to {indices.max()} are asked for, and there are {len(self)}")
        images = np.empty((len(indices), *self.shape[1:]), np.uint8)
        view, size = _bytes_of(images), self._row_bytes
        for row, index in enumerate((indices % max(1, len(self))).tolist()):
            self._read(view[row * size : (row + 1) * size], index)
        return images

    def _read(self, view: memoryview, first: int) -> None:
        """Fill a whole buffer from the row ``first`` on; the system may hand out less than asked for at once."""
        offset = first * self._row_bytes
        while view:
            read = os.preadv(self._file, [view], offset)
            if read == 0:
                raise OSError("the file of decoded images has become shorter while it was in use; start again, and it is made anew")
            view, offset = view[read:], offset + read


def _bytes_of(images: np.ndarray) -> memoryview:
    return memoryview(images).cast("B") if images.size else memoryview(b"")  # an empty array cannot be cast
