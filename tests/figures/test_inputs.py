"""What the figures of the chapter on the inputs show, and that its readers do what it says of them."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from glo_lib.figures.inputs import overtaking_queues, running, show_drift, show_rates, show_streams, show_windows, two_queues
from glo_lib.inputs import get_inputs_queue, preprocess_inputs


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def greys(tmp_path_factory):
    """Ten JPEG files: file i is grey of level 25 i, every fifth is large."""
    folder = tmp_path_factory.mktemp("greys")
    names = [str(folder / f"{i}.jpg") for i in range(10)]
    for i, name in enumerate(names):
        Image.new("RGB", (300, 300) if i % 5 == 0 else (8, 8), (25 * i,) * 3).save(name)
    return names


def to_eight(inputs):
    return preprocess_inputs(inputs, size=8)


def pairs_of(build, num_batches):
    with running(build) as next_batch:
        batches = [next_batch() for _ in range(num_batches)]
    levels = np.concatenate([batch["image"].mean((1, 2, 3)) for batch in batches])
    return ((levels + 1) * 127.5 / 25).round().astype(int), np.concatenate([batch["index"] for batch in batches])


@pytest.mark.parametrize("reader", [two_queues, overtaking_queues])
def test_with_one_thread_two_queues_stay_together_and_in_order(greys, reader):
    images, indices = pairs_of(lambda: reader(greys, to_eight, batch_size=5), num_batches=4)
    assert images.tolist() == indices.tolist() == [*range(10), *range(10)]


def test_decoded_images_in_their_own_queue_overtake_each_other(greys):
    images, indices = pairs_of(lambda: overtaking_queues(greys, to_eight, num_threads=8), num_batches=25)
    assert (indices == np.arange(400) % 10).all() and (images != indices).any()


def test_a_pipeline_of_pairs_runs_in_the_same_frame(greys):
    images, indices = pairs_of(lambda: get_inputs_queue(greys, to_eight, num_threads=8, batch_size=10), num_batches=10)
    assert (images == indices).all() and set(indices) == set(range(10))


def test_windows_are_central_squares_with_their_names():
    (axis,) = show_windows(np.zeros((218, 178, 3), np.uint8), {"whole": 178, "face": 108}).axes
    assert [(patch.get_x(), patch.get_y(), patch.get_width(), patch.get_height()) for patch in axis.patches] == [
        (-0.5, 19.5, 178, 178),
        (34.5, 54.5, 108, 108),
    ]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["whole", "face"]
    assert "pixels" in axis.get_xlabel() and "pixels" in axis.get_ylabel()


def test_streams_show_every_index_at_its_position_and_part_the_epochs():
    figure = show_streams({"one": np.array([2, 0, 1, 1, 2, 0, 2]), "two": np.array([0, 1])}, num_images=3)
    points = figure.axes[0].collections[0].get_offsets()
    assert points.tolist() == [[0, 2], [1, 0], [2, 1], [3, 1], [4, 2], [5, 0], [6, 2]]
    assert [list(line.get_xdata()) for line in figure.axes[0].lines] == [[3, 3], [6, 6]]
    assert [axis.get_title() for axis in figure.axes] == ["one", "two"] and not figure.axes[1].lines


def test_drift_marks_the_wrong_pairs_and_says_their_share():
    figure = show_drift({"bad": np.array([0, 1, -1, 0]), "good": np.zeros(4)})
    right, wrong = figure.axes[0].collections
    assert right.get_offsets().tolist() == [[0, 0], [3, 0]] and wrong.get_offsets().tolist() == [[1, 1], [2, -1]]
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim() == (-1.2, 1.2)
    assert [axis.get_title("left") for axis in figure.axes] == ["bad: 50.0% wrong", "good: 0.0% wrong"]


def test_rates_are_bars_with_their_numbers_the_first_on_top():
    (axis,) = show_rates({"slow": 120.4, "fast": 12000.0}).axes
    assert [bar.get_width() for bar in axis.patches] == [120.4, 12000.0]
    assert [text.get_text().strip() for text in axis.texts] == ["120", "12,000"]
    assert axis.yaxis_inverted() and axis.get_xscale() == "log"
