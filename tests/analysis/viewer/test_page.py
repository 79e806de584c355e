"""The viewer's page in headless Chromium: clicked, dragged and typed at as a person does."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from helpers import bodies, makers, viewing
from helpers.browsing import Browser
from PIL import Image

import nca
from analysis.cli import main as cli
from analysis.cli.grow import Grow, _grow_states, _with_session
from analysis.viewer import page as pages
from analysis.viewer.widget import Viewer, _widget_js
from nca.errors import UserError
from nca.rollout import trajectory
from nca.rule import to_rgba

SIDE = 56


@pytest.fixture(scope="module")
def lizard():
    return nca.load("lizard")


@pytest.fixture(scope="module")
def states(lizard):
    return np.asarray(trajectory(lizard, 64, key=nca.run_key(0, 0)))


@pytest.fixture(scope="module")
def page_file(lizard, tmp_path_factory):
    return pages.save_page(lizard, tmp_path_factory.mktemp("page") / "lizard.html", steps=64)


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    browser = Browser(
        viewing.find_program("chromium", "chromium-browser", "google-chrome"), tmp_path_factory.mktemp("b")
    )
    yield browser
    browser.close()


@pytest.fixture
def alive(tab, page_file):
    """The lizard's page, paused at its first step; afterwards, the console is empty."""
    tab.size(1280, 1000)
    tab.open(page_file)
    tab.wait("window.nca?.shot()?.t >= 2")
    tab.key(" ")
    tab.wait("!nca.shot().playing")
    tab.key("r")
    tab.wait("nca.shot().playing")
    tab.key(" ")
    tab.wait("!nca.shot().playing")
    to_step(tab, 0)
    yield tab
    assert not tab.errors


def to_step(tab, t):
    """Drag time back, or press the key for a step as often as needed."""
    tab.js(f"nca.send({{ do: 'seek', t: {t} }})")
    tab.wait("!nca.shot().playing")
    while (now := tab.js("nca.shot().t")) < t:
        tab.key("ArrowRight")
        tab.wait(f"nca.shot().t > {now}")
    tab.wait(f"nca.shot().t === {t}")


def state_of(tab, name="state", cells=SIDE * SIDE):
    tab.wait("nca.settled()")
    code = f"Array.from(nca.shot().{name}).map(Math.fround)"
    values = np.asarray(tab.js(code), np.float32)
    return values[: cells * (len(values) // (cells + 1))].reshape(SIDE, SIDE, -1)


def place_of(tab, y, x, dish=1):
    """Where a cell lies in the window."""
    selector = f".dish:nth-child({dish}) .frame"
    tab.middle(selector)
    box = tab.js(
        f"(() => {{ const b = document.querySelector('{selector}').getBoundingClientRect();"
        "return [b.x, b.y, b.width, b.height] })()"
    )
    return box[0] + box[2] * (x + 0.5) / SIDE, box[1] + box[3] * (y + 0.5) / SIDE


def pixels(tab, dish=1):
    """What a dish shows, (y, x, 3)."""
    tab.wait("nca.settled()")
    tab.js("new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))")
    code = f"document.querySelector('.dish:nth-child({dish}) .cells')"
    flat = tab.js(f"Array.from({code}.getContext('2d').getImageData(0, 0, {SIDE}, {SIDE}).data)")
    return np.asarray(flat).reshape(SIDE, SIDE, 4)[..., :3]


def on_white(organism, state):
    picture = np.asarray(to_rgba(organism.rule.spec, state))
    return np.clip(255 * (picture[..., :3] + 1 - picture[..., 3:]), 0, 255)


def test_the_page_grows_the_body_that_python_grows_and_shows_it(alive, lizard, states):
    to_step(alive, 40)
    assert np.abs(state_of(alive) - states[40]).max() < 1e-4
    assert np.abs(pixels(alive) - on_white(lizard, states[40])).max() <= 1
    assert alive.js("document.querySelector('.counter').textContent") == "40"
    want = (states[40][..., 3] > 0.1).sum()
    assert alive.js("document.querySelectorAll('.graph output')[1].textContent") == str(want)
    alive.drag(alive.middle("input.scrub"))  # half-way back
    alive.wait("nca.shot().t < 40")
    t = alive.js("nca.shot().t")
    assert np.abs(state_of(alive) - states[t]).max() < 1e-4
    alive.click(alive.middle(".play"))
    alive.wait("nca.shot().t > 45 && nca.shot().rate > 0")
    assert alive.js("nca.line.worker")


def test_a_wound_is_cut_where_it_is_drawn_and_the_twin_has_none(alive, states):
    to_step(alive, 50)
    alive.click(alive.middle("[data-value=wound]"))
    alive.drag(*(place_of(alive, 28, x) for x in (22, 28, 34)))
    alive.wait("nca.shot().changes === 1")
    wounded = state_of(alive)
    y, _ = np.nonzero((np.abs(wounded - states[50]) > 1e-3).any(-1))
    radius = alive.js("nca.ui.radius")
    assert not wounded[28, 20:36].any()
    assert np.abs(y - 28).max() <= radius
    alive.click(alive.middle("[role=switch]"))
    alive.wait("nca.shot().twin")
    for _ in range(4):
        alive.click(alive.middle("[aria-label='One step']"))
    alive.wait("nca.shot().t === 54 && nca.shot().twin")
    assert np.abs(state_of(alive, "twin") - states[54]).max() < 1e-4
    assert np.abs(state_of(alive) - states[54]).max() > 0.1
    apart = np.abs(pixels(alive, 3) - 255).max(-1) > 0
    assert apart[28, 28]
    assert not apart[:8].any()


def test_a_disc_is_lifted_and_dropped_and_a_seed_is_planted(alive, states):
    to_step(alive, 40)
    alive.click(alive.middle("[data-value=graft]"))
    alive.drag(place_of(alive, 28, 28), place_of(alive, 20, 20), place_of(alive, 10, 12))
    alive.wait("nca.shot().changes === 1")
    state = state_of(alive)
    assert np.abs(state[9:12, 11:14] - states[40][27:30, 27:30]).max() < 1e-4
    assert np.abs(state[27:30, 27:30] - states[40][27:30, 27:30]).max() < 1e-4
    alive.click(alive.middle("[data-value=seed]"))
    alive.click(place_of(alive, 50, 6))
    alive.wait("nca.shot().changes === 2")
    assert state_of(alive)[50, 6].tolist() == [0, 0, 0] + [1] * 13
    assert pixels(alive)[50, 6].tolist() == [0, 0, 0]


def test_fingers_and_keys_work_as_the_mouse_does(alive):
    to_step(alive, 30)
    alive.click(alive.middle("[data-value=wound]"))
    alive.size(390, 844, mobile=True)
    alive.touch(place_of(alive, 28, 26), place_of(alive, 28, 30))
    alive.wait("nca.shot().changes >= 1")
    assert not state_of(alive)[28, 26:31].any()
    assert alive.js("document.documentElement.scrollWidth") <= 390
    alive.size(1280, 1000)
    for key in ("l", "s"):
        alive.key(key)
    alive.js("document.querySelector('.frame').focus()")
    alive.js("nca.ui.cursor = null")
    for key in ("ArrowUp", "ArrowUp", "ArrowLeft", "Enter"):
        alive.key(key)
    alive.wait("nca.shot().changes === 2")
    assert state_of(alive)[26, 27].tolist() == [0, 0, 0] + [1] * 13


def test_a_cell_under_the_pointer_is_read(alive, states):
    to_step(alive, 40)
    alive.mouse("mouseMoved", place_of(alive, 28, 27))
    alive.wait("document.querySelector('.where').textContent.startsWith('row 28, column 27')")
    label = alive.js("document.querySelector('.bars').getAttribute('aria-label')")
    want = ", ".join(
        f"{name} {v:.3f}" for name, v in zip(nca.load("lizard").rule.channel_names, states[40][28, 27], strict=True)
    )
    ours, theirs = (np.array([float(p.split()[1]) for p in text.split(": ")[-1].split(", ")]) for text in (label, want))
    assert np.abs(ours - theirs).max() < 2e-3
    assert "PC1" in alive.js("document.querySelector('.plane').getAttribute('aria-label')")


def test_every_view_shows_something_of_its_own(alive):
    to_step(alive, 40)
    seen = {}
    for kind in ("body", "channel", "rgb", "pcs", "alive", "update"):
        alive.click(alive.middle(f"[data-value={kind}]"))
        seen[kind] = pixels(alive)
        assert (seen[kind].std((0, 1)) > 2).any(), kind
        assert seen[kind][0, 0].tolist() == [255, 255, 255], kind
    kinds = list(seen)
    assert all((seen[a] != seen[b]).any() for a in kinds for b in kinds if a < b)
    alive.size(1280, 1000, dark=True)
    alive.wait("getComputedStyle(nca.ui ? document.querySelector('.nca') : document.body).colorScheme === 'dark'")
    assert pixels(alive)[0, 0].max() < 60


def test_lesions_compass_and_all_else_are_saved_and_run_again(alive, lizard, tmp_path):
    to_step(alive, 20)
    for label, times in (("Gain of h4", 4), ("Gain of PC1", 2)):
        alive.js("document.querySelectorAll('details').forEach((d) => { d.open = true })")
        alive.js(f"document.querySelector('[aria-label=\"{label}\"]').focus()")
        for _ in range(times):
            alive.key("ArrowLeft")
    alive.js("document.querySelector('.dial').focus()")
    for _ in range(3):
        alive.key("ArrowRight")
    alive.wait("nca.shot().changes === 3")
    assert alive.js("[nca.shot().channel[8], nca.shot().pc[0]]") == [0.8, 0.9]
    assert alive.js("document.querySelector('.dial').getAttribute('aria-valuenow')") == "15"
    alive.js("document.activeElement.blur()")
    alive.click(alive.middle("[data-value=wound]"))
    alive.click(place_of(alive, 26, 30))
    alive.wait("nca.shot().changes === 4")
    to_step_on(alive, 32)
    assert alive.js("[...document.querySelectorAll('.slider.changed span')].map((e) => e.textContent)") == [
        "h4",
        "PC1",
    ]
    alive.click(alive.middle("[aria-label=Keep] button:nth-child(3)"))
    saved = tmp_path / "session.json"
    saved.write_bytes(alive.file("lizard-regenerating-session.json"))
    alive.wait("document.querySelector('.note').textContent.includes('--edits')")
    command = Grow("lizard", tmp_path / "film.gif", steps=32, edits=saved)
    command, session = _with_session(command, lizard)
    assert [e.mode for e in session.edits] == ["set", "scale", "project"]
    states = _grow_states(command, lizard, lizard.canvas, session.edits, session)
    assert np.abs(state_of(alive) - states[32]).max() < 1e-4


def to_step_on(tab, t):
    """Press the key for a step until there, without going back."""
    while (now := tab.js("nca.shot().t")) < t:
        tab.key(".")
        tab.wait(f"nca.shot().t > {now}")


def test_a_picture_and_a_film_are_saved(alive):
    to_step(alive, 40)
    alive.click(alive.middle("[aria-label=Keep] button:nth-child(1)"))
    picture = Image.open(io.BytesIO(alive.file("lizard-regenerating-40.png")))
    assert min(picture.size) > 400
    alive.click(alive.middle("[aria-label=Keep] button:nth-child(2)"))
    alive.wait("nca.shot().t > 50")
    alive.click(alive.middle("[aria-label=Keep] button:nth-child(2)"))
    film = alive.file("lizard-regenerating-film.webm")
    assert film[:4] == b"\x1aE\xdf\xa3"
    assert len(film) > 2000


def test_everything_that_can_be_used_has_a_name(alive):
    things = "button, input, select, canvas:not([aria-hidden]), [role=slider]"
    named = "e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length"
    nameless = alive.js(f"[...document.querySelectorAll('{things}')].filter((e) => !({named})).map((e) => e.outerHTML)")
    assert nameless == []
    alive.key("?")
    alive.wait("document.querySelector('dialog').open")
    assert "Spaceplay or pause" in alive.js("document.querySelector('dl').textContent")
    alive.key("Escape")
    alive.wait("!document.querySelector('dialog').open")


def opened(tab, organism, folder, **says):
    tab.open(pages.save_page(organism, folder / "page.html", **({"steps": 0} | says)))
    tab.wait("window.nca?.shot()")


def test_markup_in_names_is_shown_and_not_run(tab, tmp_path):
    name = '</script><img src=x onerror="window.bad = 1"><b>&amp;'
    opened(tab, bodies.static_organism().rename(name), tmp_path)
    assert tab.js("document.querySelector('h1').textContent") == name
    assert tab.js("document.title") == f"{name}, alive"
    assert tab.js("[window.bad ?? null, document.querySelectorAll('img').length]") == [None, 0]
    assert not tab.errors


def test_an_explosion_is_reported_and_the_page_stays_alive(tab, tmp_path):
    opened(tab, bodies.exploding_organism(), tmp_path)
    tab.wait("nca.shot().exploded !== null && !document.querySelector('.alarm').hidden")
    t = tab.js("nca.shot().t")
    assert f"Exploded at step {t}" in tab.js("document.querySelector('.alarm').textContent")
    tab.key("ArrowLeft")
    tab.wait(f"nca.shot().t === {t - 1} && nca.shot().exploded === null")
    tab.wait("document.querySelector('.alarm').hidden && !document.querySelector('.play').disabled")
    assert not tab.errors


@pytest.mark.parametrize(("channels", "canvas"), [(2, (9, 31)), (70, (24, 24))])
def test_few_and_many_channels_are_shown(tab, tmp_path, channels, canvas):
    opened(tab, bodies.static_organism(channels, canvas, radius=3), tmp_path, steps=2)
    tab.wait("nca.shot().t > 3")
    sliders = tab.js("document.querySelectorAll('.gains input').length")
    assert sliders == channels + tab.js("nca.shot().pc.length")
    for kind in ("channel", "rgb", "alive", "update"):
        tab.click(tab.middle(f"[data-value={kind}]"))
    assert not tab.errors


def test_a_large_canvas_is_usable_and_a_larger_one_refused(tab, tmp_path, lizard):
    opened(tab, lizard, tmp_path, canvas=(256, 256))
    tab.wait("nca.shot().t > 20")
    with pytest.raises(UserError, match="smaller --canvas"):
        pages.viewer_html(lizard, canvas=(513, 100), steps=0)
    with pytest.raises(UserError, match="smaller --canvas"):
        pages.viewer_html(makers.organism(makers.random_rule(0, channels=64)), canvas=(500, 500), steps=0)
    assert not tab.errors


def test_without_a_worker_the_page_works_by_itself(tab, tmp_path, lizard, states):
    path = pages.save_page(lizard, tmp_path / "page.html", steps=0)
    path.write_text(
        path.read_text()
        .replace('"use strict"', "")
        .replace('<script type="module"', '<script>window.Worker = undefined</script><script type="module"', 1)
    )
    tab.open(path)
    tab.wait("window.nca?.shot()?.t >= 5")
    assert tab.js("nca.line.worker") is False
    tab.key(" ")
    tab.wait("!nca.shot().playing")
    t = tab.js("nca.shot().t")
    assert np.abs(state_of(tab) - np.asarray(nca.grow(lizard, t, key=nca.run_key(0, 0)))).max() < 1e-4
    assert not tab.errors


def test_the_page_lives_inside_another_page(tab, tmp_path):
    name = 'a "quoted" <b>name</b>'
    inside = pages.iframe(bodies.static_organism().rename(name), steps=0)
    (tmp_path / "report.html").write_text(f"<!DOCTYPE html><title>Report</title>{inside}")
    tab.open(tmp_path / "report.html")
    tab.wait("frames[0]?.nca?.shot()?.t > 3")
    assert tab.js("frames[0].document.querySelector('h1').textContent") == name
    assert tab.js("document.querySelector('iframe').title") == f"{name}, alive"
    assert not tab.errors


def test_an_old_browser_gets_a_sentence(page_file):
    text = page_file.read_text()
    body = text[text.index("<body>") : text.index("<script")]
    assert "too old to run it" in body
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text


NOTEBOOK = Path(__file__).parents[2] / "helpers" / "viewer_notebook.html"


def test_the_widget_tells_python_what_was_done(tab, tmp_path, states):
    organism = nca.load("lizard")
    viewer = Viewer(organism, steps=0)
    assert viewer.edits == []
    assert (viewer.state == states[0]).all()
    parts = {"CSS": viewer._css, "FIELDS": pages._script_json(viewer.organism_fields)}
    cell = NOTEBOOK.read_text()
    for name, part in (parts | {"MODULE": pages._script_json(_widget_js())}).items():
        cell = cell.replace(name, part, 1)
    (tmp_path / "notebook.html").write_text(cell)
    tab.open(tmp_path / "notebook.html")
    tab.wait("document.querySelector('.counter')?.textContent > 5")
    tab.click(tab.middle(".play"))
    tab.wait("document.querySelector('.play').title === 'Play'")
    tab.click(tab.middle("[data-value=wound]"))
    tab.click(place_of(tab, 28, 28))
    tab.wait("sent.session?.edits?.length === 1")
    sent = tab.js("sent")
    viewer.set_state({"step": sent["step"], "session_fields": sent["session"]})
    viewer.state_bytes = base64.b64decode(sent["state"])
    (wound,) = viewer.edits
    assert int(wound.first) == viewer.step
    want = nca.grow(organism, viewer.step, key=nca.run_key(0, 0), edits=viewer.edits)
    assert np.abs(viewer.state - np.asarray(want)).max() < 1e-4
    tab.js("end()")
    assert not tab.errors


def test_the_command_writes_the_page_and_says_where(tmp_path, capsys):
    out = tmp_path / "v.html"
    nca.save(bodies.static_organism(), tmp_path / "s.safetensors")
    assert cli.main(["view", str(tmp_path / "s.safetensors"), "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert json.dumps("standing") in out.read_text()
    assert cli.main(["view", "lizard", "--out", str(tmp_path / "v.txt")]) == 2
    assert ".html" in capsys.readouterr().err
    assert cli.main(["view", "lizard", "--canvas", "2000", "2000", "--out", str(out), "--force"]) == 2
    assert "smaller --canvas" in capsys.readouterr().err
