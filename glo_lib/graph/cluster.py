"""Read and check ``TF_CONFIG``, which describes the machines that train together.

The convention is that of TensorFlow: a JSON object with the addresses of all tasks and the task of this process::

    {"cluster": {"chief": ["10.0.0.1:2222"], "ps": ["10.0.0.2:2222"], "worker": ["10.0.0.3:2222", "10.0.0.4:2222"]},
     "task": {"type": "chief", "index": 0}}

- ``chief``: one; the program that trains. It builds the graph, drives every step and writes the run folder, and computes little itself.
- ``ps``: one or more parameter servers. They hold the rows of the table of codes and the variables of the decoder.
- ``worker``: one or more. They hold the towers, on their GPUs or on their CPUs.

This module does not import TensorFlow. `glo_lib.graph.server` starts the servers and looks for the others.
"""

import ipaddress
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

VARIABLE = "TF_CONFIG"
KINDS = ("chief", "ps", "worker")
EXAMPLE = (
    '{"cluster": {"chief": ["10.0.0.1:2222"], "ps": ["10.0.0.2:2222"], "worker": ["10.0.0.3:2222"]}, "task": {"type": "chief", "index": 0}}'
)


@dataclass(frozen=True, order=True)
class Task:
    """One process of a cluster.

    Attributes:
        kind: ``chief``, ``ps`` or ``worker``.
        index: its number among those of its kind, from 0.
        address: ``host:port``.
    """

    kind: str
    index: int
    address: str

    @property
    def device(self) -> str:
        """The prefix of its devices in a graph, such as ``/job:worker/task:1``."""
        return f"/job:{self.kind}/task:{self.index}"

    def __str__(self) -> str:
        return f"{self.kind} {self.index} at {self.address}"


class Cluster(NamedTuple):
    """The tasks that train together.

    Attributes:
        tasks: all of them: the chief, the parameter servers, the workers.
        own: the task of this process.
    """

    tasks: tuple[Task, ...]
    own: Task

    def of_kind(self, kind: str) -> tuple[Task, ...]:
        """Return the tasks of one kind, by index."""
        return tuple(task for task in self.tasks if task.kind == kind)

    @property
    def workers(self) -> tuple[Task, ...]:
        """The tasks that hold the towers."""
        return self.of_kind("worker")

    @property
    def servers(self) -> tuple[Task, ...]:
        """The tasks that hold the variables."""
        return self.of_kind("ps")

    def addresses(self) -> dict[str, list[str]]:
        """The addresses by kind, as ``tf.train.ClusterSpec`` takes them and as ``TF_CONFIG`` has them."""
        return {kind: [task.address for task in self.of_kind(kind)] for kind in KINDS}


def read_cluster(environment: Mapping[str, str] | None = None) -> Cluster | None:
    """Read the cluster from ``TF_CONFIG``.

    Args:
        environment: default: that of this process.

    Returns:
        The cluster; None if ``TF_CONFIG`` is not set, or names no cluster.

    Raises:
        ValueError: it is not JSON, misses a kind of task, has an address without a port or the same address twice, or a task that is not
            in the cluster.

    Example:
        >>> addresses = {"chief": ["a:1"], "ps": ["b:1"], "worker": ["c:1", "d:1"]}
        >>> cluster = read_cluster({"TF_CONFIG": json.dumps({"cluster": addresses, "task": {"type": "worker", "index": 1}})})
        >>> str(cluster.own), len(cluster.workers)
        ('worker 1 at d:1', 2)
    """
    text = (os.environ if environment is None else environment).get(VARIABLE, "").strip()
    if not text:
        return None
    try:
        content = json.loads(text)
    except ValueError as error:
        raise _wrong(f"it is not JSON ({error})") from None
    if not isinstance(content, dict):
        raise _wrong("it is not an object")
    if not content.get("cluster"):
        return None
    tasks = _tasks(content["cluster"])
    return Cluster(tasks, _own_task(content.get("task"), tasks))


def _tasks(addresses: Any) -> tuple[Task, ...]:
    if not isinstance(addresses, dict) or not all(isinstance(found, list) for found in addresses.values()):
        raise _wrong("its cluster does not give a list of addresses for each kind of task")
    unknown = sorted(set(addresses) - set(KINDS))
    if unknown:
        raise _wrong(f"its cluster has tasks of the kind {', '.join(map(repr, unknown))}; there are {', '.join(KINDS)}")
    missing = [kind for kind in KINDS if not addresses.get(kind)]
    if missing:
        raise _wrong(f"its cluster has no {' and no '.join(missing)}")
    if len(addresses["chief"]) > 1:
        raise _wrong(f"its cluster has {len(addresses['chief'])} chiefs; there is one")
    tasks = tuple(Task(kind, index, _checked(address)) for kind in KINDS for index, address in enumerate(addresses[kind]))
    by_address: dict[str, Task] = {}
    for task in tasks:
        other = by_address.setdefault(task.address, task)
        if other is not task:
            raise _wrong(f"{task.kind} {task.index} has the address of {other}")
    return tasks


def _checked(address: Any) -> str:
    host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
    if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise _wrong(f"{address!r} is not an address; give a host and a port, as in '10.0.0.2:2222'")
    return address


def _own_task(task: Any, tasks: tuple[Task, ...]) -> Task:
    kind, index = (task.get("type"), task.get("index", 0)) if isinstance(task, dict) else (None, None)
    own = [found for found in tasks if found.kind == kind and str(found.index) == str(index)]
    if not own:
        listed = ", ".join(f"{found.kind} {found.index}" for found in tasks)
        raise _wrong(f"its task is {task!r}; the cluster has {listed}")
    return own[0]


def _wrong(what: str) -> ValueError:
    return ValueError(f"{VARIABLE} cannot be used: {what}. It has the form {EXAMPLE}")


def chief_cluster(environment: Mapping[str, str] | None = None) -> Cluster | None:
    """Read the cluster for the program that trains, which is the chief.

    Raises:
        ValueError: as `read_cluster`, or this process is another task.
    """
    cluster = read_cluster(environment)
    if cluster is not None and cluster.own.kind != "chief":
        raise ValueError(
            f"{VARIABLE} says that this process is {cluster.own}; only the chief trains. Here, start python -m glo_lib serve instead"
        )
    return cluster


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``host:port``; the host of an IPv6 address may stand in brackets.

    Example:
        >>> split_address("[::1]:2222")
        ('::1', 2222)
    """
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def resolve(task: Task) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the numeric address of a task.

    Raises:
        ValueError: its host is not known.
    """
    host, port = split_address(task.address)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ValueError(f"the host of {task} is not known ({error.strerror}); correct {VARIABLE}") from None
    return ipaddress.ip_address(found[0][4][0])


def check_private(task: Task, open_to_all: bool = False) -> None:
    """Refuse to serve at an address that the internet may reach, or at every address of the machine.

    Args:
        task: the task to be served.
        open_to_all: accept it all the same.

    Raises:
        ValueError: the address is not private, and ``open_to_all`` is False.
    """
    address = resolve(task)
    if open_to_all or (address.is_private and not address.is_unspecified):
        return
    kind = "stands for every address of this machine" if address.is_unspecified else "is not private"
    raise ValueError(
        f"{task}: the address {kind}. Whoever reaches the port of a TensorFlow server can run programs on it, because the protocol has "
        "neither passwords nor encryption. Give an address in a private network, or --i-know-this-is-open"
    )
