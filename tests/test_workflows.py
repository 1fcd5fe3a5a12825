"""The workflows of GitHub and the hooks of pre-commit are valid, safe and tidy, and run the commands of the Makefile and the README.

The linters need no network. Actions are named by the commit of their release, which nobody can move to other code.
"""

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
CHECKS = ("style", "spelling", "types", "notebooks", "workflows")


def read(path):
    return yaml.safe_load((ROOT / path).read_text())


def steps(workflow):
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def makefile():
    """Return the targets of the Makefile, each with its prerequisites."""
    return dict(re.findall(r"^([a-z]+):(?!=) *(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE))


def assert_passes(*command):
    done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_is_a_workflow_for_the_tests_the_book_and_the_release():
    assert [path.stem for path in WORKFLOWS] == ["book", "release", "test"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="check-jsonschema is not installed for Python 3.10")
@pytest.mark.parametrize(("schema", "files"), [("github-workflows", WORKFLOWS), ("dependabot", [ROOT / ".github/dependabot.yml"])])
def test_the_files_follow_the_schemas(schema, files):
    assert_passes(sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *files)


def test_zizmor_finds_nothing_unsafe():
    program = shutil.which("zizmor", path=sysconfig.get_path("scripts"))
    assert_passes(program, "--offline", "--persona=pedantic", ".github")


def test_the_yaml_files_are_tidy():
    assert_passes(sys.executable, "-m", "yamllint", "--strict", ".github", ".pre-commit-config.yaml", "environment.yml")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_job_may_do_no_more_than_it_says_and_ends_after_a_while(path):
    workflow = read(path)
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 120
        assert "write" not in job["permissions"].values() or "environment" in job  # whoever publishes can be made to ask first


def test_the_same_commit_of_an_action_is_used_everywhere():
    used = {line for path in WORKFLOWS for line in re.findall(r"uses: (.+)", path.read_text())}
    pins = [re.fullmatch(r"([\w-]+/[\w-]+)@[0-9a-f]{40}  # v\d+\.\d+\.\d+", line) for line in used]
    assert all(pins) and len({pin[1] for pin in pins}) == len(pins) == 7


def test_the_tests_run_on_every_supported_version_of_python():
    versions = read(".github/workflows/test.yml")["jobs"]["test"]["strategy"]["matrix"]["python"]
    (lowest, beyond) = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', (ROOT / "pyproject.toml").read_text()).groups()
    assert versions == [f"3.{minor}" for minor in range(int(lowest), int(beyond))]


def test_workflows_run_targets_of_the_makefile_and_those_that_the_readme_names():
    commands = {step["run"] for path in WORKFLOWS for step in steps(read(path)) if step.get("run", "").startswith("make ")}
    assert commands == {"make test", "make train", "make book", "make check", "make package"}
    assert {command.removeprefix("make ") for command in commands} <= set(makefile())
    assert all(command in (ROOT / "README.md").read_text() for command in commands)


def test_the_release_stops_when_its_tag_is_not_the_version_of_the_package():
    (command,) = [step["run"] for step in steps(read(".github/workflows/release.yml")) if "GITHUB_REF_NAME" in step.get("run", "")]
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    for tag, status in ((f"v{version}", 0), (version, 1), ("v0.0.0", 1)):
        assert subprocess.run(["bash", "-c", command], cwd=ROOT, env={"GITHUB_REF_NAME": tag, "PATH": "/usr/bin:/bin"}).returncode == status


# What .ci/check_address.py reads of a project that has no address yet.
WITHOUT_ADDRESS = {
    "_config.yml": "repository:\n  url: https://github.com/OWNER/b\n  branch: main\nhtml:\n  baseurl: https://OWNER.github.io/b/\n",
    "README.md": "![Faces](book/faces.jpg) [uv](https://docs.astral.sh/uv/) [below](#below)\n",
    "pyproject.toml": "[project]\n",
}


def check_address(folder):
    """Run the check of the release in a folder, and return its status and its lines."""
    (command,) = [step["run"] for step in steps(read(".github/workflows/release.yml")) if "check_address" in step.get("run", "")]
    done = subprocess.run([sys.executable, *command.split()[1:]], cwd=folder, capture_output=True, text=True, check=False)
    assert not done.stderr
    return done.returncode, done.stdout.splitlines()


def test_the_release_stops_until_the_readme_and_the_package_have_an_address(tmp_path):
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/check_address.py", tmp_path / ".ci")

    def write(**replaced):
        for name, text in WITHOUT_ADDRESS.items():
            for old, new in replaced.items():
                text = text.replace(old, new)
            (tmp_path / name).write_text(text, "utf8")

    write()
    status, (configuration, picture, package) = check_address(tmp_path)
    assert status == 1 and "_config.yml: replace OWNER" in configuration
    assert "README.md: book/faces.jpg is not found" in picture and "pyproject.toml: PyPI shows no link" in package

    write(**{"com/OWNER": "com/a"})  # but not in html.baseurl
    assert check_address(tmp_path)[1][0] == configuration

    write(OWNER="a")
    status, (picture, package) = check_address(tmp_path)
    address = picture.partition("; write ")[2]
    line = package.partition("with the line ")[2]
    assert (status, address, line) == (1, "https://github.com/a/b/raw/main/book/faces.jpg", 'Repository = "https://github.com/a/b"')

    write(**{"OWNER": "a", "book/faces.jpg": address, "[project]\n": f"[project.urls]\n{line}\n"})
    assert check_address(tmp_path) == (0, ["the README and the package name https://github.com/a/b"])


def test_the_check_of_the_release_can_read_this_project():
    status, lines = check_address(ROOT)
    assert lines and status == (0 if lines[0].startswith("the README and the package name ") else 1)


def test_the_hooks_are_the_checks_of_make_check_with_the_environment_of_the_project():
    (repository,) = read(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    assert [hook["entry"] for hook in repository["hooks"]] == [f"make {name}" for name in CHECKS]
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}
    assert makefile()["check"].split() == [*CHECKS]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("glo_lib/decoder.py", {"style", "spelling", "types"}),
        ("tests/test_decoder.py", {"style", "spelling"}),
        ("book/decoder.ipynb", {"style", "spelling", "notebooks"}),
        ("book/out.ipynb", {"style", "spelling"}),
        ("book/index.md", {"spelling"}),
        ("pyproject.toml", {"style", "spelling", "types"}),
        (".github/workflows/test.yml", {"workflows"}),
        ("Makefile", {"workflows"}),
        (".ci/check_address.py", {"style", "spelling", "workflows"}),
        ("book/_static/results.jpg", set()),
    ],
)
def test_a_hook_runs_when_what_it_checks_has_changed(path, expected):
    (repository,) = read(".pre-commit-config.yaml")["repos"]
    assert {hook["id"] for hook in repository["hooks"] if re.search(hook["files"], path)} == expected
