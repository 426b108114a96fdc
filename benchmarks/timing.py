"""The clock that the benchmarks share."""
import time
from collections.abc import Callable


def best_of(call: Callable, runs: int) -> tuple[float, object]:  # seconds, result
    "Returns the shortest time of several runs and what the last one returned."
    seconds = []
    for _ in range(runs):
        begin = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - begin)
    return min(seconds), result
