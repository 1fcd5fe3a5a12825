"""Start the server of a task, and look for the servers of the others, with a limit of time for everything.

The servers are TensorFlow's own. They have no passwords and no encryption, and TensorFlow makes them listen on every interface of a
machine. `listen_only_at` limits a server to the address that its task was given. Where the system does not allow that, `check_limited`
refuses to serve on a machine that has other addresses.

Each server holds a note on itself in a variable: its task, its cluster, and the versions and the devices that it has. The chief reads the
note of every task before it begins, so that a mistake is named and does not become a wait without end.
"""

import contextlib
import ctypes
import functools
import ipaddress
import itertools
import json
import os
import socket
import stat
import struct
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, NoReturn

import glo_lib
from glo_lib.graph.backend import tf, v1
from glo_lib.graph.cluster import Cluster, Task, resolve, split_address
from glo_lib.graph.devices import choose_devices, find_gpus
from glo_lib.graph.session import open_session, session_config

CONTAINER = "glo_lib"  # of the note; sessions of training use another
SECONDS_BETWEEN_ATTEMPTS = 0.5
SECONDS_BETWEEN_LOOKS = 0.0005  # for a socket that TensorFlow opens
SO_ATTACH_FILTER = 26  # <asm-generic/socket.h>
NETWORK_HEADER = 0xFFF00000  # SKF_NET_OFF in <linux/filter.h>
IPV4_ROUTES, IPV6_ADDRESSES = Path("/proc/net/fib_trie"), Path("/proc/net/if_inet6")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class ClusterError(RuntimeError):
    """Raised when a task of the cluster does not answer in time or does not fit the others. The message names the task and its address."""


class Note(NamedTuple):
    """What a server says of itself.

    Attributes:
        task: such as "worker 1 at 10.0.0.4:2222".
        addresses: the addresses of all tasks, by kind.
        version: of this package.
        tensorflow: version of TensorFlow.
        gpus: number of GPUs.
        precision: what the setting ``precision="auto"`` stands for on its devices.
        started: time at which the server was started, in seconds.
    """

    task: str
    addresses: dict[str, list[str]]
    version: str
    tensorflow: str
    gpus: int
    precision: str
    started: float


@functools.cache  # a process has one server per task, and cannot close it
def start_server(cluster: Cluster) -> str:
    """Start the server of this process' own task, and return its address for sessions, such as ``grpc://10.0.0.1:2222``.

    The server of a worker uses all GPUs that TensorFlow finds. Those of a parameter server and of the chief use none, because nothing is
    computed there that needs one.

    Raises:
        ClusterError: the port is in use, or the address is not one of this machine.
    """
    own = cluster.own
    _check_free(own)
    config = session_config([gpu.number for gpu in find_gpus()] if own.kind == "worker" else [])
    try:
        with _listening_only_at(own):
            server = tf.distribute.Server(tf.train.ClusterSpec(cluster.addresses()), job_name=own.kind, task_index=own.index, config=config)
    except tf.errors.OpError as error:
        raise ClusterError(f"{own} cannot be served: {error.message}") from None
    _write_note(server.target, cluster)
    return server.target


def _check_free(task: Task) -> None:
    """Bind to the address for a moment, because TensorFlow does not say why it cannot."""
    address, port = resolve(task), split_address(task.address)[1]
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((str(address), port))
        except OSError as error:
            raise ClusterError(
                f"{task} cannot be served ({error.strerror}); stop what uses the port, or give another address in TF_CONFIG"
            ) from None


@contextlib.contextmanager
def _listening_only_at(task: Task) -> Iterator[None]:
    """Call `listen_only_at` again and again while the block starts a server, which listens for some time before the block ends."""
    started = threading.Event()

    def limit() -> None:
        while not started.wait(SECONDS_BETWEEN_LOOKS):
            listen_only_at(task)

    thread = threading.Thread(target=limit, daemon=True)
    thread.start()
    try:
        yield
    finally:
        started.set()
        thread.join()
        listen_only_at(task)


def listen_only_at(task: Task) -> bool:
    """Let the listening sockets of this process on the task's port accept connections to the task's own address only.

    TensorFlow binds them to every interface. A filter in the kernel then drops each packet that is meant for another address, and
    connections to another address that were accepted before are ended. An address that stands for every interface leaves all as they are.

    Returns:
        Whether there is such a filter. It is made on Linux only, and some systems allow it to root only; see `check_limited`.
    """
    address, port = resolve(task), split_address(task.address)[1]
    if sys.platform != "linux" or address.is_unspecified:
        return False
    limited = True
    for found in _sockets_at(port):
        if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            limited &= _attach(_only_for(address), found)
        elif _address_of(found) != address:
            with contextlib.suppress(OSError):  # the other side has ended the connection meanwhile
                found.shutdown(socket.SHUT_RDWR)
    return limited


def _attach(program: bytes, to: socket.socket) -> bool:
    """Attach a program for the kernel's packet filter to a socket; return False if the system does not allow it."""
    buffer = ctypes.create_string_buffer(program, len(program))
    try:
        to.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer)))
    except PermissionError:
        return False
    return True


def check_limited(task: Task, open_to_all: bool = False) -> None:
    """Refuse to serve where the server cannot be limited to its address and the machine has others.

    Loopback and link-local addresses do not count, because no other network reaches them. A container usually has one address besides.

    Args:
        task: the task to be served.
        open_to_all: accept it all the same.

    Raises:
        ValueError: the system does not allow the filter of `listen_only_at`, and the machine has other addresses.
    """
    address = resolve(task)
    if open_to_all or sys.platform != "linux" or address.is_unspecified:
        return
    with socket.socket() as attempt:
        if _attach(_only_for(address), attempt):
            return
    try:
        others = sorted(str(found) for found in addresses_of_machine() - {address})
    except OSError:
        others = ["other addresses"]
    if others:
        raise ValueError(
            f"{task}: the system does not let this user limit a server to its address, so it could be reached at {', '.join(others)} too. "
            "Serve as root, or in a container that has one address, or --i-know-this-is-open"
        )


def addresses_of_machine() -> set[Address]:
    """Return the addresses of this machine, on Linux, without those that are loopback or link-local."""
    lines = IPV4_ROUTES.read_text().split("\n")
    found = {ipaddress.ip_address(line.split()[-1]) for line, below in itertools.pairwise(lines) if below.endswith("host LOCAL")}
    if IPV6_ADDRESSES.exists():
        found |= {ipaddress.ip_address(bytes.fromhex(line.split()[0])) for line in IPV6_ADDRESSES.read_text().splitlines()}
    return {address for address in found if not address.is_loopback and not address.is_link_local}


def _sockets_at(port: int) -> Iterator[socket.socket]:
    """Yield copies of this process' TCP sockets with this local port: those that listen, and those that were accepted."""
    for entry in os.listdir("/proc/self/fd"):
        try:
            if not stat.S_ISSOCK(os.fstat(int(entry)).st_mode):
                continue
            found = socket.socket(fileno=os.dup(int(entry)))
        except OSError:  # closed meanwhile
            continue
        with found:
            is_tcp = found.family in (socket.AF_INET, socket.AF_INET6) and found.type == socket.SOCK_STREAM
            if is_tcp and found.getsockname()[1] == port:
                yield found


def _address_of(found: socket.socket) -> Address:
    address = ipaddress.ip_address(found.getsockname()[0].partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address  # a socket for both kinds of addresses writes IPv4 ones as IPv6


def _only_for(address: Address) -> bytes:
    """Return a program for the kernel's packet filter that keeps the packets to one address and drops all others."""
    words = struct.unpack(f"!{len(address.packed) // 4}I", address.packed)
    first = 16 if address.version == 4 else 24  # bytes before the destination address in the header of a packet
    checks = [(0x30, NETWORK_HEADER, None), (0x74, 4, None), (0x15, address.version, True)]  # load the first byte, shift, compare
    for number, word in enumerate(words):
        checks += [(0x20, NETWORK_HEADER + first + 4 * number, None), (0x15, word, True)]  # load four bytes, compare
    lines = []
    for place, (code, value, is_comparison) in enumerate(checks):
        lines.append((code, 0, len(checks) - place if is_comparison else 0, value))
    lines += [(0x06, 0, 0, 0xFFFFFFFF), (0x06, 0, 0, 0)]  # keep, drop
    return b"".join(struct.pack("@HBBI", *line) for line in lines)


def session_of_task(target: str, task: Task, seconds: float = 0.0) -> v1.Session:
    """Open a session that uses the devices of one task only, and fails if an operation takes longer than this; 0: however long it takes."""
    config = session_config()
    config.device_filters.append(task.device)  # otherwise the session would wait for all other tasks
    config.operation_timeout_in_ms = int(1000 * seconds)
    return open_session(config, target)


def _note_handle() -> tf.Tensor:
    return tf.raw_ops.VarHandleOp(dtype=tf.string, shape=[], container=CONTAINER, shared_name="note")


def _write_note(target: str, cluster: Cluster) -> None:
    precision = choose_devices(gpus=1).precision
    note = Note(str(cluster.own), cluster.addresses(), glo_lib.__version__, tf.__version__, len(find_gpus()), precision, time.time())
    with tf.Graph().as_default(), session_of_task(target, cluster.own) as session:
        session.run(tf.raw_ops.AssignVariableOp(resource=_note_handle(), value=json.dumps(note._asdict())))


def read_note(task: Task, seconds: float) -> Note:
    """Read the note of a task.

    Args:
        task: the task.
        seconds: longest time to wait.

    Raises:
        OSError: nothing listens at its address, or it does not answer.
        tf.errors.OpError: what answers there is not a server of this library, or is not ready yet.
    """
    with socket.create_connection(split_address(task.address), timeout=seconds):
        pass
    with tf.Graph().as_default():
        read = tf.raw_ops.ReadVariableOp(resource=_note_handle(), dtype=tf.string)
        with session_of_task(f"grpc://{task.address}", task, seconds) as session:
            return Note(**json.loads(session.run(read)))


def find_cluster(cluster: Cluster, seconds: float) -> dict[Task, Note]:
    """Wait until all tasks answer, read their notes, and compare them with this process.

    Args:
        cluster: the cluster.
        seconds: longest time to wait.

    Returns:
        The notes of all tasks but this one.

    Raises:
        ClusterError: a task did not answer in time, is another task, or has another ``TF_CONFIG``, another version of this package or of
            TensorFlow. The message names each such task with its address.
    """
    others = [task for task in cluster.tasks if task != cluster.own]
    end = time.monotonic() + seconds
    with ThreadPoolExecutor(len(others)) as pool:
        answers = dict(zip(others, pool.map(lambda task: _note_or_problem(task, end), others), strict=True))
    problems = [answer if isinstance(answer, str) else _misfit(task, answer, cluster) for task, answer in answers.items()]
    problems = [f"{task}: {problem}" for task, problem in zip(others, problems, strict=True) if problem]
    if problems:
        raise ClusterError("\n  ".join(["the cluster of TF_CONFIG is not ready:", *problems]))
    return {task: answer for task, answer in answers.items() if not isinstance(answer, str)}


def _note_or_problem(task: Task, end: float) -> Note | str:
    """Try until a time; return the note, or a description of what was wrong at the last attempt."""
    began = time.monotonic()
    while True:
        left = end - time.monotonic()
        try:
            return read_note(task, max(0.1, left))
        except TimeoutError:
            problem = "does not answer"
        except OSError as error:
            problem = f"cannot be reached ({error.strerror or error})"
        except tf.errors.DeadlineExceededError:
            problem = "does not answer as a server of TensorFlow does"
        except (tf.errors.OpError, TypeError, ValueError) as error:
            problem = f"answers, but not as python -m glo_lib serve does ({reason_of(error)})"
        if time.monotonic() + SECONDS_BETWEEN_ATTEMPTS > end:
            return f"{problem}, after {time.monotonic() - began:.0f} s; is python -m glo_lib serve running there?"
        time.sleep(SECONDS_BETWEEN_ATTEMPTS)


def reason_of(error: Exception) -> str:
    """Return the line of an error of TensorFlow that says what is wrong; it stands between a heading and a list of nodes.

    Example:
        >>> reason_of(ValueError("Graph execution error:\\n\\nDetected at node 'a'\\nthe file is too short\\n\\t [[{{node a}}]]"))
        'the file is too short'
    """
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    nodes = next((number for number, line in enumerate(lines) if line.startswith("\t [[")), 1)
    return lines[max(0, nodes - 1)].strip()[:300]


def _misfit(task: Task, note: Note, cluster: Cluster) -> str:
    if note.task != str(task):
        return f"there answers {note.task}; correct its TF_CONFIG or that of this process"
    if note.addresses != cluster.addresses():
        return f"its TF_CONFIG has the cluster {json.dumps(note.addresses)}, and that of this process {json.dumps(cluster.addresses())}"
    here = (glo_lib.__version__, tf.__version__)
    if (note.version, note.tensorflow) != here:
        return (
            f"it has glo_lib {note.version} with TensorFlow {note.tensorflow}, and this process {here[0]} with {here[1]}; install the same"
        )
    return ""


def serve(cluster: Cluster) -> NoReturn:
    """Start the server of this process' own task and wait until the process is ended.

    Raises:
        ClusterError: see `start_server`.
    """
    print(f"{cluster.own} serves at {start_server(cluster)}", flush=True)
    while True:
        time.sleep(3600)
