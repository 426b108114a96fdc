"""Builds the documentation site: `python docs/build.py` writes docs/_build/html from notebooks, tables and run folders."""
import importlib
import inspect
import re
import shutil
import sys
from functools import cached_property
from pathlib import Path

from execnb.nbio import mk_cell, read_nb, write_nb
from fastcore.docments import MarkdownRenderer
from nbdev.process import NBProcessor
from sphinx.cmd.build import main as sphinx_build

from sportsml.schema import TABLES, data_dictionary

DOCS = Path(__file__).resolve().parent
ROOT, PAGES = DOCS.parent, DOCS / "_build" / "pages"  # the pages lie as in the repository, so relative links hold
sys.path.insert(0, str(DOCS))
from conf import package  # noqa: E402

TOPICS = {  # caption of the table of contents -> its pages
    "Results": ["outputs3/INDEX.md", "outputs3/run_*/ANALYSIS_*.md"],
    "Tutorials": ["nbs/tutorials/*.ipynb"],
    "Shared": ["nbs/[0-9]*.ipynb", "data_dictionary.md"],
    "Ratings": ["nbs/ratings/*.ipynb"],
    "NBA": ["nbs/nba/*.ipynb"],
    "MLB": ["nbs/mlb/*.ipynb"],
    "Analyses": ["nbs/run_*.ipynb", "nbs/analyses/**/*.ipynb"],
}


def public_methods(kind: type) -> dict:
    """Returns the public methods and properties that a class has from this package, its own and inherited ones, by name."""
    ours = [base for base in reversed(kind.__mro__) if base.__module__.split(".")[0] == package["lib_name"]]
    names = dict.fromkeys(n for base in ours for n, part in vars(base).items() if n[0] != "_" and (
        inspect.isroutine(part) or isinstance(part, property)))
    return {n: inspect.getattr_static(kind, n) for n in names}


def doc_cell(level: str, name: str, part: object):
    """Renders the docstring of a property or exception, and the signature with docments of anything else."""
    if isinstance(part, property | cached_property) or isinstance(part, type) and issubclass(part, Exception):
        text = f"*{inspect.getdoc(part)}*"
    else:
        part = part.__func__ if isinstance(part, staticmethod | classmethod) else part
        kind, own = ("class", name) if isinstance(part, type) else ("def", name.split(".")[-1])
        text = MarkdownRenderer(part)._repr_markdown_().replace(f"def {part.__name__}", f"{kind} {own}", 1)
    return mk_cell(f"{level} {name}\n\n{text}", "markdown")


def public_docs(source: str, module: str) -> list:
    """Renders the public functions and classes that a cell defines; of the classes, the public methods and properties, too."""
    found, cells = importlib.import_module(module), []
    for name in re.findall(r"^(?:def|class) ([a-zA-Z]\w*)", source, flags=re.M):
        thing = getattr(found, name)
        methods = public_methods(thing) if isinstance(thing, type) and not issubclass(thing, Exception) else {}
        cells += [doc_cell("###", name, thing), *(doc_cell("####", f"{name}.{n}", part) for n, part in methods.items())]
    return cells


def documented(cell, module: str) -> list:
    """Turns a cell into what a reader wants: hidden cells and exported imports go, other exports get docs and fold away."""
    kinds = cell.directives_
    if "hide" in kinds or "default_exp" in kinds or ("export" in kinds and re.match(r"(import|from) ", cell.source)):
        return []
    if "export" not in kinds:
        return [cell]
    cell.metadata["tags"] = ["hide-input"]
    return [*public_docs(cell.source, module), cell]


def with_links(text: str, folder: Path) -> str:
    """Points links to what is no page of the site (settings, folders, code) to the repository."""
    def point(match):
        place = (folder / match[1]).resolve().relative_to(ROOT)
        is_page = place.parts[0] + place.suffix in {"nbs.ipynb", "outputs3.md", "outputs3.png"}
        return match[0] if is_page else f"]({package['git_url']}/blob/{package['branch']}/{place.as_posix()})"
    return re.sub(r"\]\((?!\w+:|#)([^)\s#]+)\)", point, text)


def page_from_notebook(notebook: Path) -> None:
    """Writes a notebook's page, with its stored outputs."""
    is_index = notebook.name == "index.ipynb"  # the first page, and README in the root
    page = PAGES / ("index.ipynb" if is_index else notebook.relative_to(ROOT))
    module = re.search(r"#\|\s*default_exp ([\w.]+)", notebook.read_text(encoding="utf-8"))
    nb = NBProcessor(notebook).nb  # takes the directives off the cells
    nb.cells[0].source = re.sub(r"^- \w+: .*\n?", "", nb.cells[0].source, flags=re.M)  # nbdev's front matter
    nb.cells = [out for cell in nb.cells for out in documented(cell, f"sportsml.{module[1]}" if module else "")]
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = with_links(cell.source, ROOT if is_index else notebook.parent)
    page.parent.mkdir(parents=True, exist_ok=True)
    write_nb(nb, page)


def data_dictionary_page() -> str:
    """Renders every table of the schema as a section with one row a column."""
    parts = ["# Data dictionary\n\nEvery table of the warehouse, generated from `sportsml.schema`.\n"]
    for name, columns in data_dictionary().groupby("table", sort=False):
        rows = [columns.columns[1:], ["---"] * (columns.shape[1] - 1), *columns.iloc[:, 1:].to_numpy()]
        table = "\n".join("| " + " | ".join(str(v).replace("|", "\\|") for v in row) + " |" for row in rows)
        parts.append(f"## {name}\n\n{TABLES[name].meaning}\n\n{table}\n")
    return "\n".join(parts)


def entry(page: Path) -> str:
    """Names a page in the table of contents; an analysis of a run gets the run's number before its title."""
    place = page.relative_to(PAGES).with_suffix("").as_posix()
    run = re.search(r"run_(\d+)/", place)
    return f"{run[1]} {re.search('^# (.*)', page.read_text(encoding='utf-8'), flags=re.M)[1]} <{place}>" if run else place


def lay_out_pages() -> None:
    """Fills docs/_build/pages and puts the table of contents at the foot of the first page."""
    shutil.rmtree(PAGES, ignore_errors=True)
    for notebook in (p for p in (ROOT / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts):
        page_from_notebook(notebook)
    for file in (f for kind in ("INDEX.md", "run_*/ANALYSIS_*.md", "run_*/**/*.png") for f in ROOT.glob(f"outputs3/{kind}")):
        page = PAGES / file.relative_to(ROOT)
        page.parent.mkdir(parents=True, exist_ok=True)
        is_text = page.suffix == ".md"
        page.write_bytes(with_links(file.read_text("utf-8"), file.parent).encode() if is_text else file.read_bytes())
    (PAGES / "data_dictionary.md").write_text(data_dictionary_page(), encoding="utf-8")
    trees = []
    for caption, patterns in TOPICS.items():
        pages = [entry(page) for pattern in patterns for page in sorted(PAGES.glob(pattern))]
        trees.append(f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(pages) + "\n```" if pages else "")
    first = read_nb(PAGES / "index.ipynb")
    first.cells.append(mk_cell("\n\n".join(trees), "markdown"))
    write_nb(first, PAGES / "index.ipynb")


if __name__ == "__main__":
    lay_out_pages()
    folders = [str(DOCS), "-d", str(DOCS / "_build" / "doctrees"), str(PAGES), str(DOCS / "_build" / "html")]
    sys.exit(sphinx_build(["-q", "-W", "--keep-going", "-c", *folders]))  # a warning is an error
