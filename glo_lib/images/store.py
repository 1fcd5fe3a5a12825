"""The cache of decoded images: every image file is decoded, cropped and resized once, and the results are stored in one file.

`StoredImages` reads an image from this file only when it is indexed, so the memory needed does not depend on the number of images.
"""

import json
import os
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple, TextIO

import numpy as np
from numpy.typing import DTypeLike

from glo_lib.config import TrainConfig
from glo_lib.images.decode import decode_files
from glo_lib.images.identity import Identity, identify
from glo_lib.images.landmarks import landmarks_digest, landmarks_for, stored_squares
from glo_lib.images.reading import MAX_MEGAPIXELS, refuse
from glo_lib.system import locks
from glo_lib.system.cache import cache_root, make_cache_folder
from glo_lib.system.progress import slow_progress

CHECKSUM_BYTES = 2**20  # size of a block with a checksum of its own
CHECKED_BLOCKS = 1024  # opening a cache checks all blocks, or, above 1 GiB, about that many at regular distances
UNFINISHED = "decoding-"  # name prefix of files that are still being written
JOURNAL = ".journal"  # ending of the list of what such a file holds


class DecodedImages(NamedTuple):
    """Decoded, cropped and resized images, as bytes in one file.

    A stream of batches (`glo_lib.inputs.get_inputs_dataset`) holds images of up to 256 MiB in memory. If there are more, it reads the
    images of each batch from the file. The operating system caches the file as far as there is free memory, so the memory of the process
    does not grow with the number of images.

    Attributes:
        path: file of ``num_images * image_size * image_size * 3`` bytes.
        num_images: N.
        image_size: pixels a side.
        filenames: the N image files, by index.
        skipped: the files that cannot be read and have no index, each with the reason.
        landmarks_digest: digest of the landmarks after which the images were cropped; empty if they were not.
    """

    path: Path
    num_images: int
    image_size: int
    filenames: tuple[str, ...]
    skipped: Mapping[str, str] = MappingProxyType({})
    landmarks_digest: str = ""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, image_size, image_size, 3)."""
        return self.num_images, self.image_size, self.image_size, 3

    @property
    def num_bytes(self) -> int:
        """Size of the file, in bytes."""
        return int(np.prod(self.shape, dtype=np.int64))

    def array(self) -> "StoredImages | np.memmap":
        """Return the images, which are indexed like a uint8 array (N, image_size, image_size, 3) and read from the file when indexed."""
        if not hasattr(os, "preadv"):  # Windows
            return np.memmap(self.path, np.uint8, mode="r", shape=self.shape)
        return StoredImages(self.path, self.shape)


def decode_images(
    filenames: Sequence[str] | Identity,
    image_size: int,
    tight_crop: bool = False,
    progress: bool = False,
    on_bad_image: str = "error",
    max_megapixels: float = MAX_MEGAPIXELS,
    landmarks: np.ndarray | None = None,
) -> DecodedImages:
    """Decode, crop and resize every image file, or return the cache of an earlier call.

    `glo_lib.images.decode.decode_files` says how. The name of the cache depends on the paths, sizes and times of the files, on the
    geometry, on the landmarks, and on the largest size that is read. A cache is written under a temporary name and renamed when it is
    complete. Its checksums are checked when it is opened, and a damaged cache is built again. If the process is killed meanwhile, the next
    call goes on where it was.

    Args:
        filenames: image files, or the result of `glo_lib.images.identity.identify`; the position in this list is the index.
        image_size: pixels a side.
        tight_crop: see `glo_lib.inputs.preprocess_inputs`.
        progress: show a progress bar if decoding takes longer than a second.
        on_bad_image: "error" raises an error if there are files that cannot be read; "skip" leaves them out, and the index is then the
            position among the remaining files.
        max_megapixels: largest image to be read, in millions of pixels; a larger one counts as one that cannot be read.
        landmarks: (N, 5, 2) positions of eyes and mouth, in the order of the files (`glo_lib.images.landmarks.find_landmarks`): the square
            around each face is cut out. Default: the central square.

    Returns:
        `DecodedImages`.

    Raises:
        ValueError: there are files that cannot be read, or none can be read; the message counts them and names the first ten.
        FileNotFoundError: a file does not exist.
        PermissionError: the cache cannot be written.

    Example:
        ``decode_images(list_images("photographs"), image_size=64).array()[0]``
    """
    files = filenames if isinstance(filenames, Identity) else identify(filenames)
    digest = "" if landmarks is None else landmarks_digest(landmarks)
    path = cache_root() / "images" / f"{files.cache_key(image_size, tight_crop, max_megapixels, digest)}.uint8"
    wanted = DecodedImages(path, len(files.filenames), image_size, files.filenames, landmarks_digest=digest)
    decoded = _read_cache(wanted, progress) or _build_cache(wanted, (tight_crop, max_megapixels), landmarks, progress, on_bad_image)
    _check_skipped(decoded, on_bad_image)
    return decoded


def decode_as_in(
    config: TrainConfig,
    filenames: Sequence[str] | Identity,
    data_dir: str | Path | None = None,
    progress: bool = True,
    on_bad_image: str = "error",
) -> DecodedImages:
    """Decode image files as a run with these settings does: with its size, its crop, and its limit for large images.

    Args:
        config: the settings of the run.
        filenames: see `decode_images`.
        data_dir: folder or archive that the files come from, in which a list of landmarks is looked for; default: each file's own folder.
        progress: see `decode_images`.
        on_bad_image: see `decode_images`.

    Raises:
        ValueError, FileNotFoundError, PermissionError: see `decode_images`, and `glo_lib.images.landmarks.find_landmarks`.

    Example:
        ``decode_as_in(read_run("my_run").config, ["portrait.jpg"]).array()[0]``
    """
    files = filenames if isinstance(filenames, Identity) else identify(filenames)
    landmarks = landmarks_for(config.crop, files.filenames, data_dir)
    return decode_images(files, config.image_size, config.tight_crop, progress, on_bad_image, config.max_megapixels, landmarks)


def _check_skipped(decoded: DecodedImages, on_bad_image: str) -> None:
    """Raise a `ValueError` if there are bad images and they may not be skipped, or all images are bad."""
    if decoded.skipped and (on_bad_image == "error" or not decoded.num_images):
        refuse([f"{filename!r}: {reason}" for filename, reason in decoded.skipped.items()])


def _leave_out(wanted: DecodedImages, reasons: Mapping[int, str]) -> DecodedImages:
    """Return the images without those at some positions, for the given reasons."""
    kept = tuple(filename for position, filename in enumerate(wanted.filenames) if position not in reasons)
    skipped = {wanted.filenames[position]: reason for position, reason in reasons.items()}
    return wanted._replace(num_images=len(kept), filenames=kept, skipped=MappingProxyType(skipped))


def _read_cache(wanted: DecodedImages, progress: bool) -> DecodedImages | None:
    """Return the images of the cache; None if there is no cache, or if it belongs to other files or is damaged."""
    try:
        description = json.loads(wanted.path.with_suffix(".json").read_text())
        checksums = description["crc32"]
        decoded = _leave_out(wanted, {int(position): str(reason) for position, reason in description.get("skipped", {}).items()})
        if description.get("key", wanted.path.stem) != wanted.path.stem or decoded.path.stat().st_size != decoded.num_bytes:
            return None
        if not _blocks_are_whole(decoded.path, checksums, progress):
            return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return decoded if len(checksums) == -(-decoded.num_bytes // CHECKSUM_BYTES) else None


def _blocks_are_whole(path: Path, checksums: list[int], progress: bool) -> bool:
    """Return whether the blocks that are checked have their checksums."""
    blocks = range(0, len(checksums), max(1, len(checksums) // CHECKED_BLOCKS))
    with open(path, "rb") as file, slow_progress("checking decoded images", len(blocks), " blocks", shown=progress) as bar:
        for block in blocks:
            file.seek(block * CHECKSUM_BYTES)
            if zlib.crc32(file.read(CHECKSUM_BYTES)) != checksums[block]:
                return False
            bar.update()
    return True


def _build_cache(wanted: DecodedImages, how: tuple, landmarks: np.ndarray | None, progress: bool, on_bad_image: str) -> DecodedImages:
    """Decode all files and write the cache; ``how`` holds arguments of `decode_files`."""
    folder = make_cache_folder(wanted.path.parent.name)
    if landmarks is not None:
        how = (*how, stored_squares(wanted.filenames, landmarks))
    unfinished = _take_up(folder, wanted) or _begin(folder, wanted)
    locks.remove_abandoned(folder, UNFINISHED)
    partial, journal, description = unfinished.path, Path(f"{unfinished.path}{JOURNAL}"), Path(f"{unfinished.path}.json")
    try:
        with unfinished.lock, open(partial, "r+b") as file, open(journal, "w", encoding="utf-8", errors="surrogateescape") as lines:
            decoded = _leave_out(wanted, _write_decoded(file, lines, unfinished, wanted, how, progress))
            _check_skipped(decoded, on_bad_image)
            file.flush()
            # The checksums in the description reveal it if only one of the two files is renamed.
            description.write_text(json.dumps(_description(decoded, wanted, _checksums(partial, progress))))
            os.replace(partial, decoded.path)
            os.replace(description, decoded.path.with_suffix(".json"))
    finally:
        for path in (partial, journal, description):
            path.unlink(missing_ok=True)
    return decoded


class _Unfinished(NamedTuple):
    """A cache that is still being written.

    Attributes:
        path: its file, which this process has locked.
        lock: the lock.
        entries: what it holds, in order: position and number of decoded files and the checksum of their pixels, or position and reason.
    """

    path: Path
    lock: locks.Lock
    entries: tuple[dict[str, Any], ...] = ()


def _begin(folder: Path, wanted: DecodedImages) -> _Unfinished:
    """Create the file of a new cache."""
    handle, name = tempfile.mkstemp(dir=folder, prefix=f"{UNFINISHED}{wanted.path.stem}-")
    os.close(handle)
    return _Unfinished(Path(name), locks.acquire(name) or locks.Lock(None))


def _take_up(folder: Path, wanted: DecodedImages) -> _Unfinished | None:
    """Return the same cache as a killed process left it, as far as its pixels have the right checksums; None if there is none.

    The name has the key of the cache, so files, geometry and decoder are the same. A process that still writes holds the lock.
    """
    for journal in sorted(folder.glob(f"{UNFINISHED}{wanted.path.stem}-*{JOURNAL}")):
        path = Path(str(journal).removesuffix(JOURNAL))
        lock = locks.acquire(path) if path.exists() else None
        if lock is None:
            continue
        if lock.holds and path.exists():  # its writer may have renamed it just before the lock was acquired
            return _Unfinished(path, lock, tuple(_sound_entries(path, journal, 3 * wanted.image_size**2)))
        lock.release()
    return None


def _sound_entries(path: Path, journal: Path, row_bytes: int) -> Iterator[dict[str, Any]]:
    """Yield the entries of a journal up to the first that is incomplete or does not fit the pixels."""
    position = 0
    try:
        with open(path, "rb") as file, open(journal, encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                entry = json.loads(line)
                num_bytes = 0 if "reason" in entry else entry["count"] * row_bytes
                pixels = file.read(num_bytes)
                if entry["first"] != position or len(pixels) != num_bytes or zlib.crc32(pixels) != entry.get("crc32", 0):
                    return
                yield entry
                position += entry.get("count", 1)
    except (OSError, ValueError, LookupError, TypeError):
        return


def _description(decoded: DecodedImages, wanted: DecodedImages, checksums: list[int]) -> dict[str, object]:
    """Return what `_read_cache` needs to check a cache, as values for JSON."""
    reasons = {position: decoded.skipped[name] for position, name in enumerate(wanted.filenames) if name in decoded.skipped}
    return {"key": decoded.path.stem, "shape": decoded.shape, "crc32": checksums, "skipped": reasons}


def _checksums(path: Path, progress: bool) -> list[int]:
    with open(path, "rb") as file, slow_progress("checksums", unit="B", unit_scale=True, shown=progress) as bar:
        checksums = []
        for block in iter(lambda: file.read(CHECKSUM_BYTES), b""):
            checksums.append(zlib.crc32(block))
            bar.update(len(block))
        return checksums


def _write_decoded(
    file: BinaryIO, journal: TextIO, unfinished: _Unfinished, wanted: DecodedImages, how: tuple, progress: bool
) -> dict[int, str]:
    """Write all images that can be read after those that the file holds; return the reasons for the others, by position."""
    entries = list(unfinished.entries)
    done = sum(entry.get("count", 1) for entry in entries)
    rows = sum(entry.get("count", 0) for entry in entries)
    file.truncate(rows * 3 * wanted.image_size**2)
    file.seek(0, os.SEEK_END)
    journal.writelines(f"{json.dumps(entry)}\n" for entry in entries)
    if done and progress:
        print(f"decoding goes on after {done:,} of {len(wanted.filenames):,} images", flush=True)
    tight_crop, max_megapixels, *squares = how
    rest = (wanted.filenames[done:], wanted.image_size, tight_crop, max_megapixels, *(part[done:] for part in squares))
    with slow_progress("decoding", len(wanted.filenames) - done, " images", shown=progress) as bar:
        for first, part in decode_files(*rest) if rest[0] else ():
            if isinstance(part, str):
                entries.append({"first": done + first, "reason": part})
            else:
                part.tofile(file)
                entries.append({"first": done + first, "count": len(part), "crc32": zlib.crc32(np.ascontiguousarray(part).data)})
            journal.write(f"{json.dumps(entries[-1])}\n")
            journal.flush()  # after the pixels, so that what it lists is there even if the process is killed now
            bar.update(entries[-1].get("count", 1))
    return {entry["first"]: entry["reason"] for entry in entries if "reason" in entry}


class StoredImages:
    """A read-only array of images in a file: it is indexed like a uint8 array (N, height, width, channels) and read when indexed.

    The index can be a number, a slice, a mask or an array of indices; the result is an ordinary array. The operating system caches the file
    as far as there is free memory. A memory map would be cached too, but all its pages that were read count as memory of the process, and
    after one epoch these are the whole data set.

    Args:
        path: file of exactly ``N * height * width * channels`` bytes, one image after the other.
        shape: (N, height, width, channels).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file has another size.
        IndexError: when indexing, an image out of range.
        OSError: when indexing, the file was truncated meanwhile.

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

    def __del__(self) -> None:
        if getattr(self, "_file", -1) >= 0:
            os.close(self._file)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                images = np.empty((max(0, stop - start), *self.shape[1:]), np.uint8)
                self._read_into(_as_bytes(images), start)
                return images
            return self._read_rows(np.arange(start, stop, step))
        indices = np.asarray(rows)
        if indices.dtype == bool:
            indices = np.flatnonzero(indices)
        return self._read_rows(indices.reshape(-1)).reshape(*indices.shape, *self.shape[1:])

    def _read_rows(self, indices: np.ndarray) -> np.ndarray:
        """Read the rows of the given indices (n,), one by one."""
        if len(indices) and not (-len(self) <= indices.min() and indices.max() < len(self)):
            raise IndexError(f"images {indices.min()} to {indices.max()} are asked for, and there are {len(self)}")
        images = np.empty((len(indices), *self.shape[1:]), np.uint8)
        view, size = _as_bytes(images), self._row_bytes
        for row, index in enumerate((indices % max(1, len(self))).tolist()):
            self._read_into(view[row * size : (row + 1) * size], index)
        return images

    def _read_into(self, view: memoryview, first: int) -> None:
        """Fill a buffer with the file's bytes from row ``first`` on; one call may return fewer bytes than asked for, so it is repeated."""
        offset = first * self._row_bytes
        while view:
            read = os.preadv(self._file, [view], offset)
            if read == 0:
                raise OSError("the file of decoded images has become shorter while it was in use; start again, and it is made anew")
            view, offset = view[read:], offset + read


def _as_bytes(images: np.ndarray) -> memoryview:
    return images.data.cast("B") if images.size else memoryview(b"")  # memoryview cannot cast an empty array
