"""For all tests, notebooks included: no test sees a GPU unless GPUs are what is tested, so that every machine gives the same answers.

pytest --nbval       everything, on the CPU; the kernels that nbval starts inherit the setting
pytest -m gpu        the tests that need a GPU, where there is one
"""

import os

import pytest


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("markexpr") != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that need a GPU are left out, not skipped, when they were not asked for: a skipped test is one to worry about."""
    if config.getoption("markexpr") == "gpu":
        return
    wanted = [item for item in items if item.get_closest_marker("gpu") is None]
    config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
    items[:] = wanted
