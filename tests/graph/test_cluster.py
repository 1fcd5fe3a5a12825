"""Tests of `glo_lib.graph.cluster`: what TF_CONFIG may say, and the addresses that are served."""

import json
import socket
import subprocess
import sys

import pytest

from glo_lib.graph.cluster import Cluster, Task, check_private, chief_cluster, read_cluster, resolve, split_address

ADDRESSES = {"chief": ["a:1"], "ps": ["b:1", "b:2"], "worker": ["c:1", "d:1"]}


def environment(cluster=ADDRESSES, task=None):
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task or {"type": "chief", "index": 0}})}


def test_a_cluster_has_its_tasks_in_order_and_the_task_of_this_process():
    cluster = read_cluster(environment(task={"type": "worker", "index": 1}))
    assert isinstance(cluster, Cluster) and cluster.own == cluster.workers[1] == Task("worker", 1, "d:1")
    assert [str(task) for task in cluster.servers] == ["ps 0 at b:1", "ps 1 at b:2"]
    assert cluster.own.device == "/job:worker/task:1" and cluster.addresses() == ADDRESSES


@pytest.mark.parametrize("text", ["", "  ", "{}", '{"cluster": {}}'])
def test_without_a_cluster_there_is_one_machine(text):
    assert read_cluster({"TF_CONFIG": text}) is None and read_cluster({}) is None


@pytest.mark.parametrize(
    "found, message",
    [
        ({"TF_CONFIG": "{"}, "not JSON"),
        ({"TF_CONFIG": "[]"}, "not an object"),
        (environment({**ADDRESSES, "ps": "b:1"}), "list of addresses"),
        (environment({**ADDRESSES, "evaluator": ["e:1"]}), "'evaluator'"),
        (environment({"chief": ["a:1"], "ps": []}), "no ps and no worker"),
        (environment({**ADDRESSES, "chief": ["a:1", "a:2"]}), "2 chiefs"),
        (environment({**ADDRESSES, "ps": ["b"]}), "'b' is not an address"),
        (environment({**ADDRESSES, "ps": ["b:0"]}), "'b:0' is not an address"),
        (environment({**ADDRESSES, "ps": ["b:65536"]}), "'b:65536' is not an address"),
        (environment({**ADDRESSES, "ps": ["http://b:1"]}), "is not an address"),
        (environment({**ADDRESSES, "ps": [7]}), "7 is not an address"),
        (environment({**ADDRESSES, "ps": ["a:1"]}), "ps 0 has the address of chief 0 at a:1"),
        (environment(task={"type": "worker", "index": 2}), "the cluster has chief 0, ps 0, ps 1, worker 0, worker 1"),
        ({"TF_CONFIG": json.dumps({"cluster": ADDRESSES})}, "its task is None"),
    ],
)
def test_what_cannot_be_used_is_refused_with_an_example(found, message):
    with pytest.raises(ValueError, match=message) as error:
        read_cluster(found)
    assert "It has the form" in str(error.value)


def test_only_the_chief_trains():
    assert chief_cluster(environment()).own.kind == "chief" and chief_cluster({}) is None
    with pytest.raises(ValueError, match=r"ps 1 at b:2.*python -m glo_lib serve"):
        chief_cluster(environment(task={"type": "ps", "index": 1}))


@pytest.mark.parametrize("address, expected", [("host:22", ("host", 22)), ("[fd00::1]:22", ("fd00::1", 22))])
def test_addresses_are_split_at_the_last_colon(address, expected):
    assert split_address(address) == expected


@pytest.mark.parametrize("address", ["127.0.0.1:1", "10.1.2.3:1", "192.168.0.1:1", "172.16.0.9:1", "[fd00::1]:1", "localhost:1"])
def test_private_addresses_are_served(address):
    check_private(Task("ps", 0, address))


@pytest.mark.parametrize(
    "address, message", [("8.8.8.8:1", "is not private"), ("0.0.0.0:1", "every address"), ("[::]:1", "every"), ("[2600::1]:1", "private")]
)
def test_other_addresses_are_refused_unless_that_is_wanted(address, message):
    with pytest.raises(ValueError, match=f"(?s){message}.*--i-know-this-is-open"):
        check_private(Task("ps", 0, address))
    check_private(Task("ps", 0, address), open_to_all=True)


def test_an_unknown_host_is_named(monkeypatch):
    def look_up(host, *_, **__):
        raise socket.gaierror(socket.EAI_NONAME, f"{host} is unknown")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)  # so that no name server is asked
    with pytest.raises(ValueError, match=r"host of worker 3 at nowhere\.invalid:1 is not known"):
        resolve(Task("worker", 3, "nowhere.invalid:1"))


def test_the_module_needs_no_tensorflow():
    program = "import sys, glo_lib.graph.cluster; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
