"""Files come out decoded and in order, and for a bad one its reason."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from glo_lib.images import decode
from glo_lib.images.decode import decode_files


def grey_files(folder, values):
    """A square for each value: JPEG where it is even, PNG where it is odd, and bytes that are no image for -1."""
    names = []
    for number, value in enumerate(values):
        names.append(str(folder / f"{number:03d}.{'jpg' if value % 2 == 0 else 'png'}"))
        if value < 0:
            (folder / names[-1]).write_bytes(b"no image")
        else:
            Image.new("RGB", (12, 10), (value,) * 3).save(names[-1])
    return names


def decoded_values(names):
    """What `decode_files` says of each file: the grey value of its image, or the reason as text."""
    found = {}
    for first, result in decode_files(names, 4):
        if isinstance(result, str):
            found[first] = result
        else:
            assert result.shape[1:] == (4, 4, 3) and result.dtype == np.uint8 and len(result)
            found.update({first + number: int(image.mean().round()) for number, image in enumerate(result)})
    assert list(found) == list(range(len(names)))  # each once, and in order
    return list(found.values())


@settings(deadline=None, max_examples=8)
@given(values=st.lists(st.integers(0, 127), max_size=9), batch_size=st.integers(1, 4))
def test_files_of_both_kinds_come_out_in_order(tmp_path_factory, values, batch_size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "FILES_PER_BATCH", batch_size)
        assert decoded_values(grey_files(tmp_path_factory.mktemp("files"), values)) == pytest.approx(values, abs=1)


@pytest.mark.parametrize("values", [[-1], [-1, 10, 12], [10, -1, -1, 12], [10, 11, 12, -1], [-1, 11]])
def test_the_reason_stands_in_the_place_of_a_bad_file(tmp_path, values):
    for found, value in zip(decoded_values(grey_files(tmp_path, values)), values, strict=True):
        assert found == pytest.approx(value, abs=1) if value >= 0 else "not an image" in found and "/" not in found


def test_a_huge_picture_is_refused_before_its_pixels_are_decoded(tmp_path, monkeypatch):
    names = grey_files(tmp_path, [10, 10])
    Image.new("RGB", (300, 300)).save(names[0])
    monkeypatch.setattr(decode, "MAX_PIXELS", 200)
    refused = decoded_values(names)[0]
    assert isinstance(refused, str)
