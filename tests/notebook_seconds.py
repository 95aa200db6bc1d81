"""A pytest plugin for the runs of the notebooks: a table of the seconds that each one took."""

from collections import defaultdict

seconds = defaultdict(float)
failed = defaultdict(int)


def pytest_runtest_logreport(report):
    notebook = report.nodeid.split("::")[0]
    seconds[notebook] += report.duration
    failed[notebook] += report.failed


def pytest_terminal_summary(terminalreporter):
    terminalreporter.section("seconds per notebook")
    for notebook, duration in sorted(seconds.items()):
        verdict = f"{failed[notebook]} failed" if failed[notebook] else "passed"
        terminalreporter.write_line(f"{notebook:<45} {duration:7.1f}  {verdict}")
    terminalreporter.write_line(f"{'together':<45} {sum(seconds.values()):7.1f}")
