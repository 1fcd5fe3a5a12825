"""Open sessions with one policy: few GPUs, whose memory is taken as it is needed, and the CPU for operations without a GPU kernel.

The first session of a process decides how TensorFlow takes the memory of the GPUs. Every session of this library is opened here, because
decoding files and projecting codes open sessions before training does.

A session starts CUDA on every GPU that it may use, and fails if that fails on one of them, for example because another program has filled
it. So the sessions of training see the GPUs of their towers and no others, sessions that decode files or project codes see none, and all
other sessions see the first GPU. A process must not give two GPUs the same name, so every list of GPUs begins with the first.
"""

from collections.abc import Sequence

from glo_lib.graph.backend import tf, v1


def gpu_number(device: tf.config.PhysicalDevice) -> int:
    """Return CUDA's number of a GPU, its position among those that ``CUDA_VISIBLE_DEVICES`` allows.

    TensorFlow leaves out GPUs that are too old or too small, so the first GPU that it can use may have the number 1.
    """
    return int(device.name.rpartition(":")[2])


def session_config(gpus: Sequence[int] | None = None) -> v1.ConfigProto:
    """The configuration that every session starts from.

    Args:
        gpus: CUDA's numbers of the GPUs that the session may use; default: the first that TensorFlow can use. With an empty list it uses
            the CPU alone.

    Example:
        >>> session_config(gpus=[1, 2]).gpu_options.visible_device_list
        '1,2'
    """
    config = v1.ConfigProto(allow_soft_placement=True)
    config.gpu_options.allow_growth = True
    if gpus is None:
        gpus = [gpu_number(device) for device in tf.config.list_physical_devices("GPU")[:1]]
    elif not gpus:
        config.device_count["GPU"] = 0  # an empty list of visible devices would mean all of them
    config.gpu_options.visible_device_list = ",".join(map(str, gpus))
    return config


def open_session(config: v1.ConfigProto | None = None, target: str = "") -> v1.Session:
    """Open a session on the current graph.

    Args:
        config: default: `session_config`, with the first GPU.
        target: address of the server that runs the session, such as ``grpc://10.0.0.1:2222``; empty: this process.

    Example:
        >>> from glo_lib.graph.backend import tf
        >>> with tf.Graph().as_default(), open_session() as session:
        ...     int(session.run(tf.constant(1) + 1))
        2
    """
    return v1.Session(target, config=session_config() if config is None else config)
