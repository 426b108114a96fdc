"""The wheel holds the whole package and works outside the tree."""
import subprocess
import sys
import zipfile

from notebooks import all_notebooks, project_files


def test_wheel_is_built_and_imported_outside_the_tree(root, tmp_path):
    for name in project_files("sportsml", "settings.ini", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / name).write_bytes((root / name).read_bytes())
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, tmp_path / "src"], check=True,
                   capture_output=True)
    wheel = next(tmp_path.glob("*.whl"))
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    modules = [f"sportsml.{n.module}" for n in all_notebooks() if n.module]
    script = (f"import sys; sys.path.insert(0, {str(site)!r})\nimport importlib\n"
              f"for m in {modules}: assert importlib.import_module(m).__file__.startswith({str(site)!r}), m\n"
              "from sportsml.nba.franchises import franchises\nassert len(set(franchises()['team_id'])) == 30\n")
    subprocess.run([sys.executable, "-I", "-c", script], check=True, cwd=tmp_path)
