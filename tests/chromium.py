"""A real browser for the tests that look at pages as a person does."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver

CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")

needed = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no chromium here: apt-get install chromium chromium-driver"
)


@contextmanager
def opened(profile: Path) -> Iterator[webdriver.Chrome]:
    """A browser without a window, with a profile of its own in this folder."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        "--headless=new",
        "--no-sandbox",  # it refuses its sandbox to root
        "--disable-dev-shm-usage",
        "--no-proxy-server",
        "--disable-background-networking",
        "--window-size=1400,1200",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    browser = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        yield browser
    finally:
        browser.quit()
