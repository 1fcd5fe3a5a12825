"""Files are decoded in order, and a file that cannot be read is replaced by the reason."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from glo_lib.images import decode
from glo_lib.images.decode import decode_files


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


def test_a_huge_image_is_refused_before_its_pixels_are_decoded(tmp_path, monkeypatch):
    names = write_grey_files(tmp_path, [10, 10])
    Image.new("RGB", (300, 300)).save(names[0])
    monkeypatch.setattr(decode, "MAX_PIXELS", 200)
    assert isinstance(decoded_values(names)[0], str)
