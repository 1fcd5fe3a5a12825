"""What the figures of the chapter on the VAE show."""

import numpy as np

from glo_lib.figures.vae import (
    draw_models,
    show_against_beta,
    show_against_epochs,
    show_divergences,
    show_histories,
    show_parameters,
)
from glo_lib.runs.folder import HistoryRow


def test_the_diagrams_differ_in_where_the_code_comes_from():
    glo, vae = (" ".join(text.get_text() for text in axis.texts) for axis in draw_models().axes)
    assert "table of codes" in glo and "encoder" not in glo
    assert "encoder" in vae and "table" not in vae and "KL" in vae
    assert "decoder" in glo and "decoder" in vae


def test_the_lines_of_parameters_cross_where_they_are_equal():
    (axis,) = show_parameters({"small": (1000, 10)}, [10, 10_000]).axes
    table, encoder, crossing = axis.lines
    assert table.get_ydata().tolist() == [100, 100_000] and list(encoder.get_ydata()) == [1000, 1000]
    assert crossing.get_xydata().tolist() == [[100, 1000]]
    assert axis.get_xscale() == axis.get_yscale() == "log"


def test_long_histories_are_averaged_and_drawn_over_steps_and_over_seconds():
    rows = [HistoryRow(step, 0.5 * step, 1 / step) for step in range(1, 101)]
    over_steps, over_seconds = show_histories({"GLO": rows, "short": rows[:5]}).axes
    long, short = over_steps.lines
    assert len(long.get_xdata()) == 5 and long.get_xdata()[0] == 10.5  # means of twenty
    np.testing.assert_allclose(over_seconds.lines[0].get_xdata(), 0.5 * long.get_xdata())
    assert short.get_ydata().tolist() == [row.loss for row in rows[:5]]


def test_each_measure_has_a_panel_over_beta():
    first, second = show_against_beta({"PSNR (dB)": {0.1: 20, 1: 18}, "units": {0.1: 9, 1: 3}}, {"PSNR (dB)": ("GLO", 21)}).axes
    assert first.lines[0].get_ydata().tolist() == [20, 18] and first.lines[1].get_ydata()[0] == 21
    assert len(second.lines) == 1 and second.get_ylabel() == "units" and second.get_xscale() == "log"
    assert [label.get_text() for label in first.get_xticklabels()] == ["0.1", "1"]


def test_each_model_has_a_line_over_the_epochs_that_it_was_trained_for():
    (axis,) = show_against_epochs({"GLO": {20: 25, 40: 26}, "VAE": {20: 23, 40: 24, 80: 25}}, "PSNR (dB)").axes
    assert [line.get_xydata().tolist() for line in axis.lines] == [[[20, 25], [40, 26]], [[20, 23], [40, 24], [80, 25]]]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["20", "40", "80"] and axis.get_ylabel() == "PSNR (dB)"
    assert len({line.get_marker() for line in axis.lines}) == 2  # told apart without colour


def test_divergences_are_sorted_from_the_largest():
    (axis,) = show_divergences({"beta 1": np.array([0.1, 2, 0.5])}).axes
    assert axis.lines[0].get_ydata().tolist() == [2, 0.5, 0.1]
