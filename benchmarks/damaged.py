"""Damaged, unusual and malicious files: each must be read, refused by name, or left out. This is a part of `benchmarks.faults`."""

import argparse
import io
import json
import os
import pickle
import random
import shutil
import struct
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from glo_lib import inference, training
from glo_lib.config import TrainConfig
from glo_lib.evaluation import evaluate
from glo_lib.graph.backend import tf
from glo_lib.images.files import list_images
from glo_lib.images.formats import ENDINGS_BY_FORMAT, FORMATS
from glo_lib.inputs import decode_images
from glo_lib.runs import checkpoints
from glo_lib.runs import folder as run_folder

KILOBYTE = 1024
Files = dict[str, bytes]


def picture(size: tuple[int, int] = (120, 100), seed: int = 0, mode: str = "RGB") -> Image.Image:
    """Make an image of noise, whose file is large and has no redundant bytes."""
    shape = (size[1], size[0], 3)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)).convert(mode)


def as_file(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """Encode an image in the given format."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


JPEG, PNG = as_file(picture(), quality=90), as_file(picture(), "PNG")


def truncated(content: bytes, ending: str) -> Files:
    """Truncate a file at every kilobyte."""
    return {f"{length:06d}{ending}": content[:length] for length in range(KILOBYTE, len(content), KILOBYTE)}


def flipped(content: bytes, ending: str, number: int, seed: int) -> Files:
    """Change one to four bytes of a file, several times."""
    chance, files = random.Random(seed), {}
    for i in range(number):
        damaged = bytearray(content)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] ^= chance.randint(1, 255)
        files[f"{i:03d}{ending}"] = bytes(damaged)
    return files


def declared_jpeg(width: int, height: int) -> bytes:
    """Make a JPEG file whose header declares a wrong size."""
    content = bytearray(JPEG)
    start = content.index(b"\xff\xc0")
    content[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def declared_png(width: int, height: int) -> bytes:
    """Make a PNG file whose header declares a wrong size, with a correct checksum."""
    head = struct.pack(">II", width, height) + PNG[24:29]
    return PNG[:16] + head + struct.pack(">I", zlib.crc32(b"IHDR" + head)) + PNG[33:]


def exif_of(orientation: int) -> Image.Exif:
    """Return EXIF data with an orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def with_exif(orientation: int) -> bytes:
    """Make a JPEG file with an EXIF orientation."""
    return as_file(picture(), exif=exif_of(orientation))


def with_segments(*segments: tuple[int, bytes]) -> bytes:
    """Make a JPEG file with segments of metadata, each a marker's second byte and its data."""
    return JPEG[:2] + b"".join(b"\xff" + bytes([kind]) + struct.pack(">H", len(data) + 2) + data for kind, data in segments) + JPEG[2:]


def with_chunk(name: bytes, data: bytes, wrong_by: int = 0) -> bytes:
    """Make a PNG file with a further chunk, whose checksum may be wrong."""
    checksum = struct.pack(">I", zlib.crc32(name + data) ^ wrong_by)
    return PNG[:33] + struct.pack(">I", len(data)) + name + data + checksum + PNG[33:]


def xmp(orientation: int) -> bytes:
    """Return XMP data with an orientation."""
    return f'<x:xmpmeta><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()


def metadata_kinds() -> dict[str, Files]:
    """Make images whose pixels are sound and whose metadata are unusual or damaged; all of them have to be read."""
    chance, exif, long = random.Random(4), with_exif(6), zlib.compress(bytes(2**21))
    payload = exif[exif.index(b"Exif") : exif.index(b"\xff\xdb")]
    segments = [(0xE1, b"Exif\0\0"), (0xE1, b"http://ns.adobe.com/xap/1.0/\0"), (0xE2, b"ICC_PROFILE\0"), (0xE2, b"MPF\0"), (0xFE, b"")]
    tags = {700: b"<x", 33723: b"\x1c\x02", 34377: b"8BIM", 34675: b"profile"}  # XMP, IPTC, Photoshop, colour profile
    return {
        "JPEG with damaged metadata": {
            f"{i}.jpg": with_segments(*[(kind, start + chance.randbytes(40)) for kind, start in chance.sample(segments, 3)])
            for i in range(30)
        },
        "JPEG with an odd rational in EXIF": {
            "a.jpg": with_segments((0xE1, b"Exif\0\0II*\0\x08\0\0\0\1\0\x1a\1\5\0\1\0\0\0\xff\xff\xff\x7f\0\0\0\0"))
        },
        "PNG with damaged metadata": {
            f"{i}.png": with_chunk(chance.choice([b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf"]), chance.randbytes(40), i % 2)
            for i in range(30)
        },
        "PNG with a text or a profile above 1 MB": {
            "a.png": with_chunk(b"zTXt", b"Comment\0\0" + long),
            "b.png": with_chunk(b"iCCP", b"icc\0\0" + long),
        },
        "TIFF with damaged metadata": {
            f"{tag}.tif": as_file(picture(), "TIFF", tiffinfo={tag: data, 34665: 2**31}) for tag, data in tags.items()
        },
        "orientation in XMP": {
            **{f"{turn}.jpg": with_segments((0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp(turn))) for turn in (3, 6)},
            "c.webp": as_file(picture(), "WEBP", xmp=xmp(8)),
        },
        "orientation of a PNG, WebP or TIFF": {
            "a.png": with_chunk(b"eXIf", payload.removeprefix(b"Exif\0\0")),
            "b.webp": as_file(picture(), "WEBP", exif=payload),
            "c.tif": as_file(picture(), "TIFF", tiffinfo={0x0112: 6}),
        },
    }


def other_files() -> dict[str, Files]:
    """Make files that are not images though their names say so; the message says what they are."""
    media = {"heic": "HEIC", "avif": "AVIF", "isom": "MP4", "crx ": "CR3"}
    starts = {
        "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "an XML or JSON text": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
        "a PDF document": b"%PDF-1.7\n",
        "a PostScript drawing": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "an SVG drawing": b"<?xml version='1.0'?><svg width='9' height='9'/>",
        "a Photoshop document": b"8BPS\0\1",
        "JPEG XL": b"\xff\x0a\xfa\x1f",
        "zeros": bytes(5000),
    }
    archives = {"zip": b"PK\3\4", "7z": b"7z\xbc\xaf\x27\x1c", "rar": b"Rar!\x1a\7\0", "gzip": b"\x1f\x8b\x08\0"}
    return {
        "HEIC, AVIF without pixels, a video, a raw image": {
            f"{name}.jpg": b"\0\0\0\x18ftyp" + brand.encode() + bytes(60) for brand, name in media.items()
        },
        "an archive called .jpg": {f"{name}.jpg": start + bytes(60) for name, start in archives.items()},
        **{kind: {"a.jpg": start} for kind, start in starts.items()},
    }


def damaged_kinds(noise: np.random.Generator) -> dict[str, Files]:
    """Make image files of which parts are missing or changed."""
    exif_start = with_exif(6).index(b"Exif")
    return {
        "JPEG truncated at every kilobyte": truncated(JPEG, ".jpg"),
        "PNG truncated at every kilobyte": truncated(PNG, ".png"),
        "JPEG with flipped bytes": flipped(JPEG, ".jpg", 100, 1),
        "PNG with flipped bytes": flipped(PNG, ".png", 100, 2),
        "EXIF data with flipped bytes": {
            f"{i}.jpg": with_exif(6)[: exif_start + 6 + i] + b"\xff" + with_exif(6)[exif_start + 7 + i :] for i in range(20)
        },
        "a hole of zeros": {f"{start}.jpg": JPEG[:start] + bytes(2000) + JPEG[start + 2000 :] for start in range(0, 12_000, 3_000)},
        "wrong magic": {"a.jpg": b"XX" + JPEG[2:], "b.png": b"\x89PNX" + PNG[4:], "c.jpg": PNG[:8] + JPEG[8:]},
        "zero length": {"a.jpg": b"", "b.png": b""},
        "arbitrary bytes": {f"{i}.jpg": (b"\xff\xd8" if i % 2 else b"") + noise.bytes(500) for i in range(20)},
        "an HTML page": {"a.jpg": b"<!DOCTYPE html><html>404</html>"},
        "JPEG of huge declared size": {f"{side}.jpg": declared_jpeg(side, side) for side in (20_000, 65_535)},
        "PNG of huge declared size": {f"{side}.png": declared_png(side, side) for side in (20_000, 2**31 - 1)},
        "size declared as zero": {"a.jpg": declared_jpeg(0, 0), "b.png": declared_png(0, 5)},
    }


def mode_kinds() -> dict[str, Files]:
    """Make images whose pixels are not three bytes each, or that have several frames."""
    grey16 = Image.fromarray(np.random.default_rng(1).integers(0, 65536, (60, 50)).astype(np.uint16))
    frames = [picture(seed=seed) for seed in range(3)]
    return {
        "grey": {"a.jpg": as_file(picture(mode="L")), "b.png": as_file(picture(mode="L"), "PNG")},
        "grey with transparency": {"a.png": as_file(picture(mode="LA"), "PNG")},
        "CMYK": {"a.jpg": as_file(picture(mode="CMYK"))},
        "16-bit": {"a.png": as_file(grey16, "PNG")},
        "one bit": {"a.png": as_file(picture(mode="1"), "PNG")},
        "palette": {"a.png": as_file(picture(mode="P"), "PNG"), "b.png": as_file(picture(mode="P"), "PNG", transparency=3)},
        "floating point": {"a.png": as_file(picture(mode="F"), "TIFF")},
        "animated": {
            "a.png": as_file(frames[0], "GIF", save_all=True, append_images=frames[1:]),
            "b.png": as_file(frames[0], "PNG", save_all=True, append_images=frames[1:]),
        },
    }


def unusual_kinds(noise: np.random.Generator) -> dict[str, Files]:
    """Make image files that are sound, but of unusual formats and sizes."""
    return {
        "every ending of every format": {f"a{ending}": as_file(picture(), kind) for kind in FORMATS for ending in ENDINGS_BY_FORMAT[kind]},
        "a photograph of 12 megapixels, with EXIF": {"a.jpg": as_file(picture().resize((4000, 3000)), exif=exif_of(6))},
        "EXIF-rotated": {f"{orientation}.jpg": with_exif(orientation) for orientation in range(1, 9)},
        "progressive": {"a.jpg": as_file(picture(), progressive=True)},
        "bytes after the end": {"a.jpg": JPEG + noise.bytes(3000), "b.png": PNG + noise.bytes(3000), "c.jpg": JPEG + JPEG},
        "another format under this name": {f"{kind}.jpg": as_file(picture(), kind) for kind in ("BMP", "WEBP", "TIFF", "PPM")},
        "one pixel": {"a.jpg": as_file(picture((1, 1))), "b.png": as_file(picture((1, 1)), "PNG")},
        "one pixel wide": {"a.jpg": as_file(picture((1, 3000))), "b.png": as_file(picture((3000, 1)), "PNG")},
    }


def name_kinds() -> dict[str, Files]:
    """Make sound image files with unusual names."""
    return {
        "names with spaces": {" a b .jpg": JPEG, "c  .png": PNG},
        "Unicode names": {"Ω für 猫 🐈.jpg": JPEG, "e\u0301.png": PNG, "\u202egpj.png": PNG},
        "names with newlines and quotes": {
            "a\nb.jpg": JPEG,
            "c\r\n.png": PNG,
            "\"'\\`$(id);,.jpg": JPEG,
            "-rf.jpg": JPEG,
            "\x1b[31m.jpg": JPEG,
        },
        "names that are not UTF-8": {os.fsdecode(b"\xff\xfe.jpg"): JPEG},
    }


def image_kinds() -> dict[str, Files]:
    """Make image files of many kinds, several of most kinds; return them by kind and name."""
    noise = np.random.default_rng(2)
    return {
        **damaged_kinds(noise),
        **mode_kinds(),
        **metadata_kinds(),
        **other_files(),
        **unusual_kinds(noise),
        **name_kinds(),
    }


def special_kinds(folder: Path) -> dict[str, list[str]]:
    """Create links, loops of links, and entries that are not files; return their names by kind."""
    whole = folder / "links" / "whole.jpg"
    whole.parent.mkdir(parents=True)
    whole.write_bytes(JPEG)
    links = {"link.jpg": "whole.jpg", "gone.jpg": "nowhere.jpg", "self.jpg": "self.jpg", "there.jpg": "back.jpg", "back.jpg": "there.jpg"}
    for name, target in links.items():
        os.symlink(target, whole.parent / name)
    (folder / "loop" / "inner").mkdir(parents=True)
    os.symlink("..", folder / "loop" / "inner" / "outer")
    os.symlink(".", folder / "loop" / "itself")
    (folder / "no files" / "folder.jpg").mkdir(parents=True)
    os.mkfifo(folder / "no files" / "pipe.jpg")
    passed_over = {
        "notes.txt": b"x",
        "photo.heic": b"x",
        "@eaDir/a.jpg/thumb.jpg": JPEG,
        "lost+found/a.jpg": JPEG,
        "__MACOSX/._a.jpg": JPEG,
    }
    for name, content in passed_over.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return {
        "files with other endings": ["notes.txt", "photo.heic"],
        "thumbnails and other files of servers and systems": [name for name in passed_over if "/" in name],
        "a link": ["links/link.jpg"],
        "links to nothing": ["links/gone.jpg"],
        "loops of links to files": ["links/self.jpg", "links/there.jpg", "links/back.jpg"],
        "loops of links to folders": ["loop/inner/outer", "loop/itself"],
        "a folder called .jpg": ["no files/folder.jpg"],
        "a pipe called .jpg": ["no files/pipe.jpg"],
    }


def try_images(root: Path) -> dict[str, dict[str, Any]]:
    """List and decode one folder with all image files, skipping bad images; count which files are read, refused, or left out."""
    folder, kinds = root / "images", image_kinds()
    for number, contents in enumerate(kinds.values()):
        (folder / f"{number:02d}").mkdir(parents=True)
        for name, content in contents.items():
            (folder / f"{number:02d}" / name).write_bytes(content)
    special = special_kinds(folder)
    decoded = decode_images(list_images(folder), 32, on_bad_image="skip")
    read, refused = set(decoded.filenames), {name for name, reason in decoded.skipped.items() if reason}

    def outcome(path: Path) -> str:
        return "read" if str(path) in read else "refused" if str(path) in refused else "left out"

    paths = {kind: [folder / f"{number:02d}" / name for name in contents] for number, (kind, contents) in enumerate(kinds.items())}
    paths |= {kind: [folder / name for name in names] for kind, names in special.items()}
    found = {kind: _counted([outcome(path) for path in these]) for kind, these in paths.items()}
    # A file whose name is that of an image must be read or refused.
    for kind in kinds:
        _rename(found[kind], "left out", "unexpected")
    return found


def _counted(outcomes: list[str]) -> dict[str, Any]:
    return {"inputs": len(outcomes), "outcomes": {word: outcomes.count(word) for word in sorted(set(outcomes))}}


def _rename(found: dict[str, Any], word: str, other: str) -> None:
    if word in found["outcomes"]:
        found["outcomes"][other] = found["outcomes"].pop(word)


# ------------------------------------------------------------------------------------------------------------------- archives


def archive(members: dict[str, bytes], link: str = "") -> bytes:
    """Make a zip archive, in which one member may be a symbolic link."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members.items():
            facts = zipfile.ZipInfo(name)
            facts.compress_type = zipfile.ZIP_DEFLATED
            facts.external_attr = (0o120777 if name == link else 0o644) << 16
            opened.writestr(facts, content)
    return file.getvalue()


def with_method(zip_archive: bytes, method: int) -> bytes:
    """Make an archive whose last member declares another way of compression."""
    position = zip_archive.rindex(b"PK\1\2") + 10
    return zip_archive[:position] + struct.pack("<H", method) + zip_archive[position + 2 :]


def archive_kinds() -> dict[str, Files]:
    """Make archives that are damaged, or that would write files outside their folder."""
    good = archive({"a.jpg": JPEG, "b/c.jpg": JPEG})
    return {
        "zip truncated at every kilobyte": truncated(good, ".zip"),
        "zip with flipped bytes": flipped(good, ".zip", 60, 3),
        "zip with names that lead out": {
            f"{i}.zip": archive({"a.jpg": JPEG, name: JPEG})
            for i, name in enumerate(["../out.jpg", "/tmp/out.jpg", "b/../../out.jpg", "C:\\out.jpg", "..\\out.jpg", "\\\\host\\out.jpg"])
        },
        "zip with colons in names, a byte order mark, an archive inside beside images": {
            "a.zip": archive({"12:30:05.jpg": JPEG}),
            "b.zip": archive({"\ufeffa.jpg": JPEG}),
            "c.zip": archive({"a.jpg": JPEG, "b.zip": good}),
        },
        "zip with nothing but an archive": {"a.zip": archive({"inner.zip": good})},
        "zip compressed by Deflate64 or encrypted by AES": {f"{method}.zip": with_method(good, method) for method in (9, 99)},
        "another archive, a page or an image given as a zip": {
            "a.zip": b"7z\xbc\xaf\x27\x1c" + bytes(60),
            "b.zip": b"Rar!\x1a\7\0",
            "c.zip": b"\x1f\x8b\x08\0",
            "d.zip": b"<!DOCTYPE html>",
        },
        "zip with a link": {"a.zip": archive({"a.jpg": JPEG, "b": b"/etc"}, link="b")},
        "zip bomb": {"a.zip": archive({"a.jpg": JPEG, "b.jpg": bytes(50_000_000)})},
        "no zip": {"a.zip": b"", "b.zip": JPEG, "c.zip": b"PK\x03\x04"},
    }


def try_archives(root: Path) -> dict[str, dict[str, Any]]:
    """List each archive, and check that none has written a file outside the cache."""
    found = {}
    for number, (kind, contents) in enumerate(archive_kinds().items()):
        folder = root / "archives" / str(number)
        folder.mkdir(parents=True)
        outcomes = []
        for name, content in contents.items():
            (folder / name).write_bytes(content)
            outcomes.append(_outcome(lambda path=folder / name: list_images(path), name))
        assert not list(root.glob("**/out.jpg")) and not Path("/tmp/out.jpg").exists()
        found[kind] = _counted(outcomes)
    return found


def _outcome(act: Callable[[], Any], named: str) -> str:
    """Return "read", "refused" (if the message names the file), or "unexpected"."""
    try:
        act()
    except (ValueError, FileNotFoundError) as error:
        return "refused" if named in str(error) else "unexpected"
    except Exception:
        return "unexpected"
    return "read"


# ---------------------------------------------------------------------------------------------------------------- run folders


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def small_run(root: Path) -> tuple[Path, TrainConfig]:
    """Train a small run with checkpoints of several steps."""
    data = root / "images-of-the-run"
    data.mkdir()
    for i in range(24):
        picture((40, 40), seed=i).resize((40, 40)).save(data / f"{i:02d}.jpg")
    config = TrainConfig(
        data_dir=str(data), run_dir=str(root / "run"), image_size=32, num_filters=(4, 3, 2), num_dims=5, batch_size=8, num_epochs=4,
        max_seconds=0, precision="float32",
    )  # fmt: skip
    evaluate.run_figures = lambda *_: {}
    hook = tf.compat.v1.train.CheckpointSaverHook
    tf.compat.v1.train.CheckpointSaverHook = lambda folder, save_secs, **rest: hook(folder, save_steps=4, **rest)
    return training.train(config).run_dir, config


def damages(content: bytes, sentinel: Path, number: int) -> Iterator[bytes]:
    """Yield damaged versions of a file: truncated, with changed bytes, empty, or with other content."""
    yield from truncated(content, "").values()
    yield from flipped(content, "", number, len(content)).values()
    yield from (content[: len(content) // 2], content[:-1], b"", b"\0", b"[" * 100_000, b"null", b"\xff\xfe", bytes(len(content)))
    yield pickle.dumps(Bomb(sentinel))
    objects = io.BytesIO()
    np.save(objects, np.array([Bomb(sentinel)], dtype=object), allow_pickle=True)
    yield objects.getvalue()


READERS: dict[str, Callable[[Path, TrainConfig], Any]] = {
    "config.json": lambda run, config: run_folder.read_config(run),
    "manifest.json": lambda run, config: training.prepare(config),
    "images.csv": lambda run, config: training.prepare(config),
    "metrics.json": lambda run, config: run_folder.read_json(run / "metrics.json"),
    "history.csv": lambda run, config: run_folder.read_history(run),
    "codes.npy": lambda run, config: run_folder.read_codes(run),
}


def try_run_folder(root: Path) -> dict[str, dict[str, Any]]:
    """Damage each file of a run folder in turn. The function that reads it must refuse it by name or manage without it."""
    run, config = small_run(root)
    sentinel, found = root / "executed", {}
    for name, read in READERS.items():
        content, outcomes = (run / name).read_bytes(), []
        for damaged in damages(content, sentinel, 12 if "prepare" in read.__code__.co_names else 40):
            (run / name).write_bytes(damaged)
            # The message about another manifest or setting names the folder and not the file.
            outcomes.append(_outcome(lambda read=read: read(run, config), str(run)))
        (run / name).write_bytes(content)
        found[f"damaged {name}"] = _counted(outcomes)
    newest = Path(checkpoints.newest_checkpoint(run))
    for ending in (".index", checkpoints.DATA, checkpoints.CHECKSUMS):
        path = newest.with_name(newest.name + ending)
        found[f"checkpoint, damaged {ending}"] = _counted(list(_try_checkpoint(run, path, newest, sentinel)))
    path = run / "checkpoint"
    found["checkpoint, damaged list"] = _counted(list(_try_checkpoint(run, path, newest, sentinel)))
    assert not sentinel.exists(), "something was unpickled"
    return found


def _try_checkpoint(run: Path, path: Path, newest: Path, sentinel: Path) -> Iterator[str]:
    content = path.read_bytes()
    for number, damaged in enumerate(damages(content, sentinel, 60)):
        path.write_bytes(damaged)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            used = checkpoints.newest_checkpoint(run)
            if number % 20 == 0:
                inference.load(run)
        if damaged == content or used == str(newest):
            # Without its checksums a complete checkpoint can still be used, and TensorFlow's own list is not used at all.
            yield "read" if damaged == content or path.name.endswith((".json", "checkpoint")) else "unexpected"
        else:
            yield "before" if any(newest.name in str(warning.message) for warning in said) else "unexpected"
    path.write_bytes(content)


def try_all(root: Path) -> dict[str, Any]:
    """Try all kinds of files; return the counts by kind and in total."""
    by_kind = {**try_images(root), **try_archives(root), **try_run_folder(root)}
    shutil.rmtree(root / "images")
    total = {
        word: sum(found["outcomes"].get(word, 0) for found in by_kind.values())
        for word in ("read", "refused", "before", "left out", "unexpected")
    }
    inputs = sum(found["inputs"] for found in by_kind.values())
    return {
        "kinds": len(by_kind),
        "inputs": inputs,
        **{word.replace(" ", "_"): number for word, number in total.items()},
        "by_kind": by_kind,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, which has no options, try all kinds and print the counts."""
    argparse.ArgumentParser("python -m benchmarks.damaged", description=__doc__).parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GLO_CACHE_DIR"] = f"{folder}/cache"
        print(json.dumps(try_all(Path(folder)), indent=1))


if __name__ == "__main__":
    main()
