"""The files in deploy/ are valid, and say what they are meant to say. No container engine is needed.

The linters check the form, and are skipped where they are not installed; the other tests check the meaning.
"""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml

from glo_lib.__main__ import main
from glo_lib.config import TrainConfig
from glo_lib.graph.cluster import read_cluster

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
NOTEBOOK = "book/train.ipynb"
PORT = 2222
USER = 10001


def run(module, *arguments):
    """Run a linter that is a Python package, or a program that such a package holds."""
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    return subprocess.run([sys.executable, "-m", module, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_the_dockerfile_has_no_faults_known_to_hadolint():
    program = shutil.which("hadolint", path=sysconfig.get_path("scripts"))
    if program is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([program, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_yaml_files_are_tidy():
    done = run("yamllint", "--strict", "-c", ROOT / ".yamllint.yaml", DEPLOY)
    assert done.returncode == 0, done.stdout


def test_the_compose_file_follows_the_schema():
    done = run("check_jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")
    assert done.returncode == 0, done.stdout


def manifests():
    return [manifest for path in MANIFESTS for manifest in yaml.safe_load_all(path.read_text())]


def test_the_kubernetes_manifests_follow_the_schemas():
    validate = pytest.importorskip("kubernetes_validate")
    for manifest in manifests():
        validate.validate(manifest, "1.37", strict=True)


# ------------------------------------------------------------------------------------------------------------------- images


def stages():
    """The stages of the Dockerfile by name, each as a list of (instruction, arguments)."""
    text = re.sub(r"\\\n\s*", "", (DEPLOY / "Dockerfile").read_text())
    found, name = {}, None
    for line in text.splitlines():
        if line and not line.startswith("#"):
            instruction, arguments = line.split(" ", 1)
            if instruction == "FROM":
                base, _, name = arguments.partition(" AS ")
                found[name] = [("FROM", base)]
            else:
                found[name].append((instruction, arguments))
    return found


def arguments_of(stage, instruction):
    return [arguments for found, arguments in stages()[stage] if found == instruction]


def test_the_base_image_has_an_exact_version_of_a_python_that_the_project_knows():
    bases = {arguments_of(stage, "FROM")[0] for stage in stages()} - stages().keys()
    assert len(bases) == 1, "all stages must have the same base, because they exchange an environment"
    version = re.fullmatch(r"python:(3\.\d+)\.\d+-slim-bookworm", bases.pop())
    assert version and f"python={version[1]}" in (ROOT / "environment.yml").read_text()


def test_the_packages_are_those_of_the_requirements_and_no_others():
    commands = [arguments for stage in stages() for arguments in arguments_of(stage, "RUN") if "pip install" in arguments]
    assert commands == ['pip install --no-cache-dir -r "$REQUIREMENTS"', "pip install --no-cache-dir --no-deps ."]
    assert arguments_of("packages", "ARG") == ["REQUIREMENTS=requirements.txt"]
    copied = [path for arguments in arguments_of("packages", "COPY") for path in arguments.split()[:-1]]
    assert copied == ["requirements.txt", "requirements-gpu.txt", "pyproject.toml", "README.md", "LICENSE", "glo_lib"]


@pytest.mark.parametrize("stage", ["training", "book"])
def test_what_is_copied_from_the_repository_exists_and_is_let_into_the_context(stage):
    listed = (ROOT / ".dockerignore").read_text().splitlines()
    assert listed[1] == "*"
    for name in ("packages", stage):
        for arguments in arguments_of(name, "COPY"):
            if not arguments.startswith("--from="):
                for path in arguments.split()[:-1]:
                    assert (ROOT / path).exists(), path
                    assert f"!{path.split('/')[0]}" in listed, path


@pytest.mark.parametrize("stage", ["training", "book"])
def test_an_image_that_is_used_runs_as_an_ordinary_user(stage):
    instructions = [instruction for instruction, _ in stages()[stage]]
    assert arguments_of(stage, "USER") == [f"{USER}:{USER}"]
    assert set(instructions[instructions.index("USER") :]) <= {"USER", "EXPOSE", "CMD"}


def test_the_images_start_the_full_run_and_show_the_book():
    check_command(json.loads(arguments_of("training", "CMD")[0]), "chief")
    assert json.loads(arguments_of("book", "CMD")[0])[:3] == ["python", "-m", "http.server"]
    (build,) = arguments_of("book-pages", "RUN")
    assert f"\t{build.removeprefix('RUN ')}" in re.sub(r'PATH="[^"]*" ', "", (ROOT / "Makefile").read_text())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of click, as jupyter-book uses it
def test_the_pages_are_copied_from_where_jupyter_book_writes_them():
    from jupyter_book.cli.main import find_config_path

    folder, is_found = find_config_path(ROOT / "book")  # the pages are written beside the configuration
    assert is_found and arguments_of("packages", "WORKDIR") == ["/src"] and arguments_of("book-pages", "COPY") == [". ."]
    assert arguments_of("book", "COPY") == [f"--from=book-pages {Path('/src') / folder.relative_to(ROOT) / '_build/html'} /site"]


# ------------------------------------------------------------------------------------------------------------- what they run


def check_command(command, kind):
    """The chief trains by the command of a single machine; all others serve."""
    if kind != "chief":
        assert command == ["python", "-m", "glo_lib", "serve"]
        return
    assert command[:2] == ["papermill", NOTEBOOK] and (ROOT / NOTEBOOK).is_file()
    assert Path(command[2]).parent == Path("/runs") and len(command) % 3 == 0
    names = {"".join(command[i + 1]) for i in range(3, len(command), 3) if command[i] == "-p"}
    assert len(names) == len(command) // 3 - 1 and names <= {field for field in TrainConfig().as_dict()}, "an option is not a setting"


def test_serve_is_a_command_of_the_package(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--help"])
    assert ended.value.code == 0 and "TF_CONFIG" in capsys.readouterr().out


def check_one_cluster(found):
    """All processes are tasks of one cluster, each of another; return the tasks by name of the process."""
    clusters = {name: read_cluster({"TF_CONFIG": text}) for name, text in found.items()}
    assert len({cluster.tasks for cluster in clusters.values()}) == 1, "the processes do not have the same cluster"
    assert sorted(cluster.own for cluster in clusters.values()) == sorted(next(iter(clusters.values())).tasks)
    return {name: cluster.own for name, cluster in clusters.items()}


def test_the_services_are_the_tasks_of_one_cluster():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    tasks = check_one_cluster({name: service["environment"]["TF_CONFIG"] for name, service in services.items()})
    assert [task.kind for task in tasks.values()].count("ps") == [task.kind for task in tasks.values()].count("worker") == 2
    for name, service in services.items():
        assert tasks[name].address == f"{name}:{PORT}"
        check_command(service["command"], tasks[name].kind)
        if tasks[name].kind != "chief":
            assert service["environment"]["TASK_HOST"] == name and f"os.environ['TASK_HOST'], {PORT})" in service["healthcheck"]["test"][-1]
            assert service["restart"] == "unless-stopped" and services["chief"]["depends_on"][name] == {"condition": "service_healthy"}


def test_the_services_can_be_reached_by_each_other_alone():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert compose["networks"] == {"training": {"internal": True}}
    for name, service in compose["services"].items():
        assert service["networks"] == ["training"] and not {"ports", "network_mode", "privileged"} & service.keys(), name
        assert service["user"] == f"{USER}:{USER}" and service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert service["image"].startswith("glo-training:") and service["build"]["target"] in stages(), name
        assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).samefile(DEPLOY / "Dockerfile"), name


WRITES = {"chief": {"/cache", "/runs"}, "ps": {"/runs"}, "worker": set()}
READS = {"chief": set(), "ps": set(), "worker": {"/cache"}}


def test_each_service_has_the_folders_that_it_needs():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    for service in compose["services"].values():
        mounts = [volume.split(":") for volume in service["volumes"]]
        kind = read_cluster({"TF_CONFIG": service["environment"]["TF_CONFIG"]}).own.kind
        assert {mount[1] for mount in mounts if len(mount) == 2} == WRITES[kind]
        assert {mount[1] for mount in mounts if mount[2:] == ["ro"]} == READS[kind]
        assert {mount[0] for mount in mounts} <= compose["volumes"].keys()
    (made,) = [arguments for arguments in arguments_of("training", "RUN") if "install -d" in arguments]
    assert made.endswith("install -d -o glo -g glo /cache /runs"), "a new volume takes its owner from the folder in the image"
    (environment,) = arguments_of("training", "ENV")
    assert "GLO_CACHE_DIR=/cache" in environment.split()


# --------------------------------------------------------------------------------------------------------------- Kubernetes


def of_kind(kind):
    return [manifest for manifest in manifests() if manifest["kind"] == kind]


def pods():
    """Host name, pod and TF_CONFIG of every pod, as Kubernetes would make them."""
    found = []
    for manifest in [*of_kind("StatefulSet"), *of_kind("Job")]:
        template, name = manifest["spec"]["template"], manifest["metadata"]["name"]
        for number in range(manifest["spec"].get("replicas", 1)):
            environment = {entry["name"]: entry for entry in template["spec"]["containers"][0]["env"]}
            setting = environment["TF_CONFIG"]["value"]
            if "INDEX" in environment:
                assert list(environment).index("INDEX") < list(environment).index("TF_CONFIG"), "a later variable is not put in"
                assert environment["INDEX"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.labels['apps.kubernetes.io/pod-index']"
                setting = setting.replace("$(INDEX)", str(number))
            host = f"{name}-{number}" if manifest["kind"] == "StatefulSet" else template["spec"]["hostname"]
            service = manifest["spec"].get("serviceName") or template["spec"]["subdomain"]
            found.append((f"{host}.{service}", template, setting))
    return found


def test_the_pods_are_the_tasks_of_one_cluster():
    tasks = check_one_cluster({name: setting for name, _, setting in pods()})
    services = {service["metadata"]["name"]: service["spec"] for service in of_kind("Service")}
    for name, template, _ in pods():
        (container,) = template["spec"]["containers"]
        assert tasks[name].address == f"{name}:{PORT}" and {"name": "tensorflow", "containerPort": PORT} in container["ports"]
        check_command(container["command"], tasks[name].kind)
        service = services[name.partition(".")[2]]
        assert service["clusterIP"] == "None" and service["publishNotReadyAddresses"], "a pod needs its own name before it is ready"
        assert service["selector"].items() <= template["metadata"]["labels"].items()
        assert service["selector"]["app.kubernetes.io/component"] == tasks[name].kind
        assert [port["port"] for port in service["ports"]] == [PORT]
    assert len(tasks) == 5


def test_the_pods_run_with_few_rights_and_in_bounds():
    for name, template, _ in pods():
        pod, (container,) = template["spec"], template["spec"]["containers"]
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == USER, name
        assert pod["automountServiceAccountToken"] is False and not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), name
        rights = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        assert container["securityContext"] == rights, name
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys() and "memory" in container["resources"]["limits"], name
        assert container["image"] == "registry.example/glo-training:0.1.0", name


def test_the_pods_have_the_folders_that_they_need():
    claims = {claim["metadata"]["name"]: claim["spec"] for claim in of_kind("PersistentVolumeClaim")}
    for _, template, setting in pods():
        kind = read_cluster({"TF_CONFIG": setting}).own.kind
        (container,) = template["spec"]["containers"]
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        assert mounts.keys() == {"/tmp"} | WRITES[kind] | READS[kind]
        assert {path for path, mount in mounts.items() if mount.get("readOnly")} == READS[kind]
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        for path in mounts.keys() - {"/tmp"}:
            claim = volumes[mounts[path]["name"]]["persistentVolumeClaim"]["claimName"]
            assert claim == f"glo-{path.strip('/')}" and claims[claim]["accessModes"] == ["ReadWriteMany"]


def test_only_the_pods_of_the_training_reach_the_ports_and_they_reach_nothing_else():
    (policy,) = of_kind("NetworkPolicy")
    own = {"matchLabels": {"app.kubernetes.io/part-of": "glo"}}
    rules = policy["spec"]
    assert rules["podSelector"] == own and set(rules["policyTypes"]) == {"Ingress", "Egress"}
    assert all(own["matchLabels"].items() <= template["metadata"]["labels"].items() for _, template, _ in pods())
    between = {"ports": [{"protocol": "TCP", "port": PORT}]}
    assert rules["ingress"] == [{"from": [{"podSelector": own}], **between}]
    first, names = rules["egress"]
    assert first == {"to": [{"podSelector": own}], **between}
    assert {port["port"] for port in names["ports"]} == {53}
    assert not [service for service in of_kind("Service") if service["spec"].get("type", "ClusterIP") != "ClusterIP"]


def test_the_version_of_the_images_is_that_of_the_package():
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    texts = {path: path.read_text() for path in [*DEPLOY.rglob("*.yaml"), DEPLOY / "Dockerfile", DEPLOY / "README.md"]}
    found = [(path.name, tag) for path, text in texts.items() for tag in re.findall(r"glo-(?:training|book):([\w.]+)", text)]
    assert found and all(tag == version for _, tag in found), found
