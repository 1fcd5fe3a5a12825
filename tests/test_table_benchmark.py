"""The common table of the benchmarks: its command, and the machines on which its parts were measured."""

import json
import sys
from types import SimpleNamespace

import pytest

from benchmarks import __main__ as common
from benchmarks import machine
from benchmarks.turns import Row

CPUINFO = """\
processor\t: 0
cpu family\t: {family}
model\t\t: 17
model name\t: AMD EPYC
flags\t\t: fpu avx2{flags}

processor\t: 1
cpu family\t: 6
"""


def part(**facts):
    return {"date": "2026-01-31", "machine": facts, "rows": [["speed", 2.5, "s", ""]]}


def test_the_table_in_the_repository_belongs_to_the_stored_results():
    assert common.TABLE.read_text("utf8") == common.as_markdown(common.read_results())


def test_parts_of_one_machine_share_a_line():
    table = common.as_markdown({"flat": part(processor="A", cores=2), "memory": part(processor="A", cores=2)})
    assert table.endswith("\n\nMachine and versions: processor A, cores 2.\n")


def test_each_machine_is_named_with_the_parts_that_were_measured_there():
    table = common.as_markdown({"flat": part(cores=2), "quality": part(cores=4), "memory": part(cores=2)})
    assert table.endswith("\n\nMachine and versions of flat, memory: cores 2.\n\nMachine and versions of quality: cores 4.\n")


@pytest.mark.parametrize(
    ("family", "flags", "bfloat16"),
    [("25", "", "without units"), ("25", " avx512_bf16", "avx512_bf16"), ("6", " avx512_bf16 amx_bf16", "avx512_bf16 amx_bf16")],
)
def test_generations_of_processors_with_the_same_name_can_be_told_apart(family, flags, bfloat16):
    found = machine.processor(CPUINFO.format(family=family, flags=flags))
    assert found == {"processor": "AMD EPYC", "family": family, "model": "17", "bfloat16": bfloat16}


def test_a_system_without_cpuinfo_has_the_name_of_a_processor_alone(monkeypatch):
    monkeypatch.setattr(machine.platform, "processor", lambda: "")
    monkeypatch.setattr(machine.platform, "machine", lambda: "arm64")
    assert machine.processor("") == {"processor": "arm64"}


def test_the_version_of_pytorch_is_that_of_the_environment_that_is_measured(tmp_path, monkeypatch):
    monkeypatch.delenv("TORCH_PYTHON", raising=False)
    assert machine.torch_version() == machine._version("torch")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexport PYTHONPATH={tmp_path}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (tmp_path / "torch-9.8.7.dist-info").mkdir()
    (tmp_path / "torch-9.8.7.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 9.8.7\n")
    monkeypatch.setenv("TORCH_PYTHON", str(python))
    assert machine.machine()["torch"] == "9.8.7"
    monkeypatch.setenv("TORCH_PYTHON", str(tmp_path / "missing"))
    assert machine.torch_version() == "not installed"


def test_a_part_keeps_the_results_of_the_others(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(common, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(common, "TABLE", tmp_path / "results.md")
    monkeypatch.setattr(common, "machine", lambda: {"cores": 2})
    monkeypatch.setattr(common.importlib, "import_module", lambda name: SimpleNamespace(run=lambda: [Row(f"row of {name}", 1234.5, "s")]))
    common.main(["memory"])
    common.main(["flat"])
    assert list(json.loads(common.RESULTS.read_text())) == ["memory", "flat"]
    rows = [line.split(" | ")[:2] for line in common.TABLE.read_text().splitlines() if line.startswith("| row")]
    assert rows == [["| row of benchmarks.flat", "1,234 s"], ["| row of benchmarks.memory", "1,234 s"]]
    assert "row of benchmarks.memory" in capsys.readouterr().out


def test_an_unknown_part_is_refused_before_anything_runs(capsys):
    with pytest.raises(SystemExit):
        common.main(["memory", "speed"])
    assert "unknown part speed; there are throughput, flat" in capsys.readouterr().err
