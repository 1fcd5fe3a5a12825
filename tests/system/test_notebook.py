"""Parameters of a notebook: what its cells say counts, in whatever order they are run, and a misspelt name is found."""

import ast
import dataclasses
import json
import logging
import re
from pathlib import Path

import nbformat
import papermill
import pytest
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from glo_lib.config import TrainConfig
from glo_lib.system.notebook import parameter_names, read_parameters

BOOK = Path(__file__).parents[2] / "book"
NOTEBOOK = BOOK / "train.ipynb"
CODE = {cell["id"]: "".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"}
(PARAMETERS,) = (source for source in CODE.values() if source.startswith("# Parameters"))
(READ,) = (source for source in CODE.values() if "read_parameters(" in source)
IMPORTS = "from glo_lib.config import TrainConfig, describe\nfrom glo_lib.system.notebook import read_parameters"
DEFAULTS = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
OWN = "# Parameters of the run\ngpus = 1\nseed = 0"


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        ([OWN], ["gpus", "seed"]),
        ([OWN, "other = 3", "# Parameters\ngpu = 2"], ["gpus", "seed", "gpu"]),
        ([OWN, "# Parameters\ngpu = 2", "# Parameters\ngpus = 2"], ["gpus", "seed"]),  # corrected
        ([OWN, "# Parameters\ngpu = 2", OWN], ["gpus", "seed"]),
        (["# Parameters\ngpu = 2", OWN], ["gpus", "seed"]),
        ([OWN, OWN.replace("seed", "sede")], ["gpus", "sede"]),
        ([OWN, OWN.replace("seed", "sede"), OWN], ["gpus", "seed"]),
        ([OWN, OWN + "\nif"], ["gpus", "seed"]),  # was not run
        (["\n  " + OWN.replace("\n", "\n  ")], []),  # IPython removes indentation before it records a cell
        (["# Parameters\ngpus = 2"], []),
        (["gpus = 1"], []),
        ([], []),
    ],
)
def test_the_last_run_of_each_parameter_cell_counts(cells, names):
    assert parameter_names(cells) == names


def test_only_assigned_names_are_parameters():
    cell = (
        OWN + "\nimport os\nfrom a import b\n_x = [i for i in range(3)]\ndef f():\n    k = 2\nloss: str = 'mse'\nPAPERMILL_INPUT_PATH = 'x'"
    )
    assert parameter_names([cell]) == ["gpus", "seed", "loss"]


def test_there_are_no_parameters_outside_of_a_notebook():
    with pytest.raises(RuntimeError, match=r"in a notebook only; elsewhere write TrainConfig\(...\)"):
        read_parameters(TrainConfig)


class Kernel:
    """A real kernel in which cells are run one by one, as a person or a program may."""

    def __init__(self):
        self._client = NotebookClient(nbformat.v4.new_notebook(), kernel_name="python3", timeout=60)

    def __enter__(self):
        self._context = self._client.setup_kernel(cwd=str(BOOK.parent))
        self._context.__enter__()
        return self

    def __exit__(self, *error):
        self._context.__exit__(*error)

    def run(self, *sources: str, store_history: bool = True) -> str:
        """Run cells; return what the last one printed, or the message of the error of any."""
        for source in sources:
            cell = nbformat.v4.new_code_cell(source)
            self._client.nb.cells.append(cell)
            try:
                self._client.execute_cell(cell, len(self._client.nb.cells) - 1, store_history=store_history)
            except CellExecutionError as error:
                return f"{error.ename}: {error.evalue}"
        return "".join(output.text for output in cell.outputs)

    def settings(self, *sources: str, **options) -> dict[str, str]:
        """Run cells, and then the one that reads the parameters; return the values that it printed."""
        printed = self.run(*sources, READ, **options)
        return dict(re.findall(r"^(\w+) +(.*?) {2,}", printed, re.MULTILINE)) or {"error": printed}


@pytest.fixture(scope="module")
def kernel():
    with Kernel() as kernel:
        assert "RuntimeError: no parameter cell has been run" in kernel.run(IMPORTS, READ)
        yield kernel


def injected(parameters: dict) -> str:
    """The cell that papermill adds for these parameters."""
    notebook = papermill.parameterize.parameterize_notebook(papermill.iorw.load_notebook_node(str(NOTEBOOK)), parameters)
    return next(cell.source for cell in notebook.cells if "injected-parameters" in cell.metadata.get("tags", []))


def test_whatever_is_run_again_the_settings_are_what_the_cells_say(kernel):
    edited = PARAMETERS.replace("gpus = 1", "gpus = 3")
    assert edited != PARAMETERS
    all_twice = kernel.settings(PARAMETERS, READ, PARAMETERS)
    assert all_twice.keys() == DEFAULTS.keys() and all_twice["gpus"] == "1"
    assert kernel.settings(edited)["gpus"] == kernel.settings()["gpus"] == "3"
    assert kernel.settings("name = gpu = images = 3")["gpus"] == "3"  # other variables of the notebook are no parameters
    assert kernel.settings(injected({"gpus": 2, "loss": "lap1"}))["gpus"] == "2"
    assert kernel.settings()["loss"] == "lap1"
    assert kernel.settings(edited)["loss"] == "mse"
    assert kernel.settings(injected({"gpus": 2}), edited.replace("seed = 0\n", ""))["gpus"] == "3"
    assert kernel.settings(PARAMETERS.replace("seed = 0", "seed = 7"))["seed"] == "7"
    assert kernel.settings(PARAMETERS.replace("seed = 0\n", ""))["seed"] == "0"  # a line that was deleted counts no longer
    assert "invalid syntax" in kernel.run("# Parameters and so on\ngpus = ")
    assert kernel.settings()["gpus"] == "1"


def test_a_misspelt_name_is_refused_until_it_is_corrected(kernel):
    from_file = yaml.safe_load("num_dims: 8\nbatchsize: 4")
    for wrong, meant in (({"gpu": 2}, "gpus"), (from_file, "batch_size")):
        (name,) = wrong.keys() - DEFAULTS.keys()
        for cells in ((PARAMETERS, injected(wrong)), (), (injected(wrong),), (READ,), ("again = 1",), (PARAMETERS, injected(wrong))):
            assert f"unknown parameter '{name}'; did you mean {meant}?" in kernel.settings(*cells)["error"], cells
        assert kernel.settings(injected({meant: 4}))[meant] == "4"
    edited = PARAMETERS.replace("gpus = 1", "gpu = 2")
    for cells in ((edited,), (), (injected({"seed": 1}),)):
        assert "unknown parameter 'gpu'; did you mean gpus?" in kernel.settings(*cells)["error"]
    assert kernel.settings(PARAMETERS)["gpus"] == "1"


def test_a_front_end_without_history_gets_the_settings_by_name():
    with Kernel() as kernel:
        assert "no parameter cell has been run" in kernel.run(IMPORTS, READ, store_history=False)
        edited = PARAMETERS.replace("gpus = 1", "gpus = 3")
        for _ in range(2):
            assert kernel.settings(edited, store_history=False)["gpus"] == "3"


def test_the_parameter_cell_has_every_setting_with_its_default_and_is_the_only_one_that_sets_them():
    inspected = papermill.inspect_notebook(NOTEBOOK)
    defaults = {name: ast.literal_eval(parameter["default"]) for name, parameter in inspected.items()}
    assert defaults.keys() == DEFAULTS.keys()
    assert TrainConfig(**defaults) == TrainConfig()
    for source in CODE.values():
        tree = ast.parse(TransformerManager().transform_cell(source))  # the first cell has a command of IPython
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        assert source == PARAMETERS or not names & DEFAULTS.keys()


def unknown_to_papermill(parameters, tmp_path, caplog):
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        papermill.execute_notebook(NOTEBOOK, tmp_path / "out.ipynb", parameters, prepare_only=True, progress_bar=False)
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("preset", sorted(path.name for path in (BOOK / "params").glob("*.yaml")))
def test_papermill_knows_all_parameters_of_the_presets(preset, tmp_path, caplog):
    assert unknown_to_papermill(yaml.safe_load((BOOK / "params" / preset).read_text()), tmp_path, caplog) == []


def test_papermill_warns_of_parameters_that_do_not_exist(tmp_path, caplog):
    assert unknown_to_papermill({"gpu": 2}, tmp_path, caplog) == ["Passed unknown parameter: gpu"]
