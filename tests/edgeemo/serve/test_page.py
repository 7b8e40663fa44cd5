"""The page in a real browser, and what it is made of."""

import base64
import hashlib
import html
import json
import re
import time
from collections.abc import Iterator

import pytest

from edgeemo.contract.labels import LABELS
from edgeemo.serve.page import Page
from edgeemo.serve.service import Settings
from tests.edgeemo.serve.browser import Tab, browsing
from tests.edgeemo.serve.serving import Scene, Server, serving

SPANISH = ["enfado", "neutral", "asco", "miedo", "alegría", "tristeza", "sorpresa"]
HEAD = "document.getElementById('emotion').textContent"


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    with browsing() as opened:
        yield opened


def opened(tab: Tab, server: Server, query: str = "") -> None:
    tab.problems.clear()
    tab.open(f"http://{server.host}/{query}")
    tab.until("document.body.dataset.state === 'ok'")


def test_page_is_one_small_file_that_names_no_other_address() -> None:
    text = Page(LABELS, language="en", show_frames=False).html().decode()
    assert len(text.encode()) < 60_000
    assert not re.search(r"https?://|//[a-z]|@import|url\(|<link(?! rel=\"icon\" href=\"data:,\")",
                         text)  # fmt: skip
    assert set(re.findall(r'"(/[a-z/.]+)\??"', text)) == {
        "/api/events", "/api/health", "/api/stream.mjpg",
    }  # fmt: skip


def test_policy_allows_the_very_script_and_style_of_the_page() -> None:
    page = Page(LABELS, language="es", show_frames=True)
    text = page.html().decode()
    for kind in ("script", "style"):
        (inline,) = re.findall(f"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in page.policy
    assert "unsafe" not in page.policy
    assert " style=" not in text


def test_labels_are_data_whatever_they_hold() -> None:
    labels = ('"><script>alert(1)</script>', "</html>", "<b>ü</b>")
    text = Page(labels, language="en", show_frames=False).html("es").decode()
    config = json.loads(html.unescape(re.findall(r'data-config="([^"]*)"', text)[0]))
    assert tuple(config["labels"]) == labels
    assert config["language"] == "es"
    assert text.count("<script>") == 1


def test_page_shows_a_change_of_the_emotion(tab: Tab) -> None:
    scene = Scene()
    with serving(scene) as server:
        opened(tab, server)
        tab.until(f"{HEAD} === 'happy'")
        assert tab.text("sure") == "90 % sure"
        bars = "[...document.querySelectorAll('#bars tr')].map(r => r.innerText.split(/\\s+/))"
        assert [row[:2] for row in tab.value(bars)][4] == ["happy", "90"]
        assert len(tab.value(bars)) == 7
        scene.backend.say(sad=0.8)
        tab.until(f"{HEAD} === 'sad'")
        tab.until("document.getElementById('line').getAttribute('aria-label').includes('sad')")
        tab.value("document.getElementById('language').click()")
        tab.until(f"{HEAD} === 'tristeza'")
        rows = "[...document.querySelectorAll('#bars th')].map(e => e.textContent)"
        assert tab.value(rows) == SPANISH
        assert tab.value("document.documentElement.lang") == "es"
        assert "artificial" in tab.text("consent")
        assert "Ninguna imagen sale" in tab.text("private")
        assert tab.value("getComputedStyle(document.getElementById('frame')).display") == "none"
        assert tab.problems == []


def test_page_says_that_the_camera_is_lost_and_what_to_do(tab: Tab) -> None:
    scene = Scene()
    with serving(scene, Settings(language="es")) as server:
        opened(tab, server)
        tab.until(f"{HEAD} === 'alegría'")
        scene.lost.set()
        tab.until("document.body.dataset.state === 'lost'")
        assert tab.text("camera") == "No hay cámara."
        assert "cable" in tab.text("advice")
        tab.until("document.getElementById('reason').textContent.includes('the plug is out')")
        assert tab.text("emotion") not in SPANISH
        tab.until("document.getElementById('spoken').textContent.includes('No hay cámara')")
        scene.lost.clear()
        tab.until(f"{HEAD} === 'alegría'")


def test_page_recovers_when_the_server_was_started_again(tab: Tab) -> None:
    with serving() as server:
        opened(tab, server)
        port = server.port
    tab.until("document.body.dataset.state === 'gone'")
    assert "edgeemo serve" in tab.text("advice")
    time.sleep(0.5)
    again = Scene()
    again.backend.say(surprise=0.7)
    with serving(again, port=port):
        tab.until(f"{HEAD} === 'surprise'")


@pytest.mark.slow
def test_page_shows_frames_where_they_may_be_seen(tab: Tab) -> None:
    with serving(settings=Settings(show_frames=True)) as server:
        opened(tab, server, "?kiosk")
        tab.until("document.getElementById('frame').naturalWidth === 128")
        assert "whoever has this page open" in tab.text("private")
        assert tab.value("getComputedStyle(document.querySelector('header')).display") == "none"
        assert tab.value("document.getElementById('consent').checkVisibility()")
        assert tab.problems == []


@pytest.mark.slow
def test_page_asks_for_the_token_where_it_has_none(tab: Tab) -> None:
    with serving(settings=Settings(token="t" * 20)) as server:
        tab.open(f"http://{server.host}{server.service.doors.link}")
        tab.until("document.body.dataset.state === 'ok'")
        assert tab.value("location.href") == f"http://{server.host}/"
        assert tab.value("document.cookie") == ""  # no script can read it
        tab.call("Network.clearBrowserCookies")
        tab.value("listen()")
        tab.until("document.body.dataset.state === 'token'")
        assert "one-time link" in tab.text("advice")


@pytest.mark.slow
def test_page_fits_a_phone_and_reads_without_a_screen(tab: Tab) -> None:
    with serving() as server:
        tab.look(360, 740, dark=True)
        opened(tab, server)
        tab.until(f"{HEAD} === 'happy'")
        assert tab.value("document.documentElement.scrollWidth") == 360
        assert tab.value("getComputedStyle(document.body).backgroundColor") == "rgb(16, 22, 29)"
        tab.until("document.getElementById('line').getAttribute('aria-label').includes('happy')")
        nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
        named = {
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node.get("ignored") and "role" in node
        }
        assert {("heading", "Scores"), ("button", "Full screen"), ("button", "Español"),
                ("rowheader", "happy")} <= named  # fmt: skip
        assert any(role == "image" and "happy" in name for role, name in named)
        # The keyboard reaches both buttons.
        order = []
        for _ in range(2):
            for kind in ("keyDown", "keyUp"):
                tab.call("Input.dispatchKeyEvent", type=kind, key="Tab", windowsVirtualKeyCode=9)
            order.append(tab.value("document.activeElement.id"))
        assert order == ["language", "full"]


_CUT_OFF = """[...document.querySelectorAll("section, #consent, #camera, #advice, #reason, #private,"
    + "#ticks, #line, #bars tr:last-child")].filter(e => {
    const box = e.getBoundingClientRect(), inside = e.closest("section, footer");
    const around = inside.getBoundingClientRect();
    return box.bottom > around.bottom + 1 || around.bottom > innerHeight + 1
        || box.right > around.right + 1 || around.right > innerWidth + 1;
}).map(e => e.id || e.tagName)"""


@pytest.mark.slow
@pytest.mark.parametrize("frames", [True, False])
def test_a_kiosks_screen_shows_all_of_the_page(tab: Tab, frames: bool) -> None:
    scene = Scene()
    with serving(scene, Settings(show_frames=frames, language="es")) as server:
        for lost in (False, True):
            opened(tab, server, "?kiosk")
            if lost:
                scene.lost.set()
                tab.until("document.getElementById('reason').textContent.includes('plug')")
            elif frames:
                tab.until("document.getElementById('frame').naturalWidth === 128")
            for width, height in (
                (480, 320), (800, 480), (1024, 600), (1920, 1080), (3840, 2160),
                (480, 800), (1080, 1920),
            ):  # fmt: skip
                tab.look(width, height)
                tab.until(f"innerWidth === {width}")
                assert tab.value(_CUT_OFF) == [], (width, height, lost)
                if frames and not lost:
                    share = "document.getElementById('frame').clientHeight / innerHeight"
                    assert tab.value(share) >= min(0.15, 96 / height)
        scene.lost.clear()
