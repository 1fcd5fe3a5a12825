"""What is read from a graph: operations without a GPU kernel, and bytes that move between devices."""

from glo_lib.graph.backend import tf
from glo_lib.graph.placement import bytes_between_devices, device_of, operations_without_gpu_kernel, preferred_device

v1 = tf.compat.v1


def test_an_operation_without_a_gpu_kernel_is_named_and_others_are_not():
    with tf.Graph().as_default() as graph:
        with tf.device("/gpu:1"):
            tf.identity(tf.random.experimental.index_shuffle(tf.constant(1), [1, 2], 9))
            tf.matmul(tf.ones([2, 2]), tf.ones([2, 2]), name="product")
        with tf.device("/cpu:0"):
            tf.random.experimental.index_shuffle(tf.constant(1), [1, 2], 9)
    (line,) = operations_without_gpu_kernel(graph)
    assert "RandomIndexShuffle" in line


def test_the_types_decide_whether_there_is_a_kernel():
    with tf.Graph().as_default() as graph, tf.device("/gpu:0"):
        tf.matmul(tf.ones([2, 2], tf.float16), tf.ones([2, 2], tf.float16))
        tf.matmul(tf.ones([2, 2], tf.int32), tf.ones([2, 2], tf.int32), name="whole_numbers")
    assert [line.split(" ")[0] for line in operations_without_gpu_kernel(graph)] == ["whole_numbers"]


def test_operations_inside_of_functions_are_looked_at():
    with tf.Graph().as_default() as graph:
        condition = v1.placeholder(tf.bool, [])

        def on_a_gpu():
            with tf.device("/gpu:0"):
                return tf.random.experimental.index_shuffle(tf.constant(1), [1, 2], 9)

        tf.cond(condition, on_a_gpu, lambda: tf.constant(0))
    assert "RandomIndexShuffle" in operations_without_gpu_kernel(graph)[0]


def test_devices_are_spelled_in_one_way():
    with tf.Graph().as_default():
        spelled = []
        for device in ("/gpu:3", "/device:GPU:3", "/job:localhost/replica:0/task:0/device:GPU:3", None):
            with tf.device(device):
                spelled.append(device_of(tf.constant(0).op))
    assert spelled == ["/gpu:3", "/gpu:3", "/gpu:3", "/cpu:0"]


def test_operations_on_a_variable_are_where_the_variable_is_whatever_they_ask_for():
    with tf.Graph().as_default():
        with tf.device("/gpu:1"):
            table = v1.get_variable("table", [2, 2], use_resource=True)
        with tf.device("/gpu:0"):
            there = tf.gather(table, [0])
        assert device_of(there.op) == device_of(table.read_value().op.inputs[0].op) == "/gpu:1"


def test_an_operation_that_asks_for_no_device_is_on_the_preferred_one_if_it_has_a_kernel_there():
    with tf.Graph().as_default() as graph:
        operation, on_hosts_only = tf.ones([2]) + 1.0, tf.strings.length(tf.constant("a"))
        assert preferred_device(graph) == device_of(operation.op) == "/cpu:0"
        with tf.device("/gpu:1"):
            tf.ones([2])
        assert preferred_device(graph) == device_of(operation.op, "/gpu:0") == "/gpu:0"
        assert device_of(on_hosts_only.op, "/gpu:0") == "/cpu:0"


def test_bytes_of_an_average_that_asks_for_no_device_travel_to_the_first_gpu_and_back():
    """The variables are on the host; both are sent, and their difference comes back."""
    with tf.Graph().as_default() as graph:
        with tf.device("/cpu:0"):
            weights, average = (v1.get_variable(name, [25], use_resource=True) for name in ("weights", "average"))
        with tf.device("/gpu:1"):
            tf.ones([2])
        update = average.assign_sub((average.read_value() - weights.read_value()) * 0.1)
        assert bytes_between_devices(graph, [update.op]) == {("/cpu:0", "/gpu:0"): 200, ("/gpu:0", "/cpu:0"): 100}


def test_what_a_condition_is_given_does_not_travel():
    with tf.Graph().as_default() as graph:
        with tf.device("/gpu:0"):
            gradient, wanted = tf.ones([100]), tf.constant(True)
        with tf.device("/cpu:0"):
            result = tf.cond(wanted, lambda: tf.reduce_sum(gradient), lambda: 0.0)
        assert bytes_between_devices(graph, [result.op]) == {}


def test_bytes_are_counted_once_for_each_device_that_needs_them_and_only_where_they_are_needed():
    with tf.Graph().as_default() as graph:
        with tf.device("/cpu:0"):
            here = tf.zeros([3, 5])  # 60 bytes
            unused = tf.zeros([100])
        with tf.device("/gpu:0"):
            there = here + 1.0  # the constant is on the GPU already
            twice = here * there
            tf.identity(unused)
        with tf.device("/gpu:1"):
            result = tf.reduce_sum(twice + tf.cast(here, tf.float32))
    assert bytes_between_devices(graph, [result.op]) == {("/cpu:0", "/gpu:0"): 60, ("/cpu:0", "/gpu:1"): 60, ("/gpu:0", "/gpu:1"): 60}
