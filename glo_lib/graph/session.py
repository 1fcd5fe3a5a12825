"""Open sessions with one policy: GPU memory is taken as it is needed, and operations without a GPU kernel are placed on the CPU.

The first session of a process decides how TensorFlow takes the memory of the GPUs. Every session of this library is opened here, because
decoding files and projecting codes open sessions before training does.
"""

from glo_lib.graph.backend import v1


def session_config() -> v1.ConfigProto:
    """The configuration that every session starts from."""
    config = v1.ConfigProto(allow_soft_placement=True)
    config.gpu_options.allow_growth = True
    return config


def open_session(config: v1.ConfigProto | None = None, target: str = "") -> v1.Session:
    """Open a session on the current graph.

    Args:
        config: default: `session_config`.
        target: address of the server that runs the session, such as ``grpc://10.0.0.1:2222``; empty: this process.

    Example:
        >>> from glo_lib.graph.backend import tf
        >>> with tf.Graph().as_default(), open_session() as session:
        ...     int(session.run(tf.constant(1) + 1))
        2
    """
    return v1.Session(target, config=session_config() if config is None else config)
