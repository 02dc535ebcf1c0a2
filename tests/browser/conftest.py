"""The local stack for a session, a Chromium that is logged in, and a place for screenshots."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_REPOSITORY = Path(__file__).parents[2]
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_said: list[str] = []


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A Chromium of this machine, without a window."""
    api = pytest.importorskip(
        "playwright.sync_api", reason="needs Playwright beside the tests: make test-browser"
    )
    path = next((found for name in _CHROMIUM if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"no Chromium on the PATH, neither as {', '.join(_CHROMIUM)}")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def stack(chromium: Any) -> Iterator[Any]:
    """What `make up` starts, in a folder of its own; its runs are in that folder too."""
    from arbitrage.errors import ConfigError
    from arbitrage.infra.deploy.local import postgres
    from arbitrage.infra.deploy.local import stack as local
    from arbitrage.infra.teachers.processes import free_port

    try:
        postgres.find_tools()
        database = "postgres"
    except ConfigError:
        database = "sqlite"
    # Not below pytest's own folder, which PostgreSQL's user may not enter.
    root = Path(tempfile.mkdtemp(prefix="arbitrage-stack-"))
    root.chmod(0o711)
    for name in ("infra", "examples"):
        (root / name).symlink_to(_REPOSITORY / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(_REPOSITORY / "src"))
        state = root / ".up"
        try:
            port = free_port()
            yield local.up(root, state, port=port, database=database, latency_ms=200.0)
        finally:
            local.down(state)
            shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def page(chromium: Any, stack: Any) -> Iterator[Any]:
    """A page on the dashboard, after the login."""
    page = chromium.new_page(viewport={"width": 1280, "height": 1000})
    # A busy machine takes its time; what never comes fails all the same.
    page.set_default_timeout(120_000)
    page.goto(stack.ui)
    words = page.get_by_placeholder("admin:pass")
    words.fill(stack.environment["PREFECT_API_AUTH_STRING"])
    words.press("Enter")
    page.get_by_role("button", name="Deployments").wait_for()
    # Once more, without what the server said to those not yet logged in.
    page.goto(stack.ui)
    yield page
    page.close()


class Shots:
    """Screenshots, numbered in the order they were taken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(self, page: Any, name: str) -> None:
        number = len(list(self.folder.glob("*.png")))
        page.screenshot(path=self.folder / f"{number:02d}-{name}.png")


@pytest.fixture(scope="session")
def shots() -> Shots:
    """They stay after the test, to be looked at; ARBITRAGE_TEST_SHOTS names another folder."""
    given = os.environ.get("ARBITRAGE_TEST_SHOTS")
    folder = Path(given or tempfile.mkdtemp(prefix="arbitrage-screenshots-"))
    folder.mkdir(parents=True, exist_ok=True)
    _said.append(f"screenshots: {folder}")
    return Shots(folder)


@pytest.fixture(scope="session")
def say() -> Any:
    """Adds a line to what is printed at the end."""
    return _said.append


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for line in _said:
        terminalreporter.write_line(line)
