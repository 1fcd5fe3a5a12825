"""What the figures of the chapter on the inputs show, and that its readers behave as the chapter says."""

import numpy as np
import pytest
from PIL import Image

from glo_lib.figures.inputs import overtaking_queues, running, show_drift, show_rates, show_shrunk, show_streams, show_windows, two_queues
from glo_lib.inputs import get_inputs_queue, preprocess_inputs


@pytest.fixture(scope="module")
def grey_files(tmp_path_factory):
    """Ten JPEG files. File i has grey level 25 i, and every fifth file is large."""
    folder = tmp_path_factory.mktemp("greys")
    names = [str(folder / f"{i}.jpg") for i in range(10)]
    for i, name in enumerate(names):
        Image.new("RGB", (300, 300) if i % 5 == 0 else (8, 8), (25 * i,) * 3).save(name)
    return names


def read_pairs(reader, files, num_batches, **settings):
    """The number of the image and the index that came with it, for each image of the first batches."""
    with running(lambda: reader(files, lambda inputs: preprocess_inputs(inputs, size=8), **settings)) as next_batch:
        batches = [next_batch() for _ in range(num_batches)]
    levels = np.concatenate([batch["image"].mean((1, 2, 3)) for batch in batches])
    return ((levels + 1) * 127.5 / 25).round().astype(int), np.concatenate([batch["index"] for batch in batches])


@pytest.mark.parametrize("reader", [two_queues, overtaking_queues])
def test_with_one_thread_two_queues_keep_the_pairs_and_the_order(grey_files, reader):
    images, indices = read_pairs(reader, grey_files, num_batches=4, batch_size=5)
    assert images.tolist() == indices.tolist() == [*range(10), *range(10)]


def test_with_several_threads_decoded_images_overtake_each_other_and_pairs_do_not(grey_files):
    for _ in range(5):  # one image has to overtake another by chance
        images, indices = read_pairs(overtaking_queues, grey_files, num_batches=25, num_threads=8)
        assert (indices == np.arange(400) % 10).all()
        if (images != indices).any():
            break
    assert (images != indices).any()
    images, indices = read_pairs(get_inputs_queue, grey_files, num_batches=10, num_threads=8, batch_size=10)
    assert (images == indices).all() and set(indices) == set(range(10))


def test_windows_are_named_central_squares():
    (axis,) = show_windows(np.zeros((218, 178, 3), np.uint8), {"whole": 178, "face": 108}).axes
    squares = [(patch.get_x(), patch.get_y(), patch.get_width(), patch.get_height()) for patch in axis.patches]
    assert squares == [(-0.5, 19.5, 178, 178), (34.5, 54.5, 108, 108)]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["whole", "face"]


def test_shrunk_images_are_shown_pixel_by_pixel_at_the_same_size():
    small = np.linspace(-1, 1, 4 * 4 * 3).reshape(4, 4, 3)
    figure = show_shrunk([{"original": np.full((9, 9, 3), 7, np.uint8), "averaged": small}] * 2)
    assert [axis.get_title() for axis in figure.axes] == ["original", "averaged"] * 2
    figure.canvas.draw()
    boxes = {tuple(axis.get_position().size.round(3)) for axis in figure.axes}
    pictures = [axis.images[0] for axis in figure.axes[:2]]
    assert len(boxes) == 1 and all(picture.get_interpolation() == "nearest" for picture in pictures)
    assert (pictures[0].get_array() == 7).all()
    np.testing.assert_allclose(pictures[1].get_array(), (small + 1) * 127.5, atol=1)


def test_streams_show_each_index_at_its_position_and_a_line_between_epochs():
    figure = show_streams({"one": np.array([2, 0, 1, 1, 2, 0, 2]), "two": np.array([0, 1])}, num_images=3)
    points = figure.axes[0].collections[0].get_offsets()
    assert points.tolist() == [[0, 2], [1, 0], [2, 1], [3, 1], [4, 2], [5, 0], [6, 2]]
    assert [list(line.get_xdata()) for line in figure.axes[0].lines] == [[3, 3], [6, 6]]
    assert [axis.get_title() for axis in figure.axes] == ["one", "two"] and not figure.axes[1].lines


def test_drift_marks_wrong_pairs_and_shows_their_share():
    figure = show_drift({"bad": np.array([0, 1, -1, 0]), "good": np.zeros(4)})
    right, wrong = figure.axes[0].collections
    assert right.get_offsets().tolist() == [[0, 0], [3, 0]] and wrong.get_offsets().tolist() == [[1, 1], [2, -1]]
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim() == (-1.2, 1.2)
    assert [axis.get_title("left") for axis in figure.axes] == ["bad: 50.0% wrong", "good: 0.0% wrong"]


def test_rates_are_labelled_bars_from_top_to_bottom():
    (axis,) = show_rates({"slow": 120.4, "fast": 12000.0}).axes
    assert [bar.get_width() for bar in axis.patches] == [120.4, 12000.0]
    assert [text.get_text().strip() for text in axis.texts] == ["120", "12,000"]
    assert axis.yaxis_inverted() and axis.get_xlim()[0] == 0
