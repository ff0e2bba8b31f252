"""report.html: whole, escaped, and without error or overflow in a browser."""

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from sear.report.figure_style import PALETTE

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


class Reader(HTMLParser):
    """Gathers tags and notices elements that are closed in the wrong order."""

    VOID = {"meta", "br", "img", "link", "path", "use"}

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.outside = [], [], []

    def handle_starttag(self, tag, attributes):
        known = dict(attributes)
        self.ids += [known["id"]] if "id" in known else []
        named = (known.get(name) or "" for name in ("src", "href", "xlink:href"))
        self.outside += [value for value in named if value and not value.startswith("#")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_from_outside(report):
    text = (report / "report.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    assert reader.open == [] and reader.outside == []
    assert len(set(reader.ids)) == len(reader.ids)
    assert "<script" not in text and "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_the_page_escapes_what_runs_say(report):
    text = (report / "report.html").read_text(encoding="utf-8")
    assert "&lt;i&gt;Eraserhead&lt;/i&gt; &amp; Co. (1977)" in text and "<i>Eraserhead" not in text
    assert "python -m sear.report &lt;results&gt;" in text
    assert "python custom_trainer.py --dataset=tiny --model=Pop --seed=2" in text
    assert ">fedcba, abcdef<" in text  # earlier commits of runs that were resumed


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_a_browser_finds_no_error_and_no_overflow_on_phone_and_desktop(report, tmp_path, scheme):
    page = html.escape((report / "report.html").read_text(encoding="utf-8").replace("<details", "<details open"))
    frames = "".join(f'<iframe width="{width}" height="900" srcdoc="{page}"></iframe>' for width in (390, 1280))
    pages = "[...document.querySelectorAll('iframe')].map(frame => frame.contentDocument)"
    told = "[page.documentElement.scrollWidth - page.documentElement.clientWidth, getComputedStyle(page.body).color]"
    script = f"onload = () => {{ document.title = JSON.stringify({pages}.map(page => {told})) }}"
    (tmp_path / "frames.html").write_text(f"<!DOCTYPE html><title></title>{frames}<script>{script}</script>")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += ["--no-first-run", f"--user-data-dir={tmp_path / 'user'}", "--enable-logging=stderr", "--dump-dom"]
    command += [f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"]
    done = subprocess.run([*command, (tmp_path / "frames.html").as_uri()], capture_output=True, text=True, timeout=120)
    ink = PALETTE["ink"][int(scheme == "dark")]
    colour = f"rgb({', '.join(str(int(ink[place : place + 2], 16)) for place in (1, 3, 5))})"
    assert json.loads(re.search("<title>(.*?)</title>", done.stdout).group(1)) == [[0, colour], [0, colour]]
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
