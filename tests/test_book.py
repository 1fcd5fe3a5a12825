"""The notebooks and pages as they are committed are executed, short, captioned and complete; nothing is run here."""

import ast
import base64
import collections
import io
import json
import re
import statistics
from pathlib import Path

import notebook_check
import pytest
import status
import yaml
from PIL import Image

ROOT = Path(__file__).parents[1]
BOOK = ROOT / "book"
PARTS = {
    "Start": ["train", "explorer"],
    "GLO step by step": ["inputs", "projection", "decoder", "losses", "training", "inference"],
    "Beside other models": ["vae"],
    "Evidence": ["claims", "photographs", "speed", "speed_routes", "robustness", "scaling"],
    "Reference": ["notation", "glossary", "deviations", "faq", "status", "api"],
}
NOTEBOOKS = [path.stem for path in notebook_check.notebooks_of_the_book()]
CHAPTERS = [*PARTS["GLO step by step"], *PARTS["Beside other models"], "scaling"]
IGNORED, REMOVED = "nbval-ignore-output", "remove-cell"
FOLDED_IN_JUPYTER = {"jupyter": {"outputs_hidden": True, "source_hidden": True}, "cellView": "form"}  # the last is Colab's
SOLUTION = re.compile(r'<details class="solution">\n<summary>Solution (\d+)</summary>\n\n(.*?)\n\n</details>', re.DOTALL)
QUESTION = re.compile(
    r'<fieldset class="question">\n<legend>(.+?)</legend>\n(.+?)\n</fieldset>\n'
    r'<details class="answer" data-right="(\w)">\n<summary>Answer</summary>\n\n(.+?)\n\n</details>',
    re.DOTALL,
)
CHOICE = re.compile(r'<label><input type="radio" name="([\w-]+)" value="(\w)"> (\w)\. .+?</label>')


def read(name):
    return json.loads((BOOK / f"{name}.ipynb").read_text("utf8"))


def source(cell):
    return "".join(cell["source"])


def tags(cell):
    return cell["metadata"].get("tags", [])


def markdown(notebook):
    return "\n\n".join(source(cell) for cell in notebook["cells"] if cell["cell_type"] == "markdown")


def shows_an_image(cell):
    return any(kind.startswith("image/") for output in cell["outputs"] for kind in output.get("data", {}))


every_notebook = pytest.mark.parametrize("name", NOTEBOOKS)
every_chapter = pytest.mark.parametrize("name", CHAPTERS)


def test_notebooks_are_executed_without_error_and_as_they_have_to_be_committed(capsys):
    assert notebook_check.main([]) == 0, capsys.readouterr().out


@every_notebook
def test_notebooks_are_small(name):
    assert (BOOK / f"{name}.ipynb").stat().st_size <= 2_000_000


@every_notebook
def test_every_figure_has_a_caption_and_alternative_text(name):
    for cell in status.code_cells(read(name)):
        if shows_an_image(cell):
            shown = cell["metadata"].get("mystnb", {})
            assert len(shown.get("figure", {}).get("caption", "")) > 10, source(cell)
            assert len(shown.get("image", {}).get("alt", "")) > 10, source(cell)


@every_notebook
def test_every_figure_has_a_white_background_of_its_own_so_that_it_can_be_read_in_dark_mode(name):
    for cell in status.code_cells(read(name)):
        for kind, data in ((kind, data) for output in cell["outputs"] for kind, data in output.get("data", {}).items()):
            if kind in ("image/png", "image/jpeg"):
                picture = Image.open(io.BytesIO(base64.b64decode(data)))
                assert min(picture.convert("RGBA").getpixel((0, 0))) >= 250 and "transparency" not in picture.info, source(cell)


@every_notebook
def test_figures_are_small(name):
    sizes = [
        (kind, len(data) * 3 // 4)
        for cell in status.code_cells(read(name))
        for output in cell["outputs"]
        for kind, data in output.get("data", {}).items()
        if kind.startswith("image/")
    ]
    assert sum(size for _, size in sizes) < 1_200_000 and all(size < 200_000 for _, size in sizes)
    assert {kind for kind, _ in sizes} <= {"image/png", "image/jpeg", "image/svg+xml"}


@every_notebook
def test_few_outputs_are_ignored_and_an_assertion_follows_each(name):
    cells = status.code_cells(read(name))
    ignored = [number for number, cell in enumerate(cells) if IGNORED in tags(cell)]
    assert len(ignored) <= len(cells) / 3  # numbers vary with the processor, and the page shows them
    for number in ignored:
        assert "assert " in source_up_to_the_next_compared_cell(cells[number:]), source(cells[number])


def source_up_to_the_next_compared_cell(cells):
    """Return the source of the leading cells whose output is ignored, and of the first cell whose output is compared."""
    end = next((number for number, cell in enumerate(cells) if IGNORED not in tags(cell)), len(cells))
    return "\n".join(source(cell) for cell in cells[: end + 1])


@every_notebook
def test_cells_that_a_reader_sees_are_short(name):
    cells = [cell for cell in status.code_cells(read(name)) if not {REMOVED, "parameters"} & set(tags(cell))]
    lengths = [len(source(cell).strip().splitlines()) for cell in cells]
    assert statistics.median(lengths) <= 7
    assert max(lengths) <= 12


@every_notebook
def test_cells_that_are_removed_from_the_page_are_folded_in_jupyter_and_colab(name):
    for cell in status.code_cells(read(name)):
        if REMOVED in tags(cell):
            assert {key: cell["metadata"].get(key) for key in FOLDED_IN_JUPYTER} == FOLDED_IN_JUPYTER, source(cell)


@every_chapter
def test_a_chapter_begins_with_its_objectives_and_ends_with_what_a_reader_can_check(name):
    notebook = read(name)
    head = next(source(cell) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    assert head.startswith("# ") and "{admonition}" in head
    for words in ("What you will be able to do", "What you should know", "Run time"):
        assert words in head, words
    headings = re.findall(r"^## (.+)$", markdown(notebook), re.MULTILINE)
    assert headings[-4:] == ["Summary", "Check yourself", "Exercises", "References"]
    assert "```{bibliography}" in source(notebook["cells"][-1]) and "docname in docnames" in source(notebook["cells"][-1])


@every_chapter
def test_a_chapter_compares_with_keras_and_pytorch_and_links_functions_and_literature(name):
    text = markdown(read(name))
    assert "{margin} In Keras 3 and PyTorch" in text
    assert "{func}`~glo_lib." in text and ("{cite:t}`" in text or "{cite:p}`" in text)


@every_chapter
def test_a_chapter_has_at_least_four_exercises_each_with_a_folded_solution(name):
    text = markdown(read(name)).partition("\n## Exercises\n")[2]
    exercises, solutions = re.findall(r"^\*\*(\d+)\.", text, re.MULTILINE), [number for number, _ in SOLUTION.findall(text)]
    assert solutions == exercises == [str(number) for number in range(1, len(exercises) + 1)] and len(exercises) >= 4
    assert text.count("<details") == text.count("</details>") == len(solutions)


@every_notebook
def test_the_code_and_the_text_of_a_solution_are_those_of_the_executed_cell_after_it(name):
    cells = read(name)["cells"]
    for cell, following in zip(cells, [*cells[1:], {"cell_type": "none"}], strict=True):
        for number, solution in SOLUTION.findall(source(cell)) if cell["cell_type"] == "markdown" else []:
            problem = problem_of_solution(solution, following)
            assert not problem, f"solution {number}: {problem}"


def problem_of_solution(solution, following):
    """Return what is wrong with the cell after a solution, or nothing."""
    code, text = (re.findall(rf"^```{kind}\n(.*?)\n```$", solution, re.DOTALL | re.MULTILINE) for kind in ("python", "text"))
    if not code:
        return "it shows an output without code" if text else ""
    if len(code) > 1 or len(text) > 1:
        return "it has several blocks of code or output"
    if following["cell_type"] != "code" or REMOVED not in tags(following):
        return f"no code cell with the tag {REMOVED} follows"
    if not (source(following).strip() + "\n").startswith(code[0].strip() + "\n"):
        return "the cell after it begins with other code"
    printed = "".join(notebook_check.texts(following)).strip()
    if printed != "".join(text).strip() and (text or IGNORED not in tags(following)):
        return f"the cell after it prints {printed!r}"
    return ""


def solution_cell(code, printed, *tags):
    return {"cell_type": "code", "metadata": {"tags": [*tags]}, "source": code, "outputs": [{"name": "stdout", "text": printed}]}


@pytest.mark.parametrize(
    ("following", "expected"),
    [
        (solution_cell("print(6)\nassert True", "6\n", REMOVED), ""),
        (solution_cell("print(6)", "7\n", REMOVED), "the cell after it prints '7'"),
        (solution_cell("print(6)", "7\n", REMOVED, IGNORED), "the cell after it prints '7'"),  # what is shown must be an output of the cell
        (solution_cell("print(66)", "6\n", REMOVED), "the cell after it begins with other code"),
        (solution_cell("print(6)", "6\n"), "no code cell with the tag remove-cell follows"),
        ({"cell_type": "markdown", "metadata": {}, "source": "print(6)"}, "no code cell with the tag remove-cell follows"),
    ],
)
def test_a_solution_that_differs_from_its_cell_is_found(following, expected):
    assert problem_of_solution("As follows.\n\n```python\nprint(6)\n```\n\nIt prints\n\n```text\n6\n```", following) == expected


def test_a_solution_may_leave_out_an_output_that_varies_but_no_other():
    assert problem_of_solution("```python\nprint(6)\n```", solution_cell("print(6)", "7\n", REMOVED, IGNORED)) == ""
    assert problem_of_solution("```python\nprint(6)\n```", solution_cell("print(6)", "6\n", REMOVED)) == "the cell after it prints '6'"
    assert problem_of_solution("```text\n6\n```", solution_cell("print(6)", "6\n", REMOVED)) == "it shows an output without code"
    assert problem_of_solution("Words alone.", {"cell_type": "markdown"}) == ""


@every_chapter
def test_a_chapter_has_at_least_four_questions(name):
    between = markdown(read(name)).partition("\n## Check yourself\n")[2].partition("\n## Exercises\n")[0]
    assert len(QUESTION.findall(between)) == between.count("<fieldset") == between.count("<details") >= 4


@every_notebook
def test_every_question_has_lettered_choices_and_one_right_answer(name):
    text = markdown(read(name))
    questions = QUESTION.findall(text)
    assert len(questions) == text.count('class="question"') == text.count('class="answer"')
    for number, (legend, choices, right, answer) in enumerate(questions, 1):
        assert legend.startswith(f"{number}. "), legend
        groups, values, letters = zip(*CHOICE.findall(choices), strict=True)
        assert len(values) == choices.count("<label>") >= 2 and len(set(groups)) == 1, legend
        assert values == letters == tuple("abcdef"[: len(values)]), (
            legend
        )  # Jupyter shows no radio buttons, so the letters stand in the text
        assert right in values and answer.startswith(f"**{right}.** ") and len(answer) > 20, legend


def test_no_two_questions_of_the_book_share_a_group_of_radio_buttons():
    groups = [CHOICE.search(choices).group(1) for name in NOTEBOOKS for _, choices, _, _ in QUESTION.findall(markdown(read(name)))]
    assert len(groups) == len(set(groups))


def test_the_table_of_contents_lists_every_page_in_its_part():
    toc = yaml.safe_load((BOOK / "_toc.yml").read_text())
    assert {part["caption"]: [entry["file"] for entry in part["chapters"]] for part in toc["parts"]} == PARTS
    pages = [path.stem for path in [*BOOK.glob("*.md"), *BOOK.glob("*.ipynb")] if not path.stem.startswith("out")]
    assert sorted([toc["root"], *(name for names in PARTS.values() for name in names)]) == sorted(pages)


def test_the_first_page_links_to_every_page_to_the_post_and_to_the_paper():
    text = (BOOK / "index.md").read_text("utf8")
    assert set(re.findall(r"\{doc\}`(\w+)`", text)) >= {name for names in PARTS.values() for name in names}
    (address,) = re.findall(r"url += \{(.+)\}", (BOOK / "references.d/post.bib").read_text("utf8"))
    assert address in text and "{cite:t}`royer2017`" in text and "{cite:p}`bojanowski2018`" in text


@every_chapter
def test_a_chapter_cites_the_post_where_it_first_mentions_it(name):
    text = markdown(read(name))
    mention = re.search(r"\b[Tt]he post\b", text)
    assert mention is None or "royer2017" in text[: mention.end() + 60]


def test_bibliographies_are_listed_and_no_key_occurs_twice():
    files = sorted((BOOK / "references.d").glob("*.bib"))
    assert config()["bibtex_bibfiles"] == [path.relative_to(BOOK).as_posix() for path in files]
    keys = [key for path in files for key in re.findall(r"^@\w+\{([^,]+),", path.read_text("utf8"), re.MULTILINE)]
    assert keys and len(keys) == len(set(keys))


def test_images_in_pages_have_alternative_text():
    for page in BOOK.glob("*.md"):
        assert not re.findall(r"!\[\s*\]\(", page.read_text("utf8")), page.name


def test_every_module_of_the_library_is_on_one_api_page_and_every_api_page_in_the_contents():
    pages = {f"api/{path.stem}": path.read_text("utf8") for path in (BOOK / "api").glob("*.md")}
    listed = re.findall(r"^glo_lib\.([\w.]+)$", "\n".join(pages.values()), re.MULTILINE)
    paths = [path.relative_to(ROOT / "glo_lib") for path in (ROOT / "glo_lib").rglob("*.py") if path.stem not in ("__main__", "__init__")]
    modules = {".".join(path.with_suffix("").parts) for path in paths}
    packages = {"codes", "training", "inference", "inference.priors", "inference.web"}  # listed themselves, because they re-export names
    assert len(listed) == len(set(listed)) and set(listed) == modules | packages
    assert set(re.findall(r"file: (api/\w+)", (BOOK / "_toc.yml").read_text())) == set(pages)


def config():
    return yaml.safe_load((ROOT / "_config.yml").read_text())


def test_the_address_of_the_repository_occurs_only_in_config_yml_and_in_the_first_cells_that_are_written_from_it():
    address = config()["repository"]["url"]
    name = address.removeprefix("https://github.com/")
    assert name != address and name.count("/") == 1
    folders = ("", "book", "book/params", "book/references.d", "book/_extensions", "benchmarks", ".ci")
    files = [path for folder in folders for path in (ROOT / folder).iterdir() if path.is_file() and not path.name.startswith("out")]
    files += [path for folder in ("glo_lib", "tests") for path in (ROOT / folder).rglob("*") if path.is_file()]
    assert len(files) > 50
    named = {path.name: path.read_bytes().count(name.encode()) for path in files}
    assert {file: count for file, count in named.items() if count} == {"_config.yml": 1, **{f"{name}.ipynb": 1 for name in NOTEBOOKS}}


def test_the_book_loads_nothing_from_other_servers():
    sphinx = config()["sphinx"]["config"]
    assert "sphinx_thebe" not in sphinx["extensions"] and sphinx["nb_ipywidgets_js"] == {}
    script = BOOK / "extra" / sphinx["mathjax_path"].removeprefix("../")  # for builds without Node.js
    assert sphinx["html_extra_path"] == ["extra"] and script.is_file()
    assert "Apache License" in (script.parent / "LICENSE").read_text()
    assert len(list((script.parent / "output/chtml/fonts/woff-v2").glob("*.woff"))) > 20


def measured_means(name):
    """Return every mean of a benchmark with its deviation; distances of the judges times 1000, as the tables show them."""
    results = json.loads((ROOT / "benchmarks" / name).read_text("utf8"))
    for means, deviations in zip(results["mean"], results["deviation"], strict=True):
        for measure, mean in means.items():
            factor = 1000 if measure.startswith("kernel") else 1
            if isinstance(mean, float):
                yield factor * mean, factor * deviations[measure]


def measured_on_photographs():
    """Return every mean of the benchmark on photographs with its deviation."""
    of_rows = collections.defaultdict(list)
    for model in json.loads((ROOT / "benchmarks/photographs.json").read_text("utf8"))["models"]:
        for measure, value in model["numbers"].items():
            of_rows[model["row"], measure].append(value)
    return [(statistics.mean(values), statistics.stdev(values)) for values in of_rows.values() if len(values) > 1]


@pytest.mark.parametrize("page", ["claims.md", "vae.ipynb"])
def test_every_mean_with_a_deviation_was_measured_by_the_benchmark(page):
    measured = [*measured_means("claims.json"), *measured_means("converged.json"), *measured_on_photographs()]
    text = markdown(read("vae")) if page == "vae.ipynb" else (BOOK / page).read_text("utf8")
    pairs = re.findall(r"(\d+(?:\.\d+)?)\s±\s(\d+(?:\.\d+)?)", text)
    assert len(pairs) > 20
    for pair in pairs:
        places = [len(number.partition(".")[2]) for number in pair]
        rounded = {(f"{mean:.{places[0]}f}", f"{deviation:.{places[1]}f}") for mean, deviation in measured}
        assert pair in rounded, pair


def test_the_numbers_on_photographs_stand_at_their_models():
    """In the order of the text, because a number of another model would be a number of the benchmark too."""
    models = json.loads((ROOT / "benchmarks/photographs.json").read_text("utf8"))["models"]
    networks = ("efficientnet_lite0", "face_recogniser")
    with_deviation = [
        *((row, "psnr_training") for row in ("mse", "vae")),
        *((row, "psnr_held_out") for row in ("mse", "vae", "vae_searched")),
        *((row, f"{network} held_out") for network in networks for row in ("mse", "vae_searched")),
        *((row, f"{network} samples") for network in networks for row in ("mse", "vae", "pca")),
        *(("phases", measure) for measure in ("efficientnet_lite0 held_out", "face_recogniser held_out", "face_recogniser samples")),
        *(("paper", f"psnr_{kind}") for kind in ("training", "held_out")),
    ]
    expected = []
    for row, measure in with_deviation:
        values, digits = [model["numbers"][measure] for model in models if model["row"] == row], 2 if "psnr" in measure else 1
        expected.append((f"{statistics.mean(values):.{digits}f}", f"{statistics.stdev(values):.{digits}f}"))
    section = (BOOK / "claims.md").read_text("utf8").split("## On photographs")[1].split("\n## ")[0]
    assert re.findall(r"(\d+(?:\.\d+)?)\s±\s(\d+(?:\.\d+)?)", section) == expected


def test_the_single_runs_and_the_searched_codes_of_the_claims_are_those_of_the_benchmarks():
    runs = [
        (name, model["row"], model["numbers"])
        for name in ("photographs", "photographs_600", "photographs_1500")
        for model in json.loads((ROOT / f"benchmarks/{name}.json").read_text("utf8"))["models"]
        if model["seed"] == 0
    ]
    (steps,) = [numbers for _, row, numbers in runs if row == "mse_128"]
    mse, phases = (
        next(numbers for name, row, numbers in runs if (name, row) == ("photographs_1500", asked)) for asked in ("mse", "phases")
    )
    (sooner,) = [numbers for name, _, numbers in runs if name == "photographs_600"]
    training, held_out, samples = (f"face_recogniser {kind}" for kind in ("training", "held_out", "samples"))
    by_epochs = json.loads((ROOT / "benchmarks/converged.json").read_text("utf8"))["runs"]
    searched = [
        statistics.mean(row["psnr_held_out_by_epochs"]["20"] for run in by_epochs for row in run if row["model"] == model)
        for model in ("VAE, searched codes", "VAE, learned noise, searched codes")
    ]
    said = [
        f"the book's settings reach {steps['psnr_training']:.1f} dB on training photographs and {steps['psnr_held_out']:.1f} dB for new",
        f"of new people at {phases[held_out]:.1f}, where those of the squared error alone are at {mse[held_out]:.1f}",
        f"samples at {phases[samples]:.1f} instead of {mse[samples]:.1f}",
        f"to {sooner[training]:.1f}, where 1,500 s of the squared error alone bring them to {mse[training]:.1f}",
        f"the VAE has {searched[0]:.1f} dB, and a VAE with learned noise {searched[1]:.1f} dB",
    ]
    text = " ".join((BOOK / "claims.md").read_text("utf8").split())
    assert [sentence for sentence in said if sentence not in text] == []


def test_the_curves_over_the_epochs_are_those_of_the_benchmark():
    (cell,) = [cell for cell in read("vae")["cells"] if "by_epochs = {" in source(cell)]
    curves = ast.literal_eval(source(cell).split("by_epochs = ")[1].split("\nshow_")[0])
    runs = json.loads((ROOT / "benchmarks/converged.json").read_text())["runs"]
    for name, curve in curves.items():
        of_seeds = [next(row["psnr_held_out_by_epochs"] for row in run if row["model"] == name) for run in runs]
        shared = set.intersection(*map(set, of_seeds))
        assert curve == {int(epochs): round(statistics.mean(values[epochs] for values in of_seeds), 2) for epochs in shared}, name
