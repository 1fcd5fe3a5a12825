"""What is read from a graph: operations without a GPU kernel, and bytes that move between devices."""

from glo_lib.graph.backend import tf
from glo_lib.graph.placement import bytes_between_devices, device_of, operations_without_gpu_kernel

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
