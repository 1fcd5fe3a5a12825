"""Image files: which there are below a folder or in an archive, in the order that decides which code belongs to which image."""

import os
from collections.abc import Iterator
from pathlib import Path

from glo_lib.images.archives import unpack_zip

EXTENSIONS = (".jpg", ".jpeg", ".png")
CELEBA_FOLDER = "img_align_celeba"


def list_images(data_dir: str | Path, num_samples: int = 0) -> list[str]:
    """Image files below a folder, or in a zip archive, in sorted order: the position in this list is the row of the image's code.

    A folder that contains CelebA's ``img_align_celeba`` is entered there. A zip archive, such as the official
    ``img_align_celeba.zip``, is unpacked once into the cache.

    Args:
        data_dir: folder (searched recursively) or zip archive.
        num_samples: keep the first so many; 0 keeps all.

    Returns:
        File names, sorted by their path; extensions jpg, jpeg and png in any case. Hidden files and folders are left out.

    Raises:
        FileNotFoundError: there is no such folder or archive, or no image in it.
        ValueError: a file that is not a zip archive, an archive that is not safe to unpack, or fewer images than ``num_samples``.

    Example:
        >>> list_images("no/such/folder")
        Traceback (most recent call last):
        FileNotFoundError: data_dir is 'no/such/folder', which does not exist; give a folder of images or a zip archive of them
    """
    path = Path(data_dir).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"data_dir is {str(data_dir)!r}, which does not exist; give a folder of images or a zip archive of them")
    if num_samples < 0:
        raise ValueError(f"num_samples is {num_samples}; give the number of images to use, or 0 for all of them")
    folder = path if path.is_dir() else unpack_zip(path)
    if (folder / CELEBA_FOLDER).is_dir():
        folder = folder / CELEBA_FOLDER
    filenames = sorted(_walk(str(folder), {os.path.realpath(folder)}))
    if not filenames:
        raise FileNotFoundError(f"{str(data_dir)!r} holds no image; looked for {', '.join(EXTENSIONS)} in it and in its folders")
    if num_samples > len(filenames):
        raise ValueError(f"num_samples is {num_samples}, and {str(data_dir)!r} holds {len(filenames)} images; give at most that, or 0")
    return filenames[:num_samples] if num_samples else filenames


def _walk(folder: str, entered: set[str]) -> Iterator[str]:
    with os.scandir(folder) as entries:
        # Links last: of two names of one folder the one that is no link is used, whatever the file system's order.
        ordered = sorted(entries, key=lambda entry: (entry.is_symlink(), entry.name))
    for entry in ordered:
        if entry.name.startswith("."):
            continue
        # A link that leads nowhere, or to itself, is neither file nor folder (of the latter the entry's own methods would complain).
        if entry.name.lower().endswith(EXTENSIONS) and os.path.isfile(entry.path):
            yield entry.path
        elif os.path.isdir(entry.path):
            real = os.path.realpath(entry.path)
            if real not in entered:  # a loop of links is entered once
                entered.add(real)
                yield from _walk(entry.path, entered)
