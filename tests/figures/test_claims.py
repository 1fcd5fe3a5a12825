"""What the figure of the claims shows; and that the tables and the figures in the repository belong to the stored numbers."""

import json
import re
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from benchmarks import claims
from glo_lib.figures.claims import RECONSTRUCTIONS, SAMPLES, save_svg, show_claims

ROOT = Path(__file__).parents[2]
RESULTS = [ROOT / "benchmarks/claims.json", ROOT / "benchmarks/converged.json"]
MEASURES = (*RECONSTRUCTIONS, *SAMPLES)
MATPLOTLIB = re.search(r'"matplotlib==(\S+); python_version >=', (ROOT / "pyproject.toml").read_text("utf8"))[1]  # it drew the files


def rows_of(values):
    """Three rows: two priors of one model, and images that are no reconstructions."""
    names = [("GLO", "unit Gaussian"), ("GLO", "full Gaussian"), ("held-out images", "")]
    rows = [{"model": model, "prior": prior, **dict.fromkeys(MEASURES, value)} for (model, prior), value in zip(names, values, strict=True)]
    return [*rows[:2], rows[2] | dict.fromkeys(RECONSTRUCTIONS)]


@pytest.fixture
def results():
    return {"runs": [rows_of([1, 5, 7]), rows_of([3, 5, 9])], "mean": rows_of([2, 5, 8]), "deviation": rows_of([1.5, 0.25, 1])}


def test_models_reconstruct_once_and_every_prior_has_a_row_of_samples(results):
    reconstructions, *samples = show_claims(results).axes
    assert [label.get_text() for label in reconstructions.get_yticklabels()] == ["GLO"]
    assert [label.get_text() for label in samples[0].get_yticklabels()] == ["GLO, unit Gaussian", "GLO, full Gaussian", "held-out images"]
    assert [axis.get_xlabel() for axis in samples] == list(SAMPLES.values())


def test_markers_are_means_bars_are_deviations_and_points_are_seeds(results):
    axis = show_claims(results).axes[1]
    (drawn,) = axis.containers
    markers, _, (bars,) = drawn
    assert markers.get_xdata().tolist() == [2, 5, 8]
    assert [tuple(bar[:, 0]) for bar in bars.get_segments()] == [(0.5, 3.5), (4.75, 5.25), (7, 9)]
    seeds = [line.get_xdata() for line in axis.lines if line.get_marker() == "."]
    np.testing.assert_array_equal(seeds, [[1, 5, 7], [3, 5, 9]])


def test_the_same_figure_gives_the_same_file(results, tmp_path):
    for name in ("a.svg", "b.svg"):
        save_svg(show_claims(results), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_the_figure_and_the_table_in_the_repository_belong_to_the_stored_numbers(path, tmp_path):
    content = json.loads(path.read_text("utf8"))
    assert path.with_suffix(".md").read_text("utf8") == claims.tables(content)
    save_svg(show_claims(content), tmp_path / "figure.svg")
    if version("matplotlib") == MATPLOTLIB:  # others name the glyphs otherwise
        assert path.with_suffix(".svg").read_bytes() == (tmp_path / "figure.svg").read_bytes()
