"""Interleaved timing, and workers that keep another library in a process of its own."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable


def interleave(contestants: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Return each contestant's median over the rounds; in a round each of them runs once.

    Args:
        contestants: by name, a function that does its work, waits for the result and returns the
            seconds it took.
        rounds: how often each runs, after two runs that are not counted.
    """
    for run in contestants.values():
        run()
        run()
    seconds = {name: [] for name in contestants}
    for i in range(rounds):
        # Every other round backwards, so that nobody always follows the same neighbour.
        for name in list(contestants)[:: 1 if i % 2 == 0 else -1]:
            seconds[name].append(contestants[name]())
    return {name: statistics.median(times) for name, times in seconds.items()}


class Worker:
    """A process that answers requests, one line of JSON each; used as a context manager."""

    def __init__(self, module: str, *arguments: str, **environment: str):
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()  # the worker's loop ends
        self._process.wait()

    def ask(self, function: str, **arguments):
        """Return what the worker's function of this name returns."""
        self._process.stdin.write(json.dumps([function, arguments]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the worker stopped while it ran {function}({arguments}).")
        return json.loads(answer)

    def asking(self, function: str, **arguments) -> Callable:
        """Return a function without arguments that asks this."""
        return lambda: self.ask(function, **arguments)


def serve(functions: dict[str, Callable]) -> None:
    """Answer the requests of a `Worker` until it is closed."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    for line in sys.stdin:
        function, arguments = json.loads(line)
        print(json.dumps(functions[function](**arguments)), file=answers, flush=True)
