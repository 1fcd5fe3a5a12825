"""Files are decoded in order, to the same pixels whatever their metadata, and a file that cannot be read is replaced by the reason."""

import threading
import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from glo_lib.config import IMAGE_SIZES
from glo_lib.images import crop, decode
from glo_lib.images.crop import JPEG_SCALES, jpeg_scale_index
from glo_lib.images.decode import decode_files
from glo_lib.images.metadata import turn_upright
from tests.make_files import encoded, exif_data, jpeg_with, write_file, xmp_data


def write_grey_files(folder, values):
    """Write an image for each value: a JPEG file if it is even, with EXIF data if it is divisible by 4, a PNG file if it is odd.

    For -1 write bytes that are not an image.
    """
    names, rotated = [], Image.Exif()
    rotated[0x0112] = 6
    for number, value in enumerate(values):
        names.append(str(folder / f"{number:03d}.{'jpg' if value % 2 == 0 else 'png'}"))
        if value < 0:
            (folder / names[-1]).write_bytes(b"no image")
        else:
            Image.new("RGB", (12, 10), (value,) * 3).save(names[-1], **({"exif": rotated} if value % 4 == 0 else {}))
    return names


def decoded_values(names):
    """Return what `decode_files` yields for each file: the grey value of its image, or the reason as text."""
    found = {}
    for first, result in decode_files(names, 4):
        if isinstance(result, str):
            found[first] = result
        else:
            assert result.shape[1:] == (4, 4, 3) and result.dtype == np.uint8 and len(result)
            found.update({first + number: int(image.mean().round()) for number, image in enumerate(result)})
    assert list(found) == list(range(len(names)))  # each once, and in order
    return list(found.values())


@settings(max_examples=6)
@example(values=[-1, 10, 12, 14, -1, -1, 11], batch_size=2)
@example(values=[10, -1, 11, 13, 14, 12], batch_size=1)
@given(values=st.lists(st.integers(-1, 127), max_size=9), batch_size=st.integers(1, 4))
def test_images_and_reasons_come_in_the_order_of_the_files(tmp_path_factory, values, batch_size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "FILES_PER_BATCH", batch_size)
        found = decoded_values(write_grey_files(tmp_path_factory.mktemp("files"), values))
    for result, value in zip(found, values, strict=True):
        assert result == pytest.approx(value, abs=1) if value >= 0 else "not an image" in result and "/" not in result


def test_a_huge_image_is_refused_before_its_pixels_are_decoded(tmp_path):
    names = write_grey_files(tmp_path, [10, 11])  # a JPEG and a PNG file
    for name in names:
        Image.new("RGB", (300, 300)).save(name)
        ((_, reason),) = decode_files([name], 4, max_megapixels=0.08)
        assert reason == "300x300 pixels, above the limit of 0.08 megapixels; -p max_megapixels raises it"
        ((_, image),) = decode_files([name], 4, max_megapixels=0.09)
        assert image.shape == (1, 4, 4, 3)


def photograph(height: int, width: int) -> np.ndarray:
    """A smooth image with some noise, uint8 (height, width, 3)."""
    y, x = np.mgrid[:height, :width] / height
    waves = [np.sin(9 * x + 2) * np.cos(7 * y), np.cos(5 * x + 8 * y), np.sin(6 * (x - y))]
    return np.uint8(128 + 100 * np.dstack(waves) + np.random.default_rng(0).uniform(-20, 20, (height, width, 3)))


def decoded(names: list[str], size: int = 16) -> np.ndarray:
    images = [result for _, result in decode_files(names, size)]
    assert not [result for result in images if isinstance(result, str)]
    return np.concatenate(images)


XMP_SEGMENT = b"http://ns.adobe.com/xap/1.0/\0"
METADATA = {
    "EXIF": ([(0xE1, exif_data(1))], 1),
    "EXIF, lying": ([(0xE1, exif_data(6))], 6),
    "EXIF, mirrored": ([(0xE1, exif_data(2))], 2),
    "XMP, upside down": ([(0xE1, XMP_SEGMENT + xmp_data(3))], 3),
    "EXIF and XMP": ([(0xE1, exif_data(1)), (0xE1, XMP_SEGMENT + xmp_data(3))], 1),
    "EXIF that is damaged": ([(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff")], 1),
    "a colour profile that is damaged": ([(0xE2, b"ICC_PROFILE\0\7\3x")], 1),
    "a second image": ([(0xE2, b"MPF\0II*\0nonsense")], 1),
    "long comments": ([(0xFE, b"x" * 65_000)] * 6, 1),
    "EXIF after long comments": ([(0xFE, b"x" * 65_000)] * 6 + [(0xE1, exif_data(8))], 8),
}


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 95, "subsampling": 1}], ids=str)
@pytest.mark.parametrize("shape", [(50, 41), (300, 261)])  # the second is decoded at a fraction of its size
def test_the_pixels_of_a_jpeg_file_do_not_depend_on_its_metadata_or_its_name(tmp_path, options, shape):
    plain = encoded(photograph(*shape), "JPEG", **options)
    names = [write_file(tmp_path / "plain.jpg", plain), write_file(tmp_path / "plain.png", plain)]
    names.append(write_file(tmp_path / "bytes after the end.jpg", plain + b"x" * 100))
    for name, (segments, _) in METADATA.items():
        names += [write_file(tmp_path / f"{name}{ending}", jpeg_with(plain, *segments)) for ending in (".jpg", ".tif")]
    turns = [1, 1, 1] + [turn for _, turn in METADATA.values() for _ in range(2)]
    images = decoded(names)
    for name, image, turn in zip(names, images, turns, strict=True):
        np.testing.assert_array_equal(image, turn_upright(images[0], turn), name)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_an_image_that_is_stored_lying_is_decoded_as_if_it_stood(tmp_path, kind):
    stored, options = photograph(51, 41), {"lossless": True} if kind == "WEBP" else {}
    names = []
    for turn in range(1, 9):
        orientation = {"tiffinfo": {0x0112: turn}} if kind == "TIFF" else {"exif": exif_data(turn)}
        names.append(write_file(tmp_path / f"{turn}", encoded(stored, kind, **orientation, **options)))
        names.append(write_file(tmp_path / f"{turn} upright", encoded(np.ascontiguousarray(turn_upright(stored, turn)), kind, **options)))
    images = decoded(names).astype(int)
    assert np.abs(images[::2] - images[1::2]).max() <= 1  # sums are taken in another order


def test_jpeg_files_of_cameras_are_decoded_once_and_by_tensorflow(tmp_path, monkeypatch):
    """Photographs with EXIF data are not read one by one."""
    names = write_grey_files(tmp_path, [4, 8, 12, 16, 20])
    monkeypatch.setattr(decode, "read_stored", lambda *_: pytest.fail("read by Pillow"))
    monkeypatch.setattr(decode._SingleFiles, "decode", lambda _, positions: iter([pytest.fail("decoded singly")] if positions else []))
    assert decoded_values(names) == pytest.approx([4, 8, 12, 16, 20], abs=1)


@pytest.mark.parametrize("size", IMAGE_SIZES)
@pytest.mark.parametrize("tight_crop", [False, True])
def test_the_images_of_celeba_are_decoded_at_full_size(size, tight_crop):
    assert jpeg_scale_index(218, 178, size, tight_crop) == 0


@pytest.mark.parametrize(
    ("height", "width", "size", "tight_crop", "scale"),
    [
        *((3000, 4000, 64, False, 8), (4000, 3000, 128, False, 4), (3000, 4000, 256, False, 2), (3000, 4000, 64, True, 1)),
        *((511, 9999, 64, False, 1), (512, 9999, 64, False, 2), (1023, 1023, 64, False, 2), (1024, 1024, 64, False, 4)),
    ],
)
def test_a_photograph_is_decoded_at_a_fraction_that_leaves_four_times_the_pixels_a_side(height, width, size, tight_crop, scale):
    assert JPEG_SCALES[jpeg_scale_index(height, width, size, tight_crop)] == scale


@pytest.mark.parametrize("by", ["TensorFlow", "Pillow"])
@pytest.mark.parametrize("shape", [(130, 171), (259, 201), (300, 515)])
def test_decoding_at_a_fraction_of_the_size_hardly_changes_the_result(tmp_path, monkeypatch, by, shape):
    name = write_file(tmp_path / "a.jpg", encoded(photograph(*shape), "JPEG", quality=95))
    if by == "Pillow":
        monkeypatch.setattr(decode, "read_jpeg_header", lambda _: None)  # as if its header were unusual
    at_a_fraction = decoded([name], 8).astype(float)
    monkeypatch.setattr(crop, "MIN_OVERSAMPLING", 1000)
    at_full_size = decoded([name], 8)
    assert jpeg_scale_index(*shape, 8, False) == 0  # and this was really full size
    psnr = 10 * np.log10(255**2 / np.mean((at_a_fraction - at_full_size) ** 2))
    assert 43 < psnr < 60


def test_a_jpeg_file_that_tensorflow_cannot_decode_is_left_to_pillow(tmp_path, monkeypatch):
    names = write_grey_files(tmp_path, [10, 12, 14])
    read_header = decode.read_jpeg_header
    monkeypatch.setattr(decode, "read_jpeg_header", lambda name: None if name == names[1] else read_header(name))
    assert decoded_values(names) == pytest.approx([10, 12, 14], abs=1)


def test_a_folder_of_other_images_is_decoded_in_several_threads_some_in_advance(tmp_path, monkeypatch):
    names = write_grey_files(tmp_path, [11, 10, 13, 15, 17, 12, 19, -1, 21])
    started, meeting = [], threading.Barrier(2, timeout=30)
    read = decode.read_stored

    def read_together(name, *arguments):
        started.append(name)
        if name in (names[4], names[6]):  # with a JPEG file between them, which TensorFlow decodes
            meeting.wait()
        return read(name, *arguments)

    monkeypatch.setattr(decode, "CPUS", 2)
    monkeypatch.setattr(decode, "read_stored", read_together)
    values = decoded_values(names)
    assert [value for value in values if not isinstance(value, str)] == [11, 10, 13, 15, 17, 12, 19, 21]
    assert len(started) == 7  # each once


def test_large_photographs_among_small_ones_keep_their_place(tmp_path):
    names = write_grey_files(tmp_path, [10, 12, 14, 16, 18])
    for name, value in ((names[1], 100), (names[4], 120)):
        Image.new("RGB", (400, 300), (value,) * 3).save(name)
    assert decoded_values(names) == pytest.approx([10, 100, 14, 16, 120], abs=1)


def test_a_generator_that_is_left_early_ends_its_threads(tmp_path, monkeypatch):
    read, before = decode.read_stored, set(threading.enumerate())
    monkeypatch.setattr(decode, "read_stored", lambda *arguments: time.sleep(0.05) or read(*arguments))  # so that some are being read
    results = decode_files(write_grey_files(tmp_path, [11] * 30), 4)
    next(results)
    started = set(threading.enumerate()) - before
    assert started
    results.close()
    assert not any(thread.is_alive() for thread in started)
