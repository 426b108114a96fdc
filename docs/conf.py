"""Sphinx settings of the documentation site; `build.py` lays out the pages, nothing is executed."""
from configparser import ConfigParser
from pathlib import Path

settings = ConfigParser(delimiters=["="])
settings.read(Path(__file__).resolve().parents[1] / "settings.ini", encoding="utf-8")
package = settings["DEFAULT"]

project = html_title = package["title"]
author = package["author"]
copyright = package["copyright"].replace("%(author)s", author)
version = release = package["version"]

extensions = ["myst_nb"]
root_doc = "index"
nb_execution_mode = "off"  # pages show the outputs that are stored in the notebooks
nb_merge_streams = True
nb_render_markdown_format = "gfm"  # tables in the outputs of cells
nb_code_prompt_show = "Source"
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # symbols are headed at level 3 wherever they stand

html_theme = "sphinx_book_theme"
html_static_path, html_css_files = ["_static"], ["site.css"]
html_copy_source = html_show_sourcelink = False
html_theme_options = {
    "repository_url": package["git_url"],
    "use_repository_button": True,
    "use_download_button": False,
    "show_toc_level": 2,
    "home_page_in_toc": True,
}
