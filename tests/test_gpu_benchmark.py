"""The benchmark for machines with GPUs, run on CPU devices at a small size: the same program, so that it works when a GPU is there."""

import json

import pytest

from benchmarks import gpu


def test_the_table_has_a_row_for_each_configuration_and_towers_agree(tmp_path, capsys):
    small = {"num_images": 64, "num_filters": [8, 6, 4], "num_dims": 5, "batch_size": 8, "steps": 3}
    found = gpu.run(tmp_path / "gpu.json", sizes=[32], precisions=["float32"], num_devices=2, **small)
    assert json.loads((tmp_path / "gpu.json").read_text())["rows"] == found["rows"]
    assert [(row["layer_route"], row["towers"], row["devices"]) for row in found["rows"]] == [
        ("fast", 1, ["/cpu:0"]),
        ("slim", 1, ["/cpu:0"]),
        ("slim", 2, ["/cpu:0", "/cpu:1"]),
    ]
    assert all(row["images_per_second"] > 0 and 0 <= row["waiting"] < 1 for row in found["rows"])
    assert found["gradients_differ"] < 1e-4
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 3 + 1 and lines[2].split()[5] == "1.00"


@pytest.mark.gpu
def test_on_real_gpus(tmp_path):
    """pytest -m gpu: small images on the GPUs of this machine."""
    from glo_lib.graph.devices import find_gpus

    towers = len(find_gpus())
    if not towers:
        pytest.skip("there is no GPU")
    found = gpu.run(tmp_path / "gpu.json", sizes=[32], precisions=["float32", "float16"], num_devices=towers)
    assert found["gradients_differ"] < 1e-3
