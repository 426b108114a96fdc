"""Kernels that are forked from a process with the libraries loaded."""
import os
import signal
import sys
import time

import pytest

from sportsml.kernels import WarmKernels

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")


@pytest.fixture
def warm():
    source = WarmKernels(["json"])
    yield source
    source.close()


def start(warm, tmp_path):
    """Starts a kernel that waits for a client."""
    kernel = warm.start(["-f", str(tmp_path / "connection.json")], dict(os.environ), str(tmp_path))
    end = time.monotonic() + 60
    while not (tmp_path / "connection.json").exists():
        assert time.monotonic() < end and kernel.poll() is None
        time.sleep(0.02)
    return kernel


def until_ended(kernel):
    """Returns the exit code."""
    end = time.monotonic() + 60
    while (code := kernel.poll()) is None:
        assert time.monotonic() < end
        time.sleep(0.02)
    return code


def test_a_kernel_runs_where_it_is_asked_to_and_a_killed_one_says_so(warm, tmp_path):
    kernel = start(warm, tmp_path)
    assert os.getsid(kernel.pid) == kernel.pid and os.readlink(f"/proc/{kernel.pid}/cwd") == str(tmp_path)
    kernel.kill()
    assert until_ended(kernel) == kernel.wait() == -signal.SIGKILL
    kernel.kill()  # of a kernel that is gone: nothing happens


def test_closing_ends_the_kernels_and_later_ones_start_as_usual(tmp_path):
    warm = WarmKernels(["json"])
    kernel = start(warm, tmp_path)
    warm.close()
    assert kernel.poll() == -signal.SIGKILL
    end = time.monotonic() + 60
    while os.path.exists(f"/proc/{kernel.pid}/cwd"):  # a process takes a moment to go
        assert time.monotonic() < end
        time.sleep(0.02)
    assert warm.start([], {}, None) is None


def test_a_process_with_threads_does_not_fork():
    warm = WarmKernels(["polars"])
    assert warm.start(["--version"], dict(os.environ), None) is None
    warm.close()


def test_a_module_that_is_not_there_is_left_to_the_kernel():
    warm = WarmKernels(["no_such_module"])
    kernel = warm.start(["--version"], dict(os.environ), None)
    assert until_ended(kernel) == 0
    warm.close()
