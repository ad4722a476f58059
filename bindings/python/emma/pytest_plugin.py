"""pytest's plugin: ``--emma`` prints each test's peak of memory, ``@pytest.mark.limit_memory("24 MB")`` fails a
test that takes more than that at one time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generator

import pytest

import emma

if TYPE_CHECKING:
    from pluggy import Result

# Of pytest 7. An older one may load this plugin though nobody asks for it.
_PEAK = pytest.StashKey[int]() if hasattr(pytest, "StashKey") else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("emma").addoption("--emma", action="store_true", help="print each test's peak of Python's memory")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "limit_memory(size): fail the test if Python's memory grows by more than this")


def _limit_of(item: pytest.Item) -> int | None:
    marker = item.get_closest_marker("limit_memory")
    if marker is None:
        return None
    if len(marker.args) != 1 or marker.kwargs:
        raise pytest.UsageError(f"{item.nodeid}: limit_memory takes one size, as in limit_memory(\"24 MB\")")
    try:
        return emma.parse_size(marker.args[0])
    except (TypeError, ValueError) as error:
        raise pytest.UsageError(f"{item.nodeid}: limit_memory: {error}") from None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        _limit_of(item)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Result[None], None]:
    limit = _limit_of(item)
    if limit is None and not item.config.getoption("--emma"):
        yield
        return
    if _PEAK is None:
        raise pytest.UsageError(f"emma's plugin needs pytest 7, and this is {pytest.__version__}")
    try:
        emma.install()
    except RuntimeError as error:
        pytest.fail(f"emma cannot measure this test: {error}", pytrace=False)
    with emma.measure() as measured:
        outcome = yield
    assert measured.peak is not None  # its block has ended
    item.stash[_PEAK] = measured.peak
    if limit is not None and measured.peak > limit and outcome.excinfo is None:
        taken, most = emma.format_size(measured.peak), emma.format_size(limit)
        if taken == most:
            taken, most = f"{measured.peak} bytes", f"{limit} bytes"
        outcome.force_exception(pytest.fail.Exception(
            f"the test took {taken} of memory, above its limit of {most}", pytrace=False))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item,
                              call: pytest.CallInfo[None]) -> Generator[None, Result[pytest.TestReport], None]:
    outcome = yield
    if call.when == "call" and _PEAK is not None and _PEAK in item.stash:
        setattr(outcome.get_result(), "emma_peak", item.stash[_PEAK])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not config.getoption("--emma"):
        return
    reports = [report for reports in terminalreporter.stats.values() for report in reports
               if getattr(report, "emma_peak", None) is not None]
    terminalreporter.write_sep("=", "peak of memory, emma")
    for report in sorted(reports, key=lambda report: -report.emma_peak):
        terminalreporter.write_line(f"{emma.format_size(report.emma_peak):>12}  {report.nodeid}")
