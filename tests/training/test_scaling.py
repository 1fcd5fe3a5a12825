"""The cost model finds known prices again, and its times are those of a calculation by hand."""

import math

import numpy as np
import pytest

from glo_lib.training.scaling import (
    Amounts,
    Hardware,
    Layout,
    MeasuredStep,
    StepTime,
    all_reduce_seconds,
    amounts_of,
    asynchronous_gain,
    epoch_seconds,
    fit_prices,
    predict_seconds,
    slowest_of,
    step_time,
)
from glo_lib.training.work import Work

WORK = Work(batch_size=2, flops_per_image=500, maps_per_image=70, variable_bytes=(60, 0, 30, 10), row_bytes=8, image_bytes=24)
PRICES = Amounts(steps=1e-3, flops=2e-6, map_bytes=3e-6, workers=4e-3, sent_bytes=5e-6)


def point(prices, towers=1, workers=0, batch_size=2, maps=70):
    amounts = amounts_of(WORK._replace(batch_size=batch_size, maps_per_image=maps), towers, workers)
    return MeasuredStep(amounts, predict_seconds(amounts, prices))


def points(prices):
    return [
        point(prices), point(prices, batch_size=9), point(prices, towers=2), point(prices, maps=500),
        point(prices, workers=1), point(prices, towers=2, workers=2), point(prices, towers=6, workers=2),
    ]  # fmt: skip


def test_towers_add_up_and_only_workers_send():
    assert amounts_of(WORK, towers=3) == (1, 3000, 420, 0, 0)
    assert amounts_of(WORK, towers=4, workers=2) == (1, 4000, 560, 2, 4 * (2 * 108 + 32))
    assert predict_seconds(Amounts(1, 2, 3, 4, 5), Amounts(10, 20, 30, 40, 50)) == 550


def test_prices_are_found_again():
    assert np.allclose(fit_prices(points(PRICES)), PRICES, rtol=1e-6)


def test_errors_count_relative_to_the_time_of_a_step():
    short, long = Amounts(1, 0, 0, 0, 0), Amounts(100, 0, 0, 0, 0)
    found = fit_prices([MeasuredStep(short, 1.0)] * 4 + [MeasuredStep(long, 200.0)])
    assert found.steps == pytest.approx((4 * 1 + 0.5) / (4 * 1 + 0.25))  # by hand: sum of shares / sum of squared shares


def test_no_price_is_negative_and_what_no_point_has_costs_nothing():
    found = fit_prices([point(PRICES._replace(steps=-1e-4), batch_size=size) for size in range(2, 9)])
    assert found.steps == 0 and min(found) == 0 and found.workers == found.sent_bytes == 0


@pytest.mark.parametrize(
    ("steps", "message"),
    [(points(PRICES)[:4], "4 measured steps for 5 prices"), ([MeasuredStep(Amounts(1, 1, 1, 1, 1), 0.0)] * 5, "no positive time")],
)
def test_impossible_points_are_refused(steps, message):
    with pytest.raises(ValueError, match=message):
        fit_prices(steps)


def test_one_gpu_computes_and_reads_images_alone():
    hardware = Hardware(flops=1e4, network=1, bus=240, images=480, step_seconds=0.5)
    assert step_time(WORK, hardware, Layout(1)) == pytest.approx((0.1, 0, 0, 24 / 240 + 24 / 480, 0.5))


def test_gpus_of_one_machine_share_its_bus():
    found = step_time(WORK, Hardware(flops=1e4, network=1, bus=400, row_seconds=0.01), Layout(4))
    assert found == pytest.approx((0.1, 2 * 4 * 100 / 400, 8 * 0.01, 4 * 24 / 400, 0))


def test_with_servers_the_busiest_of_them_serves_all_towers():
    hardware = Hardware(flops=1e4, network=1e3, row_seconds=0.01, step_seconds=0.5, machine_seconds=0.1)
    found = step_time(WORK, hardware, Layout(6, gpus_per_machine=2, servers=2))
    share = 0.9  # the servers have 60 + 30 and 0 + 10 of 100 bytes
    assert found.decoder == pytest.approx(2 * 6 * share * 100 / 1e3)
    assert found.rows == pytest.approx(12 / 2 * 0.01 + 2 * 6 * 8 / 2 / 1e3)
    assert found.overhead == pytest.approx(0.5 + 3 * 0.1)


def test_with_few_towers_and_many_servers_the_network_card_of_the_towers_is_busiest():
    work = WORK._replace(variable_bytes=(25, 25, 25, 25))
    found = step_time(work, Hardware(flops=1e4, network=1e3, bus=1e3), Layout(2, gpus_per_machine=2, servers=4))
    assert found.decoder == pytest.approx(2 * 2 * 100 / 1e3 + 2 * 2 * 100 / 1e3)  # the bus, and all of both towers' bytes by one card


def test_several_machines_need_servers():
    with pytest.raises(ValueError, match="64 GPUs are on 8 machines; give the number of parameter servers"):
        step_time(WORK, Hardware(1e4), Layout(64))


def test_a_step_is_between_all_parts_at_once_and_one_after_the_other():
    found = StepTime(compute=3, decoder=4, rows=1, images=2, overhead=0.5)
    assert (found.at_least, found.at_most, found.bottleneck) == (4.5, 10.5, "decoder")


def test_a_ring_sends_less_than_twice_the_gradients_for_any_number_of_machines():
    seconds = [all_reduce_seconds(WORK, Hardware(1, network=10), Layout(gpus, servers=1)) for gpus in (8, 16, 8000)]
    assert seconds == pytest.approx([0, 10, 2 * 0.999 * 10])


def test_an_epoch_visits_every_image_once():
    assert epoch_seconds(0.5, num_images=1000, batch_size=10, gpus=4) == 12.5


def test_the_slowest_of_some_towers_is_that_of_a_simulation():
    times = 1 + 0.2 * np.random.default_rng(0).standard_normal((20_000, 16))
    assert slowest_of(16, 0.2) == pytest.approx(times.max(axis=1).mean(), abs=0.02 * 0.2 + 3 * 0.2 / math.sqrt(20_000))


def test_asynchronous_towers_gain_nothing_alone_and_at_most_a_factor_of_two_if_all_are_equally_fast():
    assert asynchronous_gain(8, 1, towers=1) == 1
    assert asynchronous_gain(8, 1, towers=2) == pytest.approx(10 / 9)  # the servers are idle most of the time
    assert asynchronous_gain(8, 1, towers=80) == pytest.approx(88 / 80)  # the busiest server is never idle, either way
    assert max(asynchronous_gain(100, 1, towers) for towers in range(1, 1000)) == pytest.approx(2, abs=0.02)


def test_asynchronous_towers_gain_more_if_some_are_slow():
    assert asynchronous_gain(100, 1, 8, variation=0.3) > asynchronous_gain(100, 1, 8) + 0.2
