"""Training on several machines: their towers, their images, and what happens when one of them is lost."""

import contextlib
import dataclasses
import secrets
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from glo_lib.config import TrainConfig
from glo_lib.graph.backend import tf, v1
from glo_lib.graph.cluster import Cluster, Task, check_private
from glo_lib.graph.devices import Devices, rewrite_on_cpus, route_on
from glo_lib.graph.server import ClusterError, Note, check_limited, find_cluster, reason_of, session_of_task, start_server
from glo_lib.graph.session import session_config
from glo_lib.inputs import DecodedImages, images_in_file
from glo_lib.runs import checkpoints
from glo_lib.runs.folder import progress_of

# What TensorFlow raises when a task is gone, or is another process than before, whose variables have no values yet.
LOST = (tf.errors.AbortedError, tf.errors.UnavailableError, tf.errors.FailedPreconditionError, tf.errors.DeadlineExceededError)
LOST_WITHOUT_A_STEP = 3  # so often a machine may be lost before the first new checkpoint, and once more for each task
COMPARED_IMAGES = 8


class WorkerLost(ClusterError):
    """Raised when a worker is lost while its images are compared. It may come back."""


def with_all_towers(config: TrainConfig, cluster: Cluster | None) -> TrainConfig:
    """Return the settings with the number of all towers as ``gpus``, of which each worker has as many as it said before.

    So everything that depends on the number of towers is that of a run with as many on one machine: the number of steps, what fits the
    images, and the name of the default folder.

    Example:
        >>> with_all_towers(TrainConfig(gpus=2), None).gpus
        2
    """
    return config if cluster is None else dataclasses.replace(config, gpus=config.gpus * len(cluster.workers))


def connect(config: TrainConfig, cluster: Cluster, images: DecodedImages, folder: Path) -> Devices:
    """Start the server of the chief, find all other tasks, check that each worker has the images, and choose the devices.

    If all parameter servers can write to the run folder, they write the checkpoints. This is faster, and the table of codes does not cross
    the network. Otherwise the chief writes them.

    Args:
        config: the settings, with the number of all towers.
        cluster: the cluster.
        images: the training images.
        folder: the run folder.

    Raises:
        ClusterError: a task does not answer within ``answer_seconds`` or does not fit the others, or a worker lacks the images. The message
            names the task and its address.
        ValueError: a setting that the workers' devices do not have.
    """
    try:
        check_private(cluster.own)
        check_limited(cluster.own)
    except ValueError as error:
        warnings.warn(str(error).replace(", or --i-know-this-is-open", ""), stacklevel=2)
    master = start_server(cluster)
    notes = _find_with_images(cluster, images, config.answer_seconds)
    devices = choose_devices_of(config, cluster, notes, master)
    without = servers_without(folder, cluster, config.answer_seconds)
    written = f"the chief, because {', '.join(map(str, without))} cannot write to {folder}" if without else "the servers"
    return devices._replace(saved_by_servers=not without, description=f"{devices.description}; checkpoints are written by {written}")


def _find_with_images(cluster: Cluster, images: DecodedImages, seconds: float) -> dict[Task, Note]:
    """Find all other tasks and compare the images of the workers; begin again if a worker is lost meanwhile, but not without end."""
    for _ in range(LOST_WITHOUT_A_STEP):
        notes = find_cluster(cluster, seconds)
        try:
            check_images(cluster, images, seconds)
            return notes
        except WorkerLost as error:
            lost = error
    raise lost


def choose_devices_of(config: TrainConfig, cluster: Cluster, notes: dict[Task, Note], master: str) -> Devices:
    """Choose the devices of the towers and of the variables on several machines; see `connect`."""
    workers = [notes[task] for task in cluster.workers]
    on_gpus = min(note.gpus for note in workers) > 0
    if config.precision == "float16" and not on_gpus:
        raise ValueError("precision is 'float16', which needs a GPU on every worker; give 'auto', 'bfloat16' or 'float32'")
    if config.deterministic == "true" and on_gpus:
        raise ValueError("deterministic is 'true', which the GPUs of other machines cannot be told; give 'auto' or 'false'")
    of_workers = {note.precision for note in workers}
    decided = config.precision if config.precision != "auto" else of_workers.pop() if len(of_workers) == 1 else "float32"
    each = config.gpus // len(workers)
    towers = tuple(
        f"{task.device}/gpu:{number % notes[task].gpus}" if on_gpus else f"{task.device}/cpu:0"
        for task in cluster.workers
        for number in range(each)
    )
    servers = tuple(f"{task.device}/cpu:0" for task in cluster.servers)
    return Devices(
        towers=towers,
        parameters=servers[0],
        precision=decided,
        route=route_on(on_gpus, config.layer_route),
        deterministic=not on_gpus,
        description=(
            f"{len(towers)} tower{'s' if len(towers) > 1 else ''} on the {'GPUs' if on_gpus else 'CPUs'} of {len(workers)} worker(s), "
            f"with {len(servers)} parameter server(s), {decided}"
        ),
        session_config=session_config() if on_gpus else _session_config_of_cpus(decided),
        servers=servers,
        job=cluster.own.device,
        master=master,
    )


def _session_config_of_cpus(precision: str) -> v1.ConfigProto:
    chosen = session_config()
    rewrite_on_cpus(chosen, precision)
    if precision == "bfloat16":
        # TensorFlow would merge a convolution with the addition of its bias, and then not accept the result on another machine.
        chosen.graph_options.rewrite_options.remapping = type(chosen.graph_options.rewrite_options).OFF
    return chosen


def check_images(cluster: Cluster, images: DecodedImages, seconds: float) -> None:
    """Check that each worker has the cache of images, by comparing some of them, the first and the last among them.

    Raises:
        ClusterError: a worker has no such file, or another one. The message names every such worker, the path, and what to do.
        WorkerLost: a worker has ended since it was found.
    """
    rows = np.unique(np.linspace(0, images.num_images - 1, COMPARED_IMAGES).astype(np.int64))
    expected = images.array()[rows]
    problems = [f"{task}: {problem}" for task in cluster.workers if (problem := _find_problem(task, images, rows, expected, seconds))]
    if problems:
        advice = f"copy {images.path} from this machine to the same path there, or let all machines share the folder (GLO_CACHE_DIR)"
        raise ClusterError("\n  ".join(["not every worker has the images:", *problems, advice]))


def _find_problem(task: Task, images: DecodedImages, rows: np.ndarray, expected: np.ndarray, seconds: float) -> str:
    try:
        with tf.Graph().as_default():
            wanted = tf.gather(images_in_file(images), rows)
            with session_of_task(f"grpc://{task.address}", task, seconds) as session:
                found = session.run(wanted)
    except tf.errors.NotFoundError:
        return f"has no file {images.path}"
    except (tf.errors.AbortedError, tf.errors.UnavailableError) as error:
        raise WorkerLost(f"{task} was lost while its images were compared ({reason_of(error)})") from None
    except tf.errors.OpError as error:
        return f"cannot read {images.path} ({reason_of(error)})"
    return "" if np.array_equal(found, expected) else f"has other images in {images.path}"


def servers_without(folder: Path, cluster: Cluster, seconds: float) -> list[Task]:
    """Find the parameter servers that do not share a folder with this process, or cannot write to it.

    Each has to read a file that is made here, and to write it again under another name.

    Args:
        folder: the folder.
        cluster: the cluster.
        seconds: longest time that each server may take.
    """
    token = secrets.token_hex(16)
    # If this process is killed meanwhile, the next one removes files with such names, see `glo_lib.runs.checkpoints.repair_checkpoints`.
    names = [f".{checkpoints.BASENAME}-0.{token}.{part}.partial" for part in ("made", *(task.index for task in cluster.servers))]
    with _files_for_a_moment(*(folder / name for name in names)) as (made, *copies):
        made.write_text(token)
        return [task for task, copy in zip(cluster.servers, copies, strict=True) if not _can_copy(task, made, copy, seconds)]


@contextlib.contextmanager
def _files_for_a_moment(*paths: Path) -> Iterator[tuple[Path, ...]]:
    try:
        yield paths
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


def _can_copy(task: Task, made: Path, copy: Path, seconds: float) -> bool:
    with tf.Graph().as_default():
        with tf.device(f"{task.device}/cpu:0"):
            written = tf.io.write_file(str(copy), tf.io.read_file(str(made)))
        try:
            with session_of_task(f"grpc://{task.address}", task, seconds) as session:
                session.run(written)
        except tf.errors.OpError:
            return False
    return copy.is_file() and copy.read_text() == made.read_text()


class LostMachines:
    """Find the checkpoint to go on from each time that a machine was lost, and give up when that does not help.

    One machine that vanishes without ending its connections may be noticed once by each of the others, when they use theirs. So the losses
    that are put up with before a new checkpoint are more in a larger cluster.

    Args:
        folder: the run folder.
        num_tasks: number of tasks of the cluster.
    """

    def __init__(self, folder: Path, num_tasks: int):
        self._folder, self._step, self._number = folder, -1, 0
        self._most = LOST_WITHOUT_A_STEP + num_tasks

    def newest_checkpoint(self, error: tf.errors.OpError) -> str | None:
        """Report what was lost, and return the newest checkpoint; raise the error again if none was written since the last losses."""
        checkpoint = checkpoints.repair_checkpoints(self._folder)
        step = progress_of(checkpoint).step
        self._number = self._number + 1 if step == self._step else 1
        self._step = step
        if self._number > self._most:
            raise ClusterError(f"machines were lost {self._number} times after step {step}: {reason_of(error)}") from error
        print(f"a machine was lost ({type(error).__name__}); looking for it, to go on from step {step}", flush=True)
        return checkpoint
