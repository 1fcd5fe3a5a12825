"""Fixtures for the tests of the image modules."""

import pytest


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """Give every test an empty cache of its own; the folder does not exist yet."""
    monkeypatch.setenv("GLO_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"
