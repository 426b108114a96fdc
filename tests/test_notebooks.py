"""Every notebook of the library runs from top to bottom, in a process of its own, as `nbdev_test` runs it."""
import os
import subprocess
import sys

import pytest
from notebooks import all_notebooks

RUNNABLE = [n for n in all_notebooks() if not n.is_template]


@pytest.mark.parametrize("notebook", RUNNABLE, ids=lambda n: n.name)
def test_notebook_runs(notebook, root):
    command = "from nbdev.test import nbdev_test; nbdev_test(n_workers=0, do_print=True)"
    done = subprocess.run([sys.executable, "-c", command.replace("n_workers", f"path={str(notebook.path)!r}, n_workers")], cwd=root,
                          capture_output=True, text=True, env=os.environ | {"CI": "1"})
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
