"""The distances of photographs, reconstructions and new faces, drawn for two runs and two judges."""

import numpy as np
import pytest

from glo_lib.figures.photographs import distances_of, show_distances


def judged(scale):
    kinds = ("floor", "training", "held_out", "full Gaussian", "flow")
    rows = {kind: {"kernel_distance": scale * number, "standard_error": 0.01} for number, kind in enumerate(kinds)}
    samples = {prior: rows.pop(prior) for prior in ("full Gaussian", "flow")}
    return {judge: {**rows, "samples": samples} for judge in ("efficientnet_lite0", "face_recogniser")}


def test_photographs_come_first_then_reconstructions_then_the_samples_of_each_prior():
    assert distances_of(judged(0.1), "face_recogniser") == {
        "training photographs": (0, 10),
        "reconstructions, training": (pytest.approx(100), 10),
        "reconstructions, held out": (pytest.approx(200), 10),
        "new faces, full Gaussian": (pytest.approx(300), 10),
        "new faces, flow": (pytest.approx(400), 10),
    }


def test_a_judgement_without_held_out_images_has_a_row_less():
    found = judged(0.1)
    del found["efficientnet_lite0"]["held_out"]
    assert "reconstructions, held out" not in distances_of(found, "efficientnet_lite0")


def test_each_run_has_its_markers_with_bars_of_two_standard_errors_beside_the_same_rows(no_figures):
    figure = show_distances({"five minutes": judged(0.1), "an hour": judged(0.05)})
    for axis in figure.axes:
        first, second = axis.containers
        np.testing.assert_allclose(first.lines[0].get_xdata(), [0, 100, 200, 300, 400])
        np.testing.assert_allclose(second.lines[0].get_xdata(), [0, 50, 100, 150, 200])
        heights = [container.lines[0].get_ydata().astype(float) for container in (first, second)]
        np.testing.assert_array_equal(np.round(heights), [range(5), range(5)])
        assert np.all(heights[0] != heights[1])  # so that no marker hides another
        (bars,) = first.lines[2]
        assert np.allclose(bars.get_segments()[1][:, 0], [80, 120])
        assert axis.get_ylim()[0] > axis.get_ylim()[1] and axis.get_xlim()[0] <= -20 + 1e-9
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[0] == "training photographs" and labels[-1] == "new faces, flow"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["five minutes", "an hour"]
