"""Tests of `glo_lib.graph.server`: a server answers at its own address only, and what is wrong with another task is named in time."""

import contextlib
import ipaddress
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import pytest

import glo_lib
from glo_lib.graph import server
from glo_lib.graph.backend import tf
from glo_lib.graph.cluster import Task, read_cluster
from glo_lib.graph.devices import Gpu
from glo_lib.graph.server import (
    ClusterError,
    Note,
    _check_free,
    _listening_only_at,
    _misfit,
    addresses_of_machine,
    check_limited,
    find_cluster,
    listen_only_at,
    read_note,
)

with socket.socket() as attempt:
    needs_filter = pytest.mark.skipif(
        not server._attach(server._only_for(ipaddress.ip_address("127.0.0.1")), attempt), reason="the system allows the filter to root only"
    )


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def cluster_of(addresses, kind="chief", index=0):
    return read_cluster({"TF_CONFIG": json.dumps({"cluster": addresses, "task": {"type": kind, "index": index}})})


@pytest.fixture(scope="module")
def served():
    """The addresses of a cluster of which only the parameter server runs."""
    command = [sys.executable, "-m", "glo_lib", "serve", "--i-know-this-is-open"]  # where root alone may limit a server to its address
    for _ in range(2):
        addresses = {kind: [f"127.0.0.1:{free_port()}"] for kind in ("chief", "ps", "worker")}
        environment = {**os.environ, "TF_CONFIG": json.dumps({"cluster": addresses, "task": {"type": "ps", "index": 0}})}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            line = process.stdout.readline()
            if line:  # else the server has ended, because another process took the port in the meantime
                assert line.startswith(f"ps 0 at {addresses['ps'][0]} serves")
                yield addresses
                process.kill()
                return
    pytest.fail("no server could be started")


def test_a_server_has_a_note_on_itself(served):
    task = cluster_of(served).servers[0]
    note = read_note(task, seconds=20)
    assert note.task == str(task) and note.addresses == served and note.gpus == 0
    assert _misfit(task, note, cluster_of(served)) == ""


@pytest.mark.parametrize(("kind", "visible", "count"), [("worker", "0,2", {}), ("ps", "", {"GPU": 0}), ("chief", "", {"GPU": 0})])
def test_only_the_server_of_a_worker_uses_gpus(monkeypatch, kind, visible, count):
    """On a machine with two GPUs that TensorFlow can use; nothing is served."""
    monkeypatch.setattr(server, "find_gpus", lambda: [Gpu("fake", (8, 0), number) for number in (0, 2)])
    configs = []

    def make_server(*_, config, **__):
        configs.append(config)
        raise tf.errors.UnknownError(None, None, "it would begin to serve")

    monkeypatch.setattr(tf.distribute, "Server", make_server)
    with pytest.raises(ClusterError, match="it would begin to serve"):
        server.start_server(cluster_of({name: [f"127.0.0.1:{free_port()}"] for name in ("chief", "ps", "worker")}, kind))
    assert [(config.gpu_options.visible_device_list, dict(config.device_count)) for config in configs] == [(visible, count)]


@needs_filter
def test_a_server_is_not_reached_at_another_address(served):
    port = int(served["ps"][0].rpartition(":")[2])
    socket.create_connection(("127.0.0.1", port), timeout=5).close()
    with pytest.raises(OSError):  # it is dropped: TensorFlow itself listens at every address
        socket.create_connection(("127.0.0.2", port), timeout=0.5)


@needs_filter
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "both"])
def test_connections_to_other_addresses_from_before_the_filter_are_ended(family):
    with socket.socket(family) as listening, ExitStack() as stack:
        listening.bind(("", 0))
        listening.listen()
        port = listening.getsockname()[1]
        clients = [stack.enter_context(socket.create_connection((host, port), timeout=5)) for host in ("127.0.0.1", "127.0.0.2")]
        accepted = [stack.enter_context(listening.accept()[0]) for _ in clients]
        assert listen_only_at(Task("ps", 0, f"127.0.0.1:{port}"))
        accepted[0].sendall(b"here")
        assert [client.recv(4) for client in clients] == [b"here", b""]


@needs_filter
def test_a_server_is_limited_to_its_address_while_it_starts():
    with socket.socket() as listening:
        listening.bind(("", 0))
        port = listening.getsockname()[1]
        with _listening_only_at(Task("ps", 0, f"127.0.0.1:{port}")):
            listening.listen()
            time.sleep(0.2)
            with pytest.raises(OSError):
                socket.create_connection(("127.0.0.2", port), timeout=0.3)
        socket.create_connection(("127.0.0.1", port), timeout=5).close()


ROUTES = """\
     +-- 127.0.0.0/8 2 0 2
           |-- 127.0.0.1
              /32 host LOCAL
        |-- 127.255.255.255
           /32 link BROADCAST
     +-- 10.0.0.0/24 2 0 2
           |-- 10.0.0.2
              /32 host LOCAL
           |-- 10.0.0.255
              /32 link BROADCAST
"""
ADDRESSES_V6 = """\
00000000000000000000000000000001 01 80 10 80       lo
fe8000000000000000fc00fffe000001 04 40 20 80     eth0
fd000000000000000000000000000002 04 40 00 82     eth0
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine that has the addresses 10.0.0.2 and fd00::2, on which the filter is not allowed."""
    for name, content in (("IPV4_ROUTES", ROUTES), ("IPV6_ADDRESSES", ADDRESSES_V6)):
        (tmp_path / name).write_text(content)
        monkeypatch.setattr(server, name, tmp_path / name)
    monkeypatch.setattr(server, "_attach", lambda *_: False)
    return tmp_path


def test_a_server_that_cannot_be_limited_is_refused_where_there_are_other_addresses(machine):
    assert {str(address) for address in addresses_of_machine()} == {"10.0.0.2", "fd00::2"}
    with pytest.raises(ValueError, match=r"ps 0 at 10\.0\.0\.2:1: .* reached at fd00::2 too.*--i-know-this-is-open"):
        check_limited(Task("ps", 0, "10.0.0.2:1"))
    check_limited(Task("ps", 0, "10.0.0.2:1"), open_to_all=True)
    (machine / "IPV6_ADDRESSES").unlink()  # as in most containers
    check_limited(Task("ps", 0, "10.0.0.2:1"))
    (machine / "IPV4_ROUTES").unlink()
    with pytest.raises(ValueError, match="reached at other addresses too"):
        check_limited(Task("ps", 0, "10.0.0.2:1"))


def test_a_filter_that_is_not_allowed_leaves_the_server_as_it_is(monkeypatch):
    monkeypatch.setattr(server, "_attach", lambda *_: False)
    with socket.socket() as listening:
        listening.bind(("", 0))
        listening.listen()
        assert not listen_only_at(Task("ps", 0, f"127.0.0.1:{listening.getsockname()[1]}"))


def test_where_the_filter_is_allowed_other_addresses_do_not_matter(machine, monkeypatch):
    monkeypatch.setattr(server, "_attach", lambda *_: True)
    check_limited(Task("ps", 0, "10.0.0.2:1"))


def test_tasks_that_do_not_answer_are_named_within_the_time(served):
    with pytest.raises(ClusterError) as error:
        find_cluster(cluster_of(served), seconds=5)  # the server that runs has to answer within it, on a busy machine too
    assert f"worker 0 at {served['worker'][0]}: cannot be reached" in str(error.value) and "ps 0" not in str(error.value)


def test_what_accepts_connections_and_says_nothing_is_named_within_the_time(served):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        addresses = {**served, "worker": [f"127.0.0.1:{silent.getsockname()[1]}"]}
        with pytest.raises(ClusterError, match=rf"worker 0 at {addresses['worker'][0]}: does not answer as a server of TensorFlow"):
            find_cluster(cluster_of(addresses), seconds=1)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"task": "worker 7 at e:1"}, "there answers worker 7 at e:1"),
        ({"addresses": {}}, "its TF_CONFIG has the cluster {}"),
        ({"version": "0.0.1"}, "it has glo_lib 0.0.1 with TensorFlow"),
        ({"tensorflow": "2.1.0"}, "with TensorFlow 2.1.0.*install the same"),
    ],
)
def test_a_task_that_does_not_fit_is_described(changes, message):
    addresses = {"chief": ["a:1"], "ps": ["b:1"], "worker": ["c:1"]}
    cluster = cluster_of(addresses)
    fitting = Note("worker 0 at c:1", addresses, glo_lib.__version__, tf.__version__, 0, "float32", 0.0)
    assert _misfit(cluster.workers[0], fitting, cluster) == ""
    assert re.search(message, _misfit(cluster.workers[0], fitting._replace(**changes), cluster))


def test_a_port_in_use_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ClusterError, match=f"ps 0 at {address} cannot be served.*in use"):
            _check_free(Task("ps", 0, address))


def _open_files():
    """Return the inodes of this process's open files. Others of them may be closed at any moment, when garbage is collected."""
    inodes = []
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            inodes.append(os.fstat(int(entry)).st_ino)
    return inodes


@needs_filter
@pytest.mark.parametrize("family, own, other", [(socket.AF_INET, "127.0.0.1", "127.0.0.2"), (socket.AF_INET6, "::1", None)])
def test_the_filter_lets_the_own_address_through_and_no_other(family, own, other):
    with socket.socket(family) as listening:
        listening.bind(("" if family == socket.AF_INET else "::", 0))
        listening.listen()
        port = listening.getsockname()[1]
        assert listen_only_at(Task("ps", 0, f"[{own}]:{port}" if ":" in own else f"{own}:{port}"))
        inode = os.fstat(listening.fileno()).st_ino
        assert _open_files().count(inode) == 1, "a copy of the socket was left open"
        threading.Thread(target=lambda: listening.accept()[0].sendall(b"here"), daemon=True).start()
        with socket.create_connection((own, port), timeout=5) as reached:
            assert reached.recv(4) == b"here"
        if other:
            with pytest.raises(OSError):
                socket.create_connection((other, port), timeout=0.3)
