"""Towers on the CPU where there is no GPU, on GPUs where there are, and the numbers they compute with."""

import pytest

from glo_lib.graph import devices
from glo_lib.graph.backend import tf
from glo_lib.graph.devices import choose_devices, has_bfloat16_units

v1 = tf.compat.v1

CPUINFO = """processor\t: 0
model name\t: A processor
power management:
flags\t\t: fpu sse4_2 avx2 {flags} tsc
bugs\t\t: spectre_v1

processor\t: 1
flags\t\t: fpu sse4_2 avx2 {flags} tsc
"""


def find_gpus(monkeypatch, count: int) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["a GPU"] * count if kind == "GPU" else ["a CPU"])


def give_units(monkeypatch, there_are: bool) -> None:
    monkeypatch.setattr(devices, "has_bfloat16_units", lambda: there_are)


# -------------------------------------------------------------------------------------------------------------- without GPUs


@pytest.mark.parametrize(("gpus", "towers"), [(1, ("/cpu:0",)), (2, ("/cpu:0", "/cpu:1")), (3, ("/cpu:0", "/cpu:1", "/cpu:2"))])
def test_without_a_gpu_every_tower_has_a_cpu_device(monkeypatch, gpus, towers):
    find_gpus(monkeypatch, 0)
    chosen = choose_devices(gpus, "float32")
    assert chosen.towers == towers and chosen.parameters == "/cpu:0"
    assert dict(chosen.session_config.device_count) == {"CPU": gpus}


def test_two_cpu_devices_can_really_be_used_in_one_session(monkeypatch):
    find_gpus(monkeypatch, 0)
    chosen = choose_devices(2, "float32")
    with tf.Graph().as_default():
        halves = []
        for tower in chosen.towers:
            with tf.device(tower):  # random numbers: a constant would be folded away before any device sees it
                halves.append(tf.reduce_sum(tf.random.uniform([4], 2, 3) * 0 + 5, name="half"))
        with tf.device(chosen.parameters):
            total = tf.add_n(halves)
        with v1.Session(config=chosen.session_config) as session:
            assert [device.name[-5:] for device in session.list_devices() if device.device_type == "CPU"] == ["CPU:0", "CPU:1"]
            trace = v1.RunMetadata()
            assert session.run(total, options=v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE), run_metadata=trace) == 40
    ran_on = {stats.device[-5:]: [node.node_name for node in stats.node_stats] for stats in trace.step_stats.dev_stats}
    assert "half" in ran_on["CPU:0"] and "half_1" in ran_on["CPU:1"]


def test_the_announcement_says_what_computes_and_how(monkeypatch):
    find_gpus(monkeypatch, 0)
    monkeypatch.setattr(devices.platform, "machine", lambda: "z80")
    assert choose_devices(1, "float32").description == "1 tower on 1 CPU device (no GPU found; z80), float32"
    assert choose_devices(3, "bfloat16").description == "3 towers on 3 CPU devices (no GPU found; z80), bfloat16"


# ----------------------------------------------------------------------------------------------------------------- with GPUs


def test_gpus_are_used_where_there_are_any(monkeypatch):
    find_gpus(monkeypatch, 4)
    chosen = choose_devices(3)
    assert chosen.towers == ("/gpu:0", "/gpu:1", "/gpu:2")
    assert chosen.description == "3 towers on 3 of 4 GPUs, float32"
    assert dict(chosen.session_config.device_count) == {}  # the CPU is not divided
    find_gpus(monkeypatch, 1)
    assert choose_devices(1).description == "1 tower on 1 of 1 GPU, float32"


def test_one_tower_keeps_its_variables_and_several_meet_on_the_host(monkeypatch):
    find_gpus(monkeypatch, 2)
    assert choose_devices(1).parameters == "/gpu:0"
    assert choose_devices(2).parameters == "/cpu:0"


def test_asking_for_more_gpus_than_there_are_says_how_many_there_are(monkeypatch):
    find_gpus(monkeypatch, 2)
    with pytest.raises(ValueError, match="gpus is 3, and this machine has 2; give at most 2"):
        choose_devices(3)
    assert len(choose_devices(2).towers) == 2


@pytest.mark.parametrize("gpus", [0, -1])
@pytest.mark.parametrize("found", [0, 2])
def test_no_tower_at_all_is_refused(monkeypatch, gpus, found):
    find_gpus(monkeypatch, found)
    with pytest.raises(ValueError, match=f"gpus is {gpus}; it must be a whole number of at least 1"):
        choose_devices(gpus)


def test_bfloat16_on_gpus_is_refused_with_what_to_give_instead(monkeypatch):
    find_gpus(monkeypatch, 1)
    with pytest.raises(ValueError, match=r"precision is 'bfloat16', which needs a CPU; on GPUs give 'auto'"):
        choose_devices(1, "bfloat16")


# ----------------------------------------------------------------------------------------------------------------- precision


@pytest.mark.parametrize(
    ("found", "units", "precision", "settled"),
    [
        (0, True, "auto", "bfloat16"),
        (0, False, "auto", "float32"),
        (0, True, "float32", "float32"),
        (0, False, "bfloat16", "bfloat16"),  # slow, but it was asked for
        (1, True, "auto", "float32"),  # the units of the CPU are of no use to a GPU
        (1, False, "auto", "float32"),
        (1, True, "float32", "float32"),
    ],
)
def test_the_precision_is_settled(monkeypatch, found, units, precision, settled):
    find_gpus(monkeypatch, found)
    give_units(monkeypatch, units)
    chosen = choose_devices(1, precision)
    assert chosen.precision == settled and chosen.description.endswith(f", {settled}")
    options = chosen.session_config.graph_options.rewrite_options
    assert (options.auto_mixed_precision_onednn_bfloat16 == type(options).ON) == (settled == "bfloat16")


@pytest.mark.parametrize(
    ("flags", "there_are"),
    [("amx_tile amx_bf16", True), ("avx512_bf16", True), ("avx512f avx512_vnni", False), ("", False), ("amx_bf16x not_avx512_bf16", False)],
)
def test_the_processors_flags_tell_of_bfloat16_units(flags, there_are):
    assert has_bfloat16_units(CPUINFO.format(flags=flags)) is there_are


@pytest.mark.parametrize("text", ["", "Features\t: fp asimd bf16\n", "model name\t: amx_bf16\nbugs\t: avx512_bf16\n", "\nflags\n"])
def test_other_lines_and_other_processors_tell_of_none(text):
    assert has_bfloat16_units(text) is False


def test_a_machine_that_tells_nothing_of_its_processor_has_no_units(monkeypatch):
    def not_there(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(devices.Path, "read_text", not_there)
    assert has_bfloat16_units() is False


def test_this_machines_own_description_is_read(monkeypatch):
    for flags, there_are in [("amx_bf16", True), ("avx2", False)]:
        monkeypatch.setattr(devices.Path, "read_text", lambda path, *_, flags=flags: CPUINFO.format(flags=flags))
        assert has_bfloat16_units() is there_are


# ------------------------------------------------------------------------------------------------------------------- session


@pytest.mark.parametrize("found", [0, 2])
def test_a_session_places_what_it_can_and_takes_no_more_gpu_memory_than_it_needs(monkeypatch, found):
    find_gpus(monkeypatch, found)
    config = choose_devices(2, "float32").session_config
    assert isinstance(config, v1.ConfigProto)
    assert config.allow_soft_placement and config.gpu_options.allow_growth


def test_one_tower_on_the_cpu_runs_one_operation_at_a_time_and_several_towers_run_together():
    one, two = (choose_devices(gpus, "float32").session_config for gpus in (1, 2))
    assert (one.inter_op_parallelism_threads, one.use_per_session_threads) == (1, True)
    assert (two.inter_op_parallelism_threads, two.use_per_session_threads) == (0, False)
