"""Measurements of speed and memory; `python -m benchmarks.flat` and its siblings print tables. Nothing here is a test."""
