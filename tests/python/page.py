"""Drives the server's pages with a real browser, as people do, and looks at what they show.

Usage: page.py CHROMIUM URL [CHECK]. URL is a server with the small critic, or for `stop` with a slow one. Screenshots are put
into the folder GAVEL_PICTURES, if that is set."""

import base64
import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import urllib.request

try:
    from playwright.sync_api import expect, sync_playwright
except ImportError:
    sys.exit("the playwright package is missing from tests/.venv: `tests/run` installs it")

SCENE = pathlib.Path(__file__).parents[2] / "training/examples/scene.png"
QUESTION = "What colour is the circle?"
EXPLANATION = "The circle is orange, not purple."
PHONE = {"width": 360, "height": 740}
# What a browser says by itself when an answer is an error.
FAILED = "Failed to load resource"
# Notes what the policy forbids, and each state of the justification.
WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.blockedURI + " " + event.violatedDirective));
document.addEventListener("DOMContentLoaded", () => {
  window.written = [];
  const said = document.getElementById("justification");
  said && new MutationObserver(() => window.written.push(said.textContent)).observe(said, { childList: true });
});
"""


class Browser:
    """A browser, the server that it visits, and where screenshots go."""

    def __init__(self, browser, url, folder):
        self.browser, self.url, self.folder = browser, url, folder

    @contextlib.contextmanager
    def visit(self, path="/", errors=False, **options):
        """A page of its own; afterwards nothing may have gone wrong and no other host may have been asked."""
        context = self.browser.new_context(viewport=options.pop("viewport", {"width": 1280, "height": 900}), **options)
        context.set_default_timeout(30_000)
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=self.url)
        context.add_init_script(WATCH)
        asked, said = [], []
        context.on("request", lambda request: asked.append(request.url))
        page = context.new_page()
        page.on("console", lambda message: message.type in ("error", "warning") and said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(self.url + path)
        yield page
        # `about:` is the emptiness before the page.
        foreign = [url for url in asked if not url.startswith((self.url + "/", "data:", "about:"))]
        assert not foreign, foreign
        said = [text for text in said if not (errors and FAILED in text)]
        assert not said, said
        assert page.evaluate("window.violations") == []
        context.close()

    def picture(self, page, name, **options):
        if self.folder:
            page.screenshot(path=self.folder / f"{name}.png", **options)


def example(page, name):
    # The rubrics have come when the usual one is marked.
    expect(page.locator("#rubric")).to_contain_text("(usual)")
    page.get_by_role("button", name=name, exact=True).click()
    expect(page.locator("#images img")).to_have_count(1)


def judged(page):
    expect(page.locator("#status")).to_contain_text("Judged in")


def copied(page, language, program):
    """Copies the call and runs what was copied."""
    page.evaluate("navigator.clipboard.writeText('')")
    page.get_by_role("button", name=f"Copy as {language}").click()
    expect(page.locator("#copied")).to_have_text("Copied.")
    text = page.evaluate("navigator.clipboard.readText()")
    assert text == page.locator("#program-text").input_value()
    ran = subprocess.run([*program, text], capture_output=True, text=True, check=True, timeout=60)
    return json.loads(ran.stdout)


def programs(page):
    """The verdict of the copied programs, which is one."""
    verdicts = [copied(page, "curl", ["bash", "-ec"]), copied(page, "Python", [sys.executable, "-c"])]
    for verdict in verdicts:
        for counted in ("usage", "receipt", "orders"):
            verdict.pop(counted, None)
    assert verdicts[0] == verdicts[1], verdicts
    return verdicts[0]


def no_scrolling_aside(page):
    wide, shown = page.evaluate("[document.scrollingElement.scrollWidth, document.scrollingElement.clientWidth]")
    assert wide <= shown, f"{wide} > {shown}"


def check_score(browser):
    with browser.visit() as page:
        expect(page.locator("#model")).to_have_text("gavel-mini")
        example(page, "a score")
        page.get_by_role("button", name="Score it").click()
        judged(page)
        expect(page.locator("#decision")).to_contain_text("3 from 1 to 10, expected")
        expect(page.locator("#justification")).to_have_text(EXPLANATION)
        # It came piece by piece, each one longer than the last.
        written = [text for text in page.evaluate("window.written") if text]
        assert len(set(written)) > 3 and written[-1] == EXPLANATION, written
        assert all(EXPLANATION.startswith(text) for text in written), written
        chart = page.locator("#figures svg")
        assert "3: " in chart.get_attribute("aria-label")
        assert chart.locator("rect.bar").count() == 10 and chart.locator("rect.bar:not(.other)").count() == 1
        browser.picture(page, "score")
        verdict = programs(page)
        assert (verdict["score"], verdict["justification"]) == (3, EXPLANATION), verdict


def check_no_distribution(browser):
    """A critic with a reward head refuses to tell probabilities, and is then not asked for them."""
    refusal = {"error": {"message": "There is no distribution.", "param": "distribution"}}

    def answer(route):
        if "distribution" in route.request.post_data_json:
            route.fulfill(status=400, json=refusal)
        else:
            route.continue_()

    with browser.visit(errors=True) as page:
        page.route("**/judge", answer)
        example(page, "a score")
        page.keyboard.press("Control+Enter")
        judged(page)
        expect(page.locator("#justification")).to_have_text(EXPLANATION)
        assert page.locator("#figures svg").count() == 0
        expect(page.locator("#error")).to_be_hidden()


def check_comparison(browser):
    with browser.visit() as page:
        example(page, "a comparison")
        page.get_by_role("button", name="Compare them").click()
        judged(page)
        expect(page.locator("#decision")).to_contain_text("Response 2 is better")
        assert page.locator("#justification").inner_text()
        assert page.locator("#figures svg rect.bar:not(.other)").count() == 1
        browser.picture(page, "comparison")
        verdict = programs(page)
        assert verdict["preference"] == "second", verdict
        assert verdict["justification"] == page.locator("#justification").inner_text()
        page.get_by_label("Judge both orders").check()
        page.get_by_role("button", name="Compare them").click()
        judged(page)
        expect(page.locator("#facts")).to_contain_text("both, which agree")
        assert programs(page)["consistent"] is True


def check_ranking(browser):
    with browser.visit() as page:
        example(page, "a ranking")
        for count in (4, 5, 3):
            if count == 5:
                page.get_by_role("button", name="Add a response").click()
                page.keyboard.type("The circle is <b>orange</b> <img src=x>.")
                expect(page.get_by_role("button", name="Add a response")).to_be_disabled()
            if count == 3:
                page.get_by_role("button", name="Remove response 4").click()
                page.get_by_role("button", name="Remove response 4").click()
            page.get_by_role("button", name="Rank them").click()
            judged(page)
            ranking, matrix = page.locator("#figures svg").all()
            assert ranking.locator("rect.bar").count() == count
            assert matrix.locator("rect.cell:not(.none)").count() == count * (count - 1)
            assert matrix.locator("rect.none").count() == count
            verdict = programs(page)
            expect(page.locator("#decision")).to_contain_text(f"Response {verdict['chosen'] + 1} is best")
            told = ranking.get_attribute("aria-label").split(": ", 1)[1].split(", ")
            assert [int(part.split()[1]) - 1 for part in told] == verdict["ranking"], told
            shown = [float(part.split()[-1].replace("−", "-")) for part in told]
            assert shown == [round(verdict["rewards"][index], 2) for index in verdict["ranking"]], (shown, verdict)
            # What looks like markup is text.
            assert page.locator("#verdict b, #verdict img").count() == 0
            if count == 5:
                expect(ranking).to_contain_text("<b>orange</b>")
                browser.picture(page, "ranking", full_page=True)


def check_own_rubric(browser):
    with browser.visit() as page:
        example(page, "a score")
        page.get_by_label("Rubric").select_option(label="criteria of your own…")
        page.get_by_label("Criteria").fill('Is it "right"?\nOr \\ not: 10 €, 🙂')
        page.get_by_label("from", exact=True).fill("0")
        page.get_by_label("to", exact=True).fill("4")
        page.keyboard.press("Control+Enter")
        judged(page)
        expect(page.locator("#decision")).to_contain_text("from 0 to 4")
        assert page.locator("#figures svg rect.bar").count() == 5
        verdict = programs(page)
        assert verdict["rubric"] == "inline" and verdict["scale"] == {"min": 0, "max": 4, "step": 1}, verdict
        assert page.locator("#decision").inner_text().startswith(f"{verdict['score']:g} ")
        # A comparison has no scale, and every rubric on offer fits the number of responses.
        page.get_by_role("button", name="Add a response").click()
        expect(page.locator("#scale")).to_be_hidden()
        names = page.locator("#rubric option").evaluate_all("all => all.map((one) => one.value)")
        known = page.evaluate("fetch('rubrics').then((answer) => answer.json())")["rubrics"]
        assert names[:-1] == [rubric["name"] for rubric in known if rubric["kind"] == "pairwise"], names


def check_keyboard(browser):
    with browser.visit() as page:
        expect(page.locator("#rubric")).to_contain_text("(usual)")
        visited = []
        for _ in range(30):
            page.keyboard.press("Tab")
            visited.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
            if visited[-1] == "a score":
                page.keyboard.press("Enter")
                expect(page.locator("#judge")).to_be_focused()
                break
        page.keyboard.press("Control+Enter")
        judged(page)
        expect(page.locator("#justification")).to_have_text(EXPLANATION)
    with browser.visit() as page:
        expect(page.locator("#rubric")).to_contain_text("(usual)")
        visited = []
        while not visited or visited[-1] != "copy-python":
            page.keyboard.press("Tab")
            visited.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
            if visited[-1] == "question":
                page.keyboard.type(QUESTION)
            if visited[-1] == "response-1":
                page.keyboard.type("The circle is round.")
        assert visited == [
            "API", "a score", "a comparison", "a ranking", "files", "question", "response-1", "add", "rubric",
            "Reference, description and API key", "judge", "copy-curl", "copy-python",
        ], visited  # fmt: skip
        page.keyboard.press("Control+Enter")
        judged(page)
        # Everything that takes the focus has a name.
        nameless = page.evaluate("""() => [...document.querySelectorAll("a, button, input, textarea, select")]
            .filter((one) => !(one.labels?.length || one.getAttribute("aria-label") || one.textContent.trim())).map((one) => one.outerHTML)""")
        assert not nameless, nameless


def given(page, kind, target, name="scene.png", media="image/png"):
    """Drops or pastes a file."""
    data = base64.b64encode(SCENE.read_bytes()).decode()
    page.evaluate("""([kind, target, name, media, data]) => {
        const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
        const files = new DataTransfer();
        files.items.add(new File([bytes], name, { type: media }));
        const event = kind === "paste"
            ? new ClipboardEvent(kind, { clipboardData: files, bubbles: true, cancelable: true })
            : new DragEvent(kind, { dataTransfer: files, bubbles: true, cancelable: true });
        document.querySelector(target).dispatchEvent(event);
    }""", [kind, target, name, media, data])


def check_images(browser):
    with browser.visit() as page:
        shown = page.locator("#images img")
        given(page, "dragover", "#drop")
        expect(page.locator("#drop")).to_have_class("drop over")
        given(page, "drop", "#drop")
        expect(shown).to_have_count(1)
        expect(page.locator("#drop")).to_have_class("drop")
        given(page, "paste", "#question")
        expect(shown).to_have_count(2)
        page.locator("#files").set_input_files(SCENE)
        expect(shown).to_have_count(3)
        right = "data:image/png;base64," + base64.b64encode(SCENE.read_bytes()).decode()
        assert shown.evaluate_all("all => all.map((one) => one.src)") == [right] * 3
        given(page, "drop", "#drop", "notes.txt", "text/plain")
        expect(page.locator("#error")).to_have_text("notes.txt is no image.")
        for left in (2, 1):
            page.get_by_role("button", name="Remove image 1").click()
            expect(shown).to_have_count(left)
        page.get_by_label("Question", exact=True).fill(QUESTION)
        page.get_by_label("Response 1", exact=True).fill("The circle is purple.")
        page.keyboard.press("Control+Enter")
        judged(page)
        expect(page.locator("#justification")).to_have_text(EXPLANATION)


def check_errors(browser):
    with browser.visit(errors=True) as page:
        expect(page.locator("#rubric")).to_contain_text("(usual)")
        page.get_by_role("button", name="Score it").click()
        expect(page.locator("#error")).to_have_text("Question is empty.")
        expect(page.get_by_label("Question", exact=True)).to_be_focused()
        expect(page.get_by_label("Question", exact=True)).to_have_attribute("aria-invalid", "true")
        page.keyboard.type(QUESTION)
        expect(page.get_by_label("Question", exact=True)).not_to_have_attribute("aria-invalid", "true")
        page.get_by_role("button", name="Add a response").click()
        page.get_by_role("button", name="Add a response").click()
        page.get_by_label("Response 1", exact=True).fill("a")
        page.get_by_label("Response 3", exact=True).fill("c")
        page.keyboard.press("Control+Enter")
        expect(page.get_by_label("Response 2", exact=True)).to_be_focused()
        expect(page.locator("#error")).to_have_text("Response 2 is empty.")
        browser.picture(page, "error")
        page.context.set_offline(True)
        page.keyboard.type("b")
        page.keyboard.press("Control+Enter")
        expect(page.locator("#error")).to_contain_text("The server cannot be reached.")
        page.context.set_offline(False)
        page.keyboard.press("Control+Enter")
        judged(page)
        expect(page.locator("#error")).to_be_hidden()


def cancelled(url, count):
    """Waits until the server has seen the client of so many judgements leave."""
    line = f'gavel_requests_total{{endpoint="/judge",kind="pointwise",outcome="cancelled"}} {count}\n'
    deadline = time.monotonic() + 30
    while line not in (figures := urllib.request.urlopen(f"{url}/metrics").read().decode()):
        assert time.monotonic() < deadline, figures
        time.sleep(0.02)


def check_stop(browser):
    """Escape ends what is being written, and what waits. For a server whose critic writes much, and slowly."""
    with browser.visit(errors=True) as page:
        page.get_by_label("Question", exact=True).fill("Is it long?")
        page.get_by_label("Response 1", exact=True).fill("Yes.")
        page.keyboard.press("Control+Enter")
        expect(page.locator("#justification")).to_have_text(re.compile(".{20}", re.DOTALL))
        expect(page.locator("#stop")).to_be_enabled()
        seen = page.locator("#justification").text_content()
        page.keyboard.press("Escape")
        expect(page.locator("#status")).to_have_text("Stopped.")
        expect(page.locator("#stop")).to_be_disabled()
        cancelled(browser.url, 1)
        expect(page.locator("#error")).to_be_hidden()
        # What was written stays, and no more comes.
        part = page.locator("#justification").text_content()
        assert page.locator("#facts dt").count() == 0 and part.startswith(seen), (seen, part)
        page.get_by_role("button", name="Score it").click()
        page.get_by_role("button", name="Stop").click()
        expect(page.locator("#status")).to_have_text("Stopped.")
        expect(page.locator("#judge")).to_be_focused()
        cancelled(browser.url, 2)


def check_key(browser):
    """A key goes with each request and into no program."""
    with browser.visit() as page:
        page.get_by_text("and API key").click()
        page.get_by_label("API key").fill("secret-of-mine")
        page.get_by_label("API key").blur()
        example(page, "a score")
        with page.expect_request(lambda request: request.url.endswith("/judge")) as sent:
            page.keyboard.press("Control+Enter")
        assert sent.value.header_value("authorization") == "Bearer secret-of-mine"
        judged(page)
        for language in ("curl", "Python"):
            page.get_by_role("button", name=f"Copy as {language}").click()
            text = page.locator("#program-text").input_value()
            assert "GAVEL_API_KEY" in text and "secret-of-mine" not in text
        kept = page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]")
        assert kept == [0, 0, ""], kept
        page.reload()
        assert page.locator("#key").input_value() == ""


def check_looks(browser):
    """Nothing is wider than a phone, in the dark and in the light."""
    for scheme in ("light", "dark"):
        for name in ("a score", "a comparison", "a ranking"):
            with browser.visit(viewport=PHONE, color_scheme=scheme, has_touch=True) as page:
                no_scrolling_aside(page)
                example(page, name)
                page.get_by_text("and API key").click()
                page.locator("#judge").click()
                judged(page)
                page.get_by_role("button", name="Copy as curl").click()
                no_scrolling_aside(page)
                browser.picture(page, f"phone-{scheme}-{name.split()[1]}", full_page=True)
                light = page.evaluate("parseInt(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])")
                assert (light > 128) == (scheme == "light"), light
                page.evaluate("document.getElementById('verdict').scrollIntoView()")
                browser.picture(page, f"phone-{scheme}-{name.split()[1]}-verdict")
    for scheme in ("light", "dark"):
        with browser.visit(color_scheme=scheme) as page:
            example(page, "a ranking")
            page.keyboard.press("Control+Enter")
            judged(page)
            page.evaluate("scrollTo(0, 0)")
            browser.picture(page, f"desktop-{scheme}")


def check_docs(browser):
    for scheme in ("light", "dark"):
        with browser.visit("/docs", color_scheme=scheme) as page:
            page.locator("[data-path='/judge']").click()
            operation = page.locator("#operations-judge-judge")
            expect(operation).to_contain_text("Judge one response, or compare two.")
            expect(operation.locator(".responses-table").first).to_contain_text("justification")
            browser.picture(page, f"docs-{scheme}")
            if scheme == "light":
                # A request from the page reaches this server.
                operation.get_by_role("button", name="Try it out").click()
                operation.get_by_role("button", name="Execute").click()
                expect(operation.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
                expect(operation.locator(".live-responses-table")).to_contain_text("verdict_digest")


# `stop` wants a server of its own.
USUAL = [
    "score", "no_distribution", "comparison", "ranking", "own_rubric", "keyboard", "images", "errors", "key", "looks", "docs",
]  # fmt: skip


def main(chromium, url, *chosen):
    folder = os.environ.get("GAVEL_PICTURES")
    with sync_playwright() as playwright:
        expect.set_options(timeout=30_000)
        browser = playwright.chromium.launch(executable_path=chromium)
        for name in chosen or USUAL:
            globals()[f"check_{name}"](Browser(browser, url, folder and pathlib.Path(folder)))
            print(f"{name}: ok", flush=True)
        browser.close()
    print("all well")


if __name__ == "__main__":
    main(*sys.argv[1:])
