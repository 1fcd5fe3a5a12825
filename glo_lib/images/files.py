"""List the image files in a folder or an archive, in the order that determines which latent code belongs to which image."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from glo_lib.images.archives import unpack_zip
from glo_lib.system.cache import cache_root

EXTENSIONS = (".jpg", ".jpeg", ".png")
CELEBA_FOLDER = "img_align_celeba"


def list_images(data_dir: str | Path, num_samples: int = 0) -> list[str]:
    """List the image files in a folder or a zip archive; the position in the list is the row of the image's latent code.

    If the folder contains CelebA's ``img_align_celeba``, only that folder is searched. A zip archive, such as the official
    ``img_align_celeba.zip``, is unpacked once into the cache.

    Args:
        data_dir: folder (searched recursively) or zip archive.
        num_samples: number of images to keep, the first ones; 0 keeps all.

    Returns:
        Paths of the files with the extensions jpg, jpeg and png (in upper or lower case), sorted. Hidden files and folders are left out,
        links are followed. The folders of runs and the cache are left out too (see `is_result_folder`).

    Raises:
        FileNotFoundError: there is no such folder or archive, or no image in it.
        ValueError: the file is not a zip archive, the archive is not safe to unpack, or there are fewer images than ``num_samples``.

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
    """Yield the image files below a folder; ``entered`` holds the real paths of the folders that were visited."""
    with os.scandir(folder) as entries:
        # Links come last, so that a folder is listed under its own name and not under that of a link to it.
        ordered = sorted(entries, key=lambda entry: (entry.is_symlink(), entry.name))
    for entry in ordered:
        if entry.name.startswith("."):
            continue
        # os.path.isfile and isdir are false for a broken link, where the methods of the entry raise an error if it points to itself.
        if entry.name.lower().endswith(EXTENSIONS) and os.path.isfile(entry.path):
            yield entry.path
        elif os.path.isdir(entry.path):
            real = os.path.realpath(entry.path)
            if real not in entered and not is_result_folder(real):  # without the first a loop of links would never end
                entered.add(real)
                yield from _walk(entry.path, entered)


def is_result_folder(folder: str | Path) -> bool:
    """Return whether a folder is that of a run, or the cache. Their pictures are results, so they are no data even if they lie among them.

    A run folder is recognised by ``config.json`` and by ``manifest.json`` with the number of images and their digest.

    Example:
        >>> is_result_folder(cache_root())
        True
    """
    if os.path.realpath(folder) == os.path.realpath(cache_root()):
        return True
    if not os.path.isfile(os.path.join(folder, "config.json")):
        return False
    try:
        manifest = json.loads(Path(folder, "manifest.json").read_text())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(manifest, dict) and manifest.keys() == {"num_images", "digest"}
