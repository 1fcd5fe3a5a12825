"""Shared by the tests of the figures."""

import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def draw_without_display():
    """Draw figures without a display, and close them after each test."""
    plt.switch_backend("agg")
    yield
    plt.close("all")
