"""The shape of the project: one notebook a module, one direction of imports, short exported cells, clean outputs."""
import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from notebooks import NBS, ROOT, all_notebooks, project_files

NOTEBOOKS = all_notebooks()
LIBRARY = [n for n in NOTEBOOKS if n.module]
CELL_LINES = 40
OUTPUT_BYTES = 600_000  # of one notebook, pictures as base64


def test_every_module_has_exactly_one_notebook():
    modules = [n.module for n in LIBRARY]
    assert len(set(modules)) == len(modules), sorted(m for m in modules if modules.count(m) > 1)
    there = {p.relative_to(ROOT / "sportsml").with_suffix("").as_posix().replace("/", ".") for p in (ROOT / "sportsml").rglob("*.py")}
    assert {m for m in there if not m.endswith(("__init__", "_modidx"))} == set(modules)


def test_exported_code_has_a_module_to_go_to():
    assert [n.name for n in NOTEBOOKS if n.exported and not n.module] == []


@pytest.mark.parametrize("notebook", LIBRARY, ids=lambda n: n.name)
def test_form_of_a_library_notebook(notebook):
    first = notebook.cells[0].source
    assert re.match(r"# .+\n\n> .+", first), "a notebook opens with a title and a > line"
    long = {s.splitlines()[1]: len(s.splitlines()) for s in notebook.exported if len(s.splitlines()) > CELL_LINES}
    assert not long, f"exported cells over {CELL_LINES} lines: {long}"
    visible = [c for c in notebook.code if not c.source.startswith(("#| export", "#| default_exp", "#| hide"))]
    assert any("assert" in c.source or "test_" in c.source for c in visible), "no visible example asserts anything"


def imported_modules(module: str) -> set[str]:
    """Modules of the package that a module imports anywhere in its code, as absolute names without `sportsml.`."""
    path = ROOT / "sportsml" / (module.replace(".", "/") + ".py")
    package = ["sportsml", *module.split(".")[:-1]]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{base}.{a.name}" for a in node.names} | {base}
    known = {n.module for n in LIBRARY}
    return {m for f in found if (m := f.removeprefix("sportsml.")) in known}


def may_import(importer, imported) -> bool:
    """Shared notebooks look down, ratings at shared ones below the runs, nba and mlb at both; and all at lower numbers of their own."""
    a_folder, _, a = importer.name.rpartition("/")
    b_folder, _, b = imported.name.rpartition("/")
    a, b = (re.match("[0-9]*", name)[0].ljust(3, "0") for name in (a, b))  # 021 lies between 02 and 03
    if a_folder == b_folder:
        return b < a
    shared_for_sports = b_folder == "" and b < "140"
    return {"ratings": shared_for_sports, "nba": shared_for_sports or b_folder == "ratings",
            "mlb": shared_for_sports or b_folder == "ratings"}.get(a_folder, False)


@pytest.mark.parametrize("notebook", LIBRARY, ids=lambda n: n.name)
def test_imports_go_one_way(notebook):
    by_module = {n.module: n for n in LIBRARY}
    wrong = [m for m in imported_modules(notebook.module) - {notebook.module} if not may_import(notebook, by_module[m])]
    assert not wrong, f"{notebook.name} may not import {wrong}"


def test_layer_rule_can_fail():
    by_name = {n.name: n for n in LIBRARY}
    assert not may_import(by_name["05_splits"], by_name["06_metrics"])
    assert not may_import(by_name["ratings/00_elo"], by_name["nba/02_results"])
    assert not may_import(by_name["nba/11_teams"], by_name["14_runs"])
    assert may_import(by_name["nba/13_forecasts"], by_name["ratings/02_srs"])
    assert may_import(by_name["nba/021_playbyplay_v3"], by_name["nba/02_results"])
    assert not may_import(by_name["nba/12_season"], by_name["nba/121_odds"])


def readme_from_index(folder):
    """Renders README as the Makefile does."""
    command = ["jupyter-nbconvert", "--to", "markdown", "--execute", str(NBS / "index.ipynb"), "--output-dir", str(folder),
               "--output", "README", "--TagRemovePreprocessor.enabled=True", "--TagRemovePreprocessor.remove_input_tags=remove-input"]
    subprocess.run([Path(sys.executable).parent / command[0], *command[1:]], check=True, capture_output=True)
    return folder / "README.md"


def test_links_of_the_readme_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text())
    assert links and not [link for link in links if "://" not in link and not (ROOT / link).exists()]


TEMPLATES = [n for n in NOTEBOOKS if n.name.startswith("analyses/")]


@pytest.mark.parametrize("notebook", TEMPLATES, ids=lambda n: n.name)
def test_form_of_a_template(notebook):
    assert notebook.is_template, "the title cell lacks `- skip_exec: true`"
    assert sum("parameters" in c.metadata.get("tags", []) for c in notebook.code) == 1
    tree = ast.parse("\n".join(re.sub(r"^[%!].*$", "", c.source, flags=re.M) for c in notebook.code))
    assert not [n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)], "templates define nothing"
    assert not any(c.get("outputs") for c in notebook.code), "templates carry no outputs"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda n: n.name)
def test_stored_outputs_are_small_and_say_nothing_of_a_machine(notebook):
    outputs = [o for c in notebook.code for o in c.get("outputs", [])]
    assert not any(o.output_type == "error" for o in outputs)
    assert sum(len(str(o)) for o in outputs) < OUTPUT_BYTES
    text = "\n".join(str(o.get("text", "")) + str(o.get("data", {}).get("text/plain", "")) for o in outputs)
    sources = "\n".join(c.source for c in notebook.cells)
    assert not re.search(r"(?<![\w.])/(?:home|root|tmp|work|Users)/\w", text + sources)
    assert "Warning" not in text, "a stored output shows a warning"


def test_clean_and_export_leave_the_tree_unchanged(tmp_path):
    """nbdev_clean and nbdev_export on a copy of the tree change no file: notebooks and package agree."""
    for name in project_files():
        if not name.startswith("outputs3/"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes((ROOT / name).read_bytes())

    def content() -> dict:
        files = (p for p in tmp_path.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
        return {p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in files}

    before = content()
    for command in ("from nbdev.clean import nbdev_clean; nbdev_clean()", "from nbdev.doclinks import nbdev_export; nbdev_export()"):
        subprocess.run([sys.executable, "-c", command], cwd=tmp_path, check=True, capture_output=True)
    after = content()
    assert sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k)) == []


def test_readme_comes_from_the_index_notebook(tmp_path):
    """`make readme` would change nothing."""
    made = readme_from_index(tmp_path)
    assert made.read_text() == (ROOT / "README.md").read_text(), "README.md is not what nbs/index.ipynb gives; run `make readme`"
