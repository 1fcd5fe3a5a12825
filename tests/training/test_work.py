"""What a step takes is counted as by hand, and the parameter servers have the variables that training gives them."""

import itertools

import pytest

from glo_lib.config import TrainConfig
from glo_lib.decoder import decoder
from glo_lib.graph.backend import tf
from glo_lib.training.build import _place_variables_on
from glo_lib.training.work import Work, table_bytes, work_of

SMALL = TrainConfig(image_size=32, num_filters=(8, 6, 4), kernel_size=3, num_dims=10, batch_size=5)


def test_operations_maps_and_bytes_are_those_counted_by_hand():
    work = work_of(SMALL)
    forward = 2 * (10 * 16 * 8 + 9 * (16 * 8 * 6 + 64 * 6 * 4 + 256 * 4 * 3))
    assert work.flops_per_image == 3 * forward and work.flops == 5 * 3 * forward
    assert work.maps_per_image == 4 * (16 * 8 + 64 * 6 + 256 * 4 + 1024 * 3) and work.map_bytes == 5 * work.maps_per_image
    kernels, scales, bias = 16 * 10 * 8 + 9 * (8 * 6 + 6 * 4 + 4 * 3), 2 * (8 + 6 + 4), 3
    assert work.decoder_bytes == 4 * (kernels + scales + bias)
    assert work.row_bytes == 4 * 5 * 10 and work.image_bytes == 5 * 3 * 32 * 32
    assert work.sent_bytes == 2 * work.decoder_bytes + 2 * work.row_bytes + 16 * 5


def test_moving_averages_have_a_server_but_no_bytes():
    with tf.Graph().as_default():
        decoder(tf.zeros([1, 10]), SMALL.num_filters, SMALL.kernel_size)
        variables = tf.compat.v1.global_variables("decoder")
    sizes = work_of(SMALL).variable_bytes
    assert len(sizes) == len(variables)
    assert [size == 0 for size in sizes] == ["moving_" in variable.op.name for variable in variables]


@pytest.mark.parametrize("servers", [1, 2, 3])
def test_the_busiest_server_is_that_of_a_graph_whose_variables_are_dealt_out(servers):
    names = [f"/job:ps/task:{number}/cpu:0" for number in range(servers)]
    with tf.Graph().as_default(), tf.compat.v1.device(_place_variables_on(itertools.cycle(names), "/cpu:0")):
        decoder(tf.zeros([1, 10]), SMALL.num_filters, SMALL.kernel_size)
        variables = tf.compat.v1.trainable_variables("decoder")
    of_server = [sum(4 * v.shape.num_elements() for v in variables if f"task:{number}" in v.device) for number in range(servers)]
    work = work_of(SMALL)
    assert sum(of_server) == work.decoder_bytes
    assert work.busiest_server(servers) == max(of_server) / work.decoder_bytes


def test_more_servers_than_variables_leave_the_largest_variable_on_one():
    assert Work(1, 0, 0, (6, 3, 1), 0, 0).busiest_server(100) == 0.6


def test_the_table_has_codes_two_moments_and_visits():
    assert table_bytes(7, 3) == 4 * 7 * (3 + 3 + 3 + 1)


def test_the_work_of_a_vae_is_refused():
    with pytest.raises(ValueError, match="model is 'vae'; only the costs of glo are known"):
        work_of(TrainConfig(model="vae"))
