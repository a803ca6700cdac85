"""A real browser: Debian's Chromium or another one that is installed, driven by Playwright."""

import os
import shutil
from collections.abc import AsyncGenerator

import pytest
from playwright.async_api import Browser, async_playwright, expect

REQUIRED = "REQUIRE_BROWSER_TESTS"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE_MS = 180_000
"""How long a test waits for something that must come. Only a failing test reaches this limit."""
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str | None:
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture
async def browser() -> AsyncGenerator[Browser]:
    """Skips the test where there is no browser, unless the environment requires one."""
    program = chromium()
    if program is None:
        sentence = f"no Chromium is installed here (looked for {', '.join(NAMES)}); name one with CHROMIUM"
        if os.environ.get(REQUIRED):
            pytest.fail(f"{REQUIRED} is set, and {sentence}")
        pytest.skip(sentence)  # Without an installed browser there is nothing to drive. CI requires one.
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=list(QUIET))
        try:
            yield browser
        finally:
            await browser.close()
