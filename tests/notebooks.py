"""What the tests know about the notebooks: where they are, which module they make, what their exported cells say."""
import re
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


def all_notebooks() -> list[Notebook]:
    paths = sorted(p for p in NBS.rglob("*.ipynb") if not any(part.startswith((".", "_")) for part in p.relative_to(NBS).parts))
    return [Notebook(p, tuple(nbformat.read(p, as_version=4).cells)) for p in paths]
