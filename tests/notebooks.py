"""What the tests know about the notebooks: where they are, which module they make, what their exported cells say."""
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
NBS = ROOT / "nbs"


@dataclass(frozen=True)
class Notebook:
    """A notebook of nbs/ with the few things the structure tests ask for."""

    path: Path
    cells: tuple

    @property
    def name(self) -> str:
        return self.path.relative_to(NBS).with_suffix("").as_posix()

    @property
    def module(self) -> str | None:
        """The module it exports to, e.g. "nba.teams"."""
        found = [m[1] for c in self.code if (m := re.search(r"^#\|\s*default_exp\s+(\S+)", c.source, re.M))]
        assert len(found) <= 1, f"{self.name} has {len(found)} default_exp cells"
        return found[0] if found else None

    @property
    def code(self) -> list:
        return [c for c in self.cells if c.cell_type == "code"]

    @property
    def exported(self) -> list[str]:
        return [c.source for c in self.code if re.match(r"#\|\s*export\b", c.source)]

    @property
    def is_template(self) -> bool:
        return any("skip_exec: true" in c.source for c in self.cells if c.cell_type != "code")


def project_files(*under: str) -> list[str]:
    """Lists the project's own files, as git sees them; without git, everything but hidden, built and ignored folders."""
    try:
        command = ["git", "ls-files", "-co", "--exclude-standard", *under]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        skipped = {"build", "dist", "raw", "sim", "warehouse", "_build", "_proc", "outputs3", "__pycache__"}
        places = (p.relative_to(ROOT) for p in ROOT.rglob("*") if p.is_file())
        listed = [p.as_posix() for p in places if not any(part.startswith(".") or part in skipped or part.endswith(".egg-info")
                                                          for part in p.parts) and (not under or p.as_posix().startswith(under))]
    return [name for name in listed if (ROOT / name).is_file()]


def all_notebooks() -> list[Notebook]:
    paths = sorted(p for p in NBS.rglob("*.ipynb") if not any(part.startswith((".", "_")) for part in p.relative_to(NBS).parts))
    return [Notebook(p, tuple(nbformat.read(p, as_version=4).cells)) for p in paths]
