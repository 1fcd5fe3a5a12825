"""Towers on the CPU where there is no GPU and on GPUs where there are some, and the precision of a run."""

from types import SimpleNamespace

import pytest

from glo_lib.graph import devices
from glo_lib.graph.backend import tf
from glo_lib.graph.devices import choose_devices, codes_device, has_bfloat16_units

CPUINFO = "processor\t: 0\nmodel name\t: A processor\nflags\t\t: fpu sse4_2 avx2 {flags} tsc\nbugs\t\t: spectre_v1\n"


@pytest.fixture
def machine(monkeypatch):
    """Return a function that pretends a number of GPUs, or GPUs of these numbers, and a CPU with or without units for bfloat16."""

    def pretend(gpus, bfloat16_units=False):
        numbers = range(gpus) if isinstance(gpus, int) else gpus
        found = [SimpleNamespace(name=f"/physical_device:GPU:{number}") for number in numbers]
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: found if kind == "GPU" else ["a CPU"])
        monkeypatch.setattr(devices, "has_bfloat16_units", lambda: bfloat16_units)
        monkeypatch.setattr(devices.platform, "machine", lambda: "z80")

    return pretend


@pytest.mark.parametrize(
    ("found", "gpus", "towers", "parameters", "cpus", "description"),
    [
        (0, 1, ("/cpu:0",), "/cpu:0", {"CPU": 1}, "1 tower on 1 CPU device (no GPU found; z80), float32"),
        (0, 3, ("/cpu:0", "/cpu:1", "/cpu:2"), "/cpu:0", {"CPU": 3}, "3 towers on 3 CPU devices (no GPU found; z80), float32"),
        (1, 1, ("/gpu:0",), "/gpu:0", {}, "1 tower on 1 of 1 GPU, float32"),
        (4, 2, ("/gpu:0", "/gpu:1"), "/cpu:0", {}, "2 towers on 2 of 4 GPUs, float32"),
        (2, 2, ("/gpu:0", "/gpu:1"), "/cpu:0", {}, "2 towers on 2 of 2 GPUs, float32"),
    ],
)
def test_towers_are_placed_and_announced(machine, found, gpus, towers, parameters, cpus, description):
    machine(found)
    chosen = choose_devices(gpus)
    assert (chosen.towers, chosen.parameters, chosen.description) == (towers, parameters, description)
    config = chosen.session_config
    assert dict(config.device_count) == cpus
    assert config.allow_soft_placement and config.gpu_options.allow_growth
    one_operation_at_a_time = cpus == {"CPU": 1}  # because two at once would compete for the cores
    assert config.inter_op_parallelism_threads == config.use_per_session_threads == one_operation_at_a_time


def test_a_session_sees_the_gpus_of_its_towers_by_the_numbers_that_cuda_gives_them(machine):
    """TensorFlow has left out the GPUs 0 and 2, because they are too old or too small."""
    machine([1, 3])
    assert [gpu.number for gpu in devices.find_gpus()] == [1, 3]
    visible = [choose_devices(gpus).session_config.gpu_options.visible_device_list for gpus in (1, 2, 3)]
    assert visible == ["1", "1,3", "1,3"]


@pytest.mark.parametrize(("found", "deterministic", "place"), [(1, "false", "/gpu:0"), (1, "true", "/cpu:0"), (0, "true", "/cpu:0")])
def test_codes_stay_on_the_host_if_a_deterministic_update_would_send_the_whole_table_there(machine, found, deterministic, place):
    machine(found)
    assert codes_device(choose_devices(1, deterministic=deterministic), num_bytes=1, most_bytes=2) == place


BUILT_FOR = ("sm_60", "sm_70", "sm_80", "sm_89", "compute_90")


@pytest.mark.parametrize(
    ("capability", "built_for", "is_compiled"),
    [
        *(((6, 1), BUILT_FOR, False), ((7, 5), BUILT_FOR, False), ((8, 6), BUILT_FOR, False), ((8, 9), BUILT_FOR, False)),
        *(((9, 0), BUILT_FOR, True), ((12, 0), BUILT_FOR, True), ((5, 2), BUILT_FOR, True)),
        ((8, 0), ("sm_86", "compute_90"), True),  # kernels run on later GPUs of a generation, and not on earlier ones
        ((12, 1), ("sm_90", "sm_120"), False),
        ((0, 0), BUILT_FOR, False),  # not known
        ((12, 0), (), False),  # not known either
    ],
)
def test_where_tensorflow_has_no_kernels_for_a_gpu_the_run_says_that_they_will_be_compiled(monkeypatch, capability, built_for, is_compiled):
    monkeypatch.setattr(tf.sysconfig, "get_build_info", lambda: {"cuda_compute_capabilities": list(built_for)})
    monkeypatch.setattr(devices, "find_gpus", lambda: [devices.Gpu("a new one", capability)] * 2)
    number = ".".join(map(str, capability))
    expected = f"this TensorFlow has no kernels for the compute capability of a new one ({number}); {devices.COMPILATION}"
    for gpus in (1, 2, 3):
        lines = choose_devices(gpus).description.splitlines()
        assert lines[1:] == ([expected] if is_compiled else [])


@pytest.mark.parametrize(
    ("found", "gpus", "precision", "message"),
    [
        (0, 0, "auto", "gpus is 0; it must be a whole number of at least 1"),
        (2, -1, "auto", "gpus is -1; it must be a whole number of at least 1"),
        (0, 1, "float16", "precision is 'float16', which needs a GPU; on CPUs give 'auto', 'bfloat16' or 'float32'"),
    ],
)
def test_what_the_machine_cannot_do_is_refused(machine, found, gpus, precision, message):
    machine(found)
    with pytest.raises(ValueError, match=message):
        choose_devices(gpus, precision)


@pytest.mark.parametrize(
    ("found", "units", "precision", "expected"),
    [
        (0, True, "auto", "bfloat16"),
        (0, False, "auto", "float32"),
        (0, True, "float32", "float32"),
        (0, False, "bfloat16", "bfloat16"),  # slow, but asked for
        (1, True, "auto", "float32"),  # the units of the CPU do not help a GPU
    ],
)
def test_auto_is_bfloat16_only_on_a_cpu_with_units_for_it(machine, found, units, precision, expected):
    machine(found, units)
    chosen = choose_devices(1, precision)
    assert chosen.precision == expected and chosen.description.endswith(f", {expected}")
    options = chosen.session_config.graph_options.rewrite_options
    assert (options.auto_mixed_precision_onednn_bfloat16 == type(options).ON) == (expected == "bfloat16")


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        (CPUINFO.format(flags="amx_tile amx_bf16"), True),
        (CPUINFO.format(flags="avx512_bf16"), True),
        (CPUINFO.format(flags="avx512f amx_bf16x not_avx512_bf16"), False),
        ("Features\t: fp asimd bf16\n", False),
        ("model name\t: amx_bf16\nbugs\t: avx512_bf16\n", False),
    ],
)
def test_bfloat16_units_are_found_among_the_flags_of_the_processor(cpuinfo, expected):
    assert has_bfloat16_units(cpuinfo) is expected


def test_the_description_of_this_machine_is_read_where_there_is_one(monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "Path", lambda name: tmp_path / name.replace("/", "_"))
    assert has_bfloat16_units() is False
    (tmp_path / "_proc_cpuinfo").write_text(CPUINFO.format(flags="amx_bf16"))
    assert has_bfloat16_units() is True
