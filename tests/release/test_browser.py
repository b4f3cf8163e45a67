"""An approval in MLflow's own page, clicked in a real browser: by its owner, and by one who may only look."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import chromium
import pytest
from hrloop import release, services
from hrloop.release import Finding
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support import expected_conditions as ready
from selenium.webdriver.support.wait import WebDriverWait

REASON = "Fewer wrong recommendations, and no group is worse off."
EVIDENCE = """
**Recruitment ranking, as of 2026-10-01T06:00:00Z: promote.**

8 % fewer wrong recommendations on 412 matured decisions. Why this verdict:

- the Brier score is 0.0154 better than the champion's (95 % interval 0.0061 to 0.0248)

| on 412 held-out decisions | value | 95 % interval |
|---|---|---|
| brier | 0.2079 | 0.1913 to 0.2264 |
"""

pytestmark = [pytest.mark.slow, chromium.needed]


class Page:
    """The page of a version, as a person sees and uses it."""

    def __init__(self, browser: webdriver.Chrome, folder: Path):
        self.browser, self.folder = browser, folder
        self.wait = WebDriverWait(browser, 60)

    def find(self, selector: str):
        return self.wait.until(ready.element_to_be_clickable((By.CSS_SELECTOR, selector)))

    def text(self) -> str:
        return self.browser.find_element(By.TAG_NAME, "body").text

    def see(self, words: str) -> None:
        """Wait until these words stand on the page."""
        self.wait.until(lambda _: words in self.text(), f"not on the page: {words}")

    def fill(self, selector: str, words: str) -> None:
        self.find(selector).send_keys(Keys.CONTROL, "a")
        self.find(selector).send_keys(words)

    def add_tag(self, name: str, value: str) -> None:
        self.fill("input[placeholder=Name]", name)
        self.fill("input[placeholder=Value]", value)
        self.browser.find_element(By.XPATH, "//button[normalize-space()='Add']").click()

    def edit_tag(self, name: str, value: str) -> None:
        self.find(f"tr[data-row-key='{name}'] button").click()  # the pencil; the bin comes after it
        self.fill("[data-testid=editable-table-edited-input]", value)
        self.find("[data-testid=editable-table-button-save]").click()

    def tags(self) -> dict[str, str]:
        rows = self.browser.find_elements(By.CSS_SELECTOR, "tr[data-row-key]")
        cells = [row.find_elements(By.TAG_NAME, "td") for row in rows]
        return {name.text: value.text for name, value, *_ in cells}

    def dismiss(self) -> None:
        """Close the message that is shown."""
        self.find("[class*=notification-notice-close]").click()
        self.wait.until(lambda _: "Failed to" not in self.text())

    def picture(self, name: str) -> None:
        self.browser.save_screenshot(str(self.folder / f"{name}.png"))


@pytest.fixture
def opened(warehouse, registry, small_case, decided, fitted, as_of, mlflow_settings, tmp_path):
    """Opens the page of a version that waits for approval, logged in as a user."""
    finding = Finding("promote", EVIDENCE, ("better",))
    release.propose(warehouse, registry, small_case, fitted(), finding, decided(), as_of)
    address = services.mlflow_url(mlflow_settings).removeprefix("http://")

    @contextmanager
    def page(user: str) -> Iterator[Page]:
        with chromium.opened(tmp_path / user) as browser:
            # The browser's own login: it answers the server's question with these, here and from then on.
            browser.get(f"http://{user}:{services.mlflow_password(mlflow_settings, user)}@{address}/")
            browser.get(f"http://{address}/#/models/{small_case.name}/versions/1")
            shown = Page(browser, tmp_path)
            shown.see("8 % fewer wrong recommendations")
            shown.find("[data-component-id='mlflow.assistant.chat_panel.close']").click()
            yield shown

    return page


def test_the_owner_approves_by_clicking(opened, warehouse, registry, small_case, as_of):
    with opened(services.OWNER) as page:
        assert page.browser.find_element(By.XPATH, "//th[.='95 % interval']").is_displayed(), "a table"
        page.find("a[href*='/runs/']")  # the source run, which one without rights to it does not see

        page.add_tag("approval.by", "Grace")
        page.see("the tag approval.by is not for typing")
        page.picture("refused")
        page.dismiss()
        page.edit_tag("approval.status", "approved")
        page.see("set approval.reason first")
        page.dismiss()
        assert page.tags()["approval.status"] == "requested"

        page.add_tag("approval.reason", REASON)
        page.see(REASON)
        page.edit_tag("approval.status", "approved")
        page.wait.until(lambda _: page.tags().get("approval.status") == "approved")
        page.browser.refresh()
        page.wait.until(lambda _: page.tags().get("approval.by") == services.OWNER)
        shown = page.tags()
        status = page.browser.find_element(By.CSS_SELECTOR, "tr[data-row-key='approval.status']")
        page.browser.execute_script("arguments[0].scrollIntoView({block: 'nearest'})", status)
        page.picture("approved")

    kept = registry.version(small_case.name, 1).tags
    assert {
        name: value for name, value in kept.items() if name.startswith("approval.")
    }.items() <= shown.items()
    row = release.promote(warehouse, registry, small_case, 1, as_of)
    assert (row.approved_by, row.approval_reason) == (services.OWNER, REASON)


def test_one_who_may_only_look_is_refused(opened, registry, small_case):
    before = registry.version(small_case.name, 1)
    with opened(services.VIEWER) as page:
        for change in (
            lambda: page.add_tag("approval.reason", REASON),
            lambda: page.edit_tag("approval.status", "approved"),
        ):
            change()
            page.see("Failed to")
            page.picture("viewer")
            page.dismiss()
        page.browser.refresh()
        page.see("approval.requested_at")
        assert page.tags()["approval.status"] == "requested"
    assert registry.version(small_case.name, 1) == before
