"""The page at / and the description at /docs, used in headless Chromium as a person would use them."""

import shutil

import pytest

from tests.serve.conftest import served

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
PLAYWRIGHT = "no playwright here: pip install -r requirements-dev.txt"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]
WIDTHS = (390, 1280)


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason=PLAYWRIGHT)
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """A function (address, width, scheme) -> page; at the end no page may have had an error."""
    told, contexts = [], []

    def open_at(address, width=1280, scheme="light", **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("request", lambda request: told.append(request.url) if address not in request.url else None)
        page.goto(address)
        return page

    open_at.told = told
    yield open_at
    for context in contexts:
        context.close()
    assert not told


@pytest.fixture
def page(open_page, service):
    with served(service) as address:
        page = open_page(address)
        page.wait_for_selector("#top > li")
        yield page


def titles(page):
    return page.locator("#top > li .line .title").all_inner_texts()


def choose(page, words, number=0):
    """Type words, click what is found, wait for the new list."""
    events = page.locator("#past li").count()
    page.get_by_label("Search a title to add").fill(words)
    page.locator("#found button").nth(number).click()
    page.get_by_text(f"For a history of {events + 1} event").wait_for()


def give_stars(page, title, stars):
    """Click on a star and wait for the new list; returns what was sent."""
    with page.expect_response(lambda answer: answer.url.endswith("/session") and answer.status == 201) as answer:
        page.get_by_role("group", name=f"Rating of {title}").get_by_label(f"{stars} stars").check()
    return answer.value.request.post_data_json


def test_a_history_is_clicked_together_and_the_list_follows(page):
    assert "Popular items" in page.locator("#told").inner_text()
    popular = titles(page)
    choose(page, "creme brulee")
    first = titles(page)
    assert len(first) == 10 and first != popular and "Crème brûlée" not in first
    page.locator("#top > li .title").first.click()  # what is recommended is added by a click
    page.get_by_text("For a history of 2 events").wait_for()
    assert page.locator("#past .name").all_inner_texts() == ["Crème brûlée", first[0]]
    assert page.locator("#top .moved.new, #top .moved.up, #top .moved.down").count() > 0
    with page.expect_response(
        lambda answer: answer.url.endswith("/session") and answer.request.method == "POST"
    ) as sent:
        page.get_by_role("group", name="Rating of Crème brûlée").get_by_label("2 stars").check()
    assert sent.value.request.post_data_json["history"][0] == {"item_id": "i0", "rating": 2}
    page.get_by_role("button", name=f"Remove {first[0]}").click()
    page.get_by_text("For a history of 1 event.").wait_for()
    page.get_by_role("button", name="Start again").click()
    page.get_by_text("Popular items").wait_for()
    assert titles(page) == popular and page.locator("#past li").count() == 0


def test_why_and_what_is_similar(page):
    choose(page, "käse")
    choose(page, "tom jerry")
    row = page.locator("#top > li").nth(2)
    row.get_by_role("button", name="Why").click()
    reasons = row.locator(".panel li")
    reasons.first.wait_for()
    assert {text.split("\n")[0] for text in reasons.all_inner_texts()} == {"Käsespätzle", "Tom & Jerry's"}
    row.get_by_role("button", name="Similar").click()
    row.get_by_text("Similar items").wait_for()
    assert row.locator(".panel li").count() == 5
    row.locator(".panel button").first.click()
    page.get_by_text("For a history of 3 events").wait_for()


def test_titles_are_no_html(page):
    choose(page, "onerror")
    assert page.locator("#past .name").inner_text() == "<img src=x onerror=alert(1)>"
    assert page.locator("img").count() == 0
    page.get_by_label("Search a title to add").fill("<img")
    page.locator("#found button").first.wait_for()
    assert page.locator("img").count() == 0


def test_the_keyboard_is_enough(page):
    page.get_by_label("Search a title to add").focus()
    page.keyboard.type("straße")
    page.locator("#found button").first.wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.get_by_text("For a history of 1 event.").wait_for()
    assert page.evaluate("document.activeElement.id") == "words"
    page.keyboard.press("Tab")  # to the stars
    page.keyboard.press("ArrowRight")
    page.locator(".stars .on").first.wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # removes it
    page.get_by_text("Popular items").wait_for()
    assert page.evaluate("document.activeElement.id") == "words"


def test_a_new_item_is_typed_in_and_lands_somewhere(open_page, service_with_texts, model_folder):
    with served(service_with_texts(model_folder)) as address:
        page = open_page(address)
        page.wait_for_selector("#top > li")
        choose(page, "käse")
        page.locator("#fields input").first.fill("Grüne Soße")
        page.get_by_role("button", name="Add it").click()
        page.get_by_text("for this history").wait_for()
        landed = page.locator("#landed p").first.inner_text()
        assert landed.startswith("Grüne Soße stands at place ") and landed.endswith(" of 61 for this history.")
        choose(page, "grune so")  # it can be searched now
        assert page.locator("#past .name").last.inner_text() == "Grüne Soße"


def test_a_token_is_asked_for(open_page, service):
    with served(service, token="a-token-of-this-test") as address:
        page = open_page(address)
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Go on").click()
        page.get_by_label("Token").fill("a-token-of-this-test")
        page.get_by_role("button", name="Go on").click()
        page.wait_for_selector("#top > li")
        assert page.locator("#problem").inner_text() == ""
    assert all("401" in line for line in open_page.told)  # the browser tells of them
    open_page.told.clear()


def test_a_service_that_is_gone_is_told(open_page, service):
    with served(service) as address:
        page = open_page(address)
        page.wait_for_selector("#top > li")
    page.locator("#top > li .title").first.click()
    page.get_by_text("The service does not answer").wait_for()
    assert page.locator("#past li").count() == 0
    open_page.told.clear()


@pytest.mark.parametrize("body", ["<html>proxy</html>", "{}"])
def test_after_an_unexpected_answer_the_page_goes_on(open_page, page, body):
    page.route("**/session", lambda route: route.fulfill(status=200, body=body, content_type="text/html"), times=1)
    page.get_by_label("Search a title to add").fill("käse")
    page.locator("#found button").first.click()  # a history that changes as a whole begins a session
    page.get_by_text("For a history of 1 event").wait_for()
    page.get_by_role("group", name="Rating of Käsespätzle").get_by_label("4 stars").check()
    page.locator("#problem").filter(has_text="proxy" if "html" in body else "made a mistake").wait_for()
    choose(page, "tom jerry")
    assert page.locator("#problem").inner_text() == ""
    open_page.told.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_barrier_and_no_overflow_on_phone_and_desktop(open_page, service, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason=PLAYWRIGHT).Axe()
    with served(service) as address:
        for width in WIDTHS:
            page = open_page(address, width, scheme, bypass_csp=True, reduced_motion="reduce")
            page.wait_for_selector("#top > li")
            choose(page, "onerror")
            give_stars(page, "<img src=x onerror=alert(1)>", 4)
            for name in ("Why", "Similar"):
                row = page.locator("#top > li").nth(len(name) % 3)
                row.get_by_role("button", name=name).click()
                row.locator(".panel li").first.wait_for()
            page.get_by_label("Search a title to add").fill("product")
            page.locator("#found button").first.wait_for()
            _check(page, axe)
            page.goto(f"{address}/docs")
            page.locator("summary").nth(5).click()
            page.locator("details").nth(5).get_by_role("button").click()
            page.locator("details pre").nth(5).wait_for()
            _check(page, axe)


def _check(page, axe):
    violations = axe.run(page).response["violations"]
    assert not violations, [(one["id"], [node["html"] for node in one["nodes"]]) for one in violations]
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
