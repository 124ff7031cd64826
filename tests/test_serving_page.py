"""The page in a real Chromium: typing, streaming, settings, alternatives, what was read, errors, keys; wide and narrow."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_serving_http import SMALL, TEXT, Running, error, write  # noqa: F401

from conjoin.pipelines import Writer

sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
sync.expect.set_options(timeout=60_000)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
PICTURES = os.environ.get("PAGE_PICTURES")  # a folder for screenshots, to look at


@pytest.fixture(scope="module")
def server(write: Writer) -> Iterator[Running]:  # noqa: F811
    running = Running({"tiny": write})
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync.sync_playwright() as play:
        one = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield one
        one.close()


@pytest.fixture
def page(browser: Any, server: Running, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page, whose every request and complaint is noted."""
    size = {"width": 390, "height": 844} if "narrow" in request.node.name else {"width": 1280, "height": 800}
    scheme = "dark" if "dark" in request.node.name else "light"
    context = browser.new_context(viewport=size, color_scheme=scheme)
    one = context.new_page()
    complaints: list[str] = []
    addresses: list[str] = []
    one.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    one.on("pageerror", lambda e: complaints.append(str(e)))
    one.on("request", lambda r: addresses.append(r.url))
    one.goto(server.url)
    yield one
    if PICTURES:
        one.screenshot(path=str(Path(PICTURES) / f"{request.node.name}.png"), full_page=True)
    assert all(url.startswith((server.url, "data:")) for url in addresses)
    assert "error" in request.node.name or not complaints
    context.close()


def written(page: Any) -> str:
    """What is written once the page says how fast it was."""
    sync.expect(page.locator("#speed")).not_to_be_empty()
    return str(page.inner_text("#out"))


@pytest.mark.parametrize("look", ["wide light", "narrow dark"])
def test_a_text_is_written_with_alternatives_and_what_each_word_was_read_from(
    page: Any,
    write: Writer,  # noqa: F811
    look: str,
) -> None:
    page.fill("#text", TEXT)
    page.fill("#max_new_tokens", "12")
    page.keyboard.press("Control+Enter")
    expected = write.candidates([TEXT], num_beams=4, num_return_sequences=3, max_new_tokens=12)[0]
    assert written(page) == expected[0]
    assert [item.rsplit(" ", 1)[0] for item in page.locator("ol li").all_inner_texts()] == expected
    scores = [float(score) for score in page.locator("ol small").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    assert re.search(r"\d+ tokens read, \d+ written in .* first after \d+ ms", page.inner_text("#speed"))
    page.locator("#out .word").first.hover()
    page.wait_for_selector("#read span[title]")
    assert page.inner_text("#read") == TEXT
    assert max(float(x.get_attribute("title")) for x in page.query_selector_all("#read span")) > 0
    # Nothing is wider than the screen.
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_settings_are_sent_and_the_keyboard_is_enough(page: Any, write: Writer) -> None:  # noqa: F811
    assert page.evaluate("document.activeElement.id") == "text"
    page.keyboard.type(TEXT)
    for value in ("1", "1", "9"):  # beams, alternatives, new tokens; there is one model, so no choice of it
        page.keyboard.press("Tab")
        page.keyboard.type(value)
    page.keyboard.press("Control+Enter")
    assert written(page) == write(TEXT, max_new_tokens=9)
    assert page.locator("ol").count() == 0
    page.check("#do_sample")
    page.fill("#temperature", "0.05")
    page.click("#go")
    written(page)
    words = page.locator("#out .word")
    words.first.focus()
    page.wait_for_selector("#read span[title]")


def test_an_error_is_said_and_the_page_goes_on(page: Any, server: Running) -> None:
    page.click("#go")
    sync.expect(page.locator("#error")).not_to_be_empty()
    assert page.inner_text("#error") == "the source at index 0 is empty; a text was expected."
    page.fill("#text", TEXT)
    page.fill("#num_beams", "99")
    page.click("#go")
    sync.expect(page.locator("#error")).to_contain_text("99 came")
    page.fill("#num_beams", "2")
    page.click("#go")
    assert written(page)
    assert page.inner_text("#error") == ""
    page.route("**/generate/stream", lambda route: route.abort())
    page.click("#go")
    sync.expect(page.locator("#error")).not_to_be_empty()
    assert page.is_enabled("#go")


def test_a_text_can_be_stopped(page: Any, server: Running) -> None:
    import time

    scheduler = server.app.models["tiny"].scheduler
    step = scheduler.step

    def slow(jobs: Any) -> None:
        time.sleep(0.3)
        step(jobs)

    scheduler.step = slow  # type: ignore[method-assign]
    try:
        page.fill("#text", TEXT)
        page.fill("#num_beams", "1")
        page.click("#go")
        sync.expect(page.locator("#out")).not_to_be_empty()
        page.keyboard.press("Escape")
        sync.expect(page.locator("#error")).to_have_text("Stopped.")
        deadline = time.monotonic() + 5
        while scheduler.running and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not scheduler.running
    finally:
        del scheduler.step


def test_a_browser_may_bring_the_key_as_a_password(browser: Any, write: Writer) -> None:  # noqa: F811
    running = Running({"tiny": write}, keys=["right"])
    try:
        assert error(running.client.get("/")) == (401, "api_key")
        context = browser.new_context(http_credentials={"username": "any", "password": "right"})
        one = context.new_page()
        one.goto(running.url)
        one.fill("#text", TEXT)
        one.click("#go")
        assert written(one)
        context.close()
    finally:
        running.stop()


def test_places_of_words_are_counted_as_the_server_counts_them(page: Any) -> None:
    said = "\U0001f600" * 4 + " ran"
    answer = {"text": said, "source_tokens": 1, "sequences": [{"text": said, "score": None, "tokens": 2}]}
    told = {"source": [[0, 3], [4, 7]], "text": [[0, 4], [5, 8]], "weights": [[0.9, 0.1], [0.2, 0.8]]}
    stream = f"data: {json.dumps({'index': 0, 'result': answer})}\n\ndata: [DONE]\n\n"
    page.route("**/generate/stream", lambda route: route.fulfill(body=stream, content_type="text/event-stream"))
    page.route("**/attention", lambda route: route.fulfill(json=told))
    page.fill("#text", "cat dog")
    page.click("#go")
    page.locator("#out .word").nth(1).focus()
    sync.expect(page.locator("#read span").nth(1)).to_have_attribute("title", "0.800")
