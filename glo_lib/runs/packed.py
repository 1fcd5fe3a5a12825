"""A trained model in two small files, for a package or a web page: raw arrays, and JSON that says what they are.

::

    model.json   settings, provenance, and name, type, shape and offset of each array
    arrays.bin   the arrays one after the other, little-endian, without headers

The decoder's kernels and the codes are float16, half as large as in training. What batch normalisation adds and divides by, and the biases,
stay float32, because they are few and a small variance would lose its digits. JSON and raw numbers can be read in any language: in a
browser, ``new Float32Array(buffer, offset, length)`` is a view of a float32 array.

The file of the package itself (`PRETRAINED`) is made by ``make pretrained``.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from glo_lib.config import TrainConfig
from glo_lib.system.replace import replacing, write_text

NAME = "pretrained"  # what is given in place of the folder of a run
PRETRAINED = Path(__file__).parents[1] / NAME
DESCRIPTION, ARRAYS = "model.json", "arrays.bin"
FORMAT = 1
MAX_BYTES = 4_000_000  # both files together
ALIGNMENT = 4  # bytes; a view of float32 numbers in a browser has to begin at a multiple of four
CODES, SAMPLES = "codes", "samples/"
TYPES = {"float16": "<f2", "float32": "<f4", "uint8": "u1"}


class PackedModel(NamedTuple):
    """What the two files hold.

    Attributes:
        config: the settings of the run, without its folders.
        codes: (N, d) float32, projected.
        variables: name -> value, float32; the decoder's variables.
        weights: ``"averaged"`` or ``"raw"``, see `glo_lib.inference.model.TrainedModel`.
        provenance: how the model was made: numbers and text, for instance the command, the commit and the seconds.
        samples: name of a prior -> (n, d) float32, codes that were drawn from it; of priors whose networks would be too large to ship.
    """

    config: TrainConfig
    codes: np.ndarray
    variables: Mapping[str, np.ndarray]
    weights: str
    provenance: Mapping[str, Any]
    samples: Mapping[str, np.ndarray] = MappingProxyType({})


def write_packed(folder: str | Path, model: PackedModel, max_bytes: int = MAX_BYTES) -> Path:
    """Write a model as ``model.json`` and ``arrays.bin``, replacing earlier files of these names.

    Args:
        folder: folder to write to, created if it does not exist.
        model: the model, with values of any precision.
        max_bytes: size of both files together that is not exceeded.

    Returns:
        The folder.

    Raises:
        ValueError: the files would be larger, or a value does not fit into float16.

    Example:
        ``read_packed(write_packed("packed", model)).codes``
    """
    samples = {SAMPLES + prior: codes for prior, codes in model.samples.items()}
    entries, content = pack_arrays({CODES: model.codes, **model.variables, **samples})
    description = {
        "format": FORMAT,
        "settings": {**model.config.as_dict(), "run_dir": "", "data_dir": ""},  # the folders of whoever made it are of no use elsewhere
        "weights": model.weights,
        "provenance": dict(model.provenance),
    }
    return write_files(folder, description, entries, content, max_bytes)


def pack_arrays(arrays: Mapping[str, np.ndarray]) -> tuple[list[dict[str, Any]], bytes]:
    """Put arrays one after the other: matrices and larger ones as float16, vectors as float32, bytes (uint8) as they are.

    Args:
        arrays: name -> array.

    Returns:
        For each array its name, type, shape and offset; and the bytes of all of them.

    Raises:
        ValueError: a value is not finite, or too large for float16.

    Example:
        >>> pack_arrays({"one": np.ones((1, 2)), "two": np.ones(1)})[0][1]
        {'name': 'two', 'type': 'float32', 'shape': [1], 'offset': 4}
    """
    entries, content = [], bytearray()
    for name, value in arrays.items():
        kind = "uint8" if value.dtype == np.uint8 else "float16" if value.ndim > 1 else "float32"
        with np.errstate(over="ignore"):
            stored = np.ascontiguousarray(value, TYPES[kind])
        if not np.isfinite(stored).all():
            raise ValueError(f"{name} holds values that {kind} cannot hold (the largest is {np.abs(value).max():g}); nothing was written")
        content += bytes(-len(content) % ALIGNMENT)
        entries.append({"name": name, "type": kind, "shape": list(value.shape), "offset": len(content)})
        content += stored.tobytes()
    return entries, bytes(content)


def unpack_arrays(entries: Sequence[Mapping[str, Any]], content: bytes) -> dict[str, np.ndarray]:
    """Return the arrays that `pack_arrays` has put together: float32, or uint8 where they were bytes.

    Raises:
        ValueError: the bytes end too early.
        KeyError: an entry lacks something, or names an unknown type.
    """
    return {entry["name"]: _array(content, entry) for entry in entries}


def write_files(folder: str | Path, description: Mapping[str, Any], entries: list[dict[str, Any]], content: bytes, max_bytes: int) -> Path:
    """Write ``model.json`` and ``arrays.bin`` into a folder, which is created if it does not exist.

    Args:
        folder: the folder.
        description: what the JSON says, besides the entries, the number of bytes and their digest.
        entries: from `pack_arrays`.
        content: from `pack_arrays`.
        max_bytes: size of both files together that is not exceeded.

    Raises:
        ValueError: the files would be larger.
    """
    arrays = {"arrays": entries, "num_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    text = json.dumps({**description, **arrays}, indent=1, ensure_ascii=False) + "\n"
    size = len(content) + len(text.encode())
    if size > max_bytes:
        allowed = f"at most {max_bytes:,} are allowed"
        raise ValueError(f"the model would take {size:,} bytes, and {allowed}; train on fewer images or with narrower layers")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / ARRAYS) as partial:
        partial.write_bytes(content)
    write_text(folder / DESCRIPTION, text)  # last: its digest is that of the new arrays
    return folder


def read_packed(folder: str | Path | None = None) -> PackedModel:
    """Read a model that `write_packed` wrote, and compare it with its digest.

    Args:
        folder: the folder. Default: that of the model which comes with the library.

    Raises:
        FileNotFoundError: a file is missing; the message says how to make it.
        ValueError: a file is damaged, or was written in another format.

    Example:
        ``read_packed().provenance["seconds"]``
    """
    folder = PRETRAINED if folder is None else Path(folder)
    for name in (DESCRIPTION, ARRAYS):
        if not (folder / name).is_file():
            raise FileNotFoundError(_missing(folder, name))
    path = folder / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        found = description["format"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} is damaged ({error}); {_remedy(folder)}") from None
    if found != FORMAT:
        raise ValueError(f"{str(path)!r} has format {found!r}, and this version of glo_lib reads format {FORMAT}; {_remedy(folder)}")
    content = (folder / ARRAYS).read_bytes()
    if hashlib.sha256(content).hexdigest() != description.get("sha256"):
        raise ValueError(f"{str(folder / ARRAYS)!r} does not have the digest that {DESCRIPTION} names; {_remedy(folder)}")
    try:
        config = TrainConfig.from_stored(description["settings"])
        arrays = unpack_arrays(description["arrays"], content)
        samples = {name.removeprefix(SAMPLES): arrays.pop(name) for name in list(arrays) if name.startswith(SAMPLES)}
        return PackedModel(config, arrays.pop(CODES), arrays, description["weights"], description["provenance"], samples)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{str(path)!r} is damaged ({error}); {_remedy(folder)}") from None


def refuse_pretrained(run: object, needed: str) -> None:
    """Raise a `ValueError` if the pretrained model is given where more of a run is needed than its decoder and codes.

    Args:
        run: what was given as a run.
        needed: what is needed, in words.

    Example:
        >>> refuse_pretrained("pretrained", "its checkpoints")
        Traceback (most recent call last):
        ValueError: this needs a run with its checkpoints, and the pretrained model holds no more than a decoder and codes; ...
    """
    if is_pretrained(run):
        raise ValueError(
            f"this needs a run with {needed}, and the pretrained model holds no more than a decoder and codes; give the folder of a run "
            f"(one in a folder of this name is {'./' + NAME!r})"
        )


def is_pretrained(run: object) -> bool:
    """Tell whether the name of the model that comes with the library is given in place of a run.

    A run in a folder of this name is meant by a path such as ``./pretrained``.

    Example:
        >>> is_pretrained("pretrained"), is_pretrained("./pretrained"), is_pretrained(Path("pretrained"))
        (True, False, False)
    """
    return isinstance(run, str) and run == NAME


def _array(content: bytes, entry: Mapping[str, Any]) -> np.ndarray:
    count = int(np.prod(entry["shape"], dtype=np.int64))
    values = np.frombuffer(content, TYPES[entry["type"]], count, entry["offset"]).reshape(entry["shape"])
    return values if values.dtype == np.uint8 else values.astype(np.float32)


def _missing(folder: Path, name: str) -> str:
    if folder == PRETRAINED:
        return (
            f"this installation of glo_lib holds no pretrained model ({name} is missing); in a clone of the repository, make pretrained "
            "trains one for an hour; or give the folder of a run"
        )
    return f"{str(folder)!r} holds no {name}; give a folder that write_packed wrote"


def _remedy(folder: Path) -> str:
    return "install the library again, or make pretrained" if folder == PRETRAINED else "write it again"
