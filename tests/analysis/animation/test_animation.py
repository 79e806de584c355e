"""Films: what a frame shows, and what the files hold when another program reads them."""

import errno
import os

import numpy as np
import pytest
from helpers.makers import random_rule
from PIL import Image

import nca
from analysis.animation import encode
from analysis.animation.encode import save_film
from analysis.animation.render import (
    GAP,
    LIVING,
    MATURE,
    VIEWS,
    add_step_counter,
    colour_axes,
    crop_runs,
    picture_sheet,
    render,
    side_by_side,
)
from nca import damage, edits
from nca.errors import UserError
from nca.spec import Spec

SPEC = Spec(channels=6)
FORMATS = (".gif", ".png", ".webp")


@pytest.fixture(scope="module")
def states():
    """A body of opaque red that moves one cell to the right each step, (12, 9, 10, 6)."""
    moving = np.zeros((12, 9, 10, 6), np.float32)
    for t in range(12):
        moving[t, 3:6, t % 7 : t % 7 + 3, 0] = 1
        moving[t, 3:6, t % 7 : t % 7 + 3, 3:] = 1
        moving[t, 4, t % 7 + 1, 5] = -2
    return moving


def blocks(frame, scale):
    """The frame as (y, row, x, column, colour)."""
    high, wide = frame.shape[0] // scale, frame.shape[1] // scale
    return frame.reshape(high, scale, wide, scale, 3)


@pytest.mark.parametrize("view", ["body", "alive", "pca"])
def test_every_cell_is_a_square_of_one_colour(states, view):
    frames = render(states, SPEC, view, scale=7, counter=False)
    assert frames.shape == (12, 63, 70, 3)
    squares = blocks(frames[5], 7)
    assert (squares == squares[:, :1, :, :1]).all()


def test_the_body_shows_its_colour_over_white(states):
    frame = render(states, SPEC, scale=1, counter=False)[0]
    assert frame[4, 1].tolist() == [255, 0, 0]
    assert frame[0, 9].tolist() == [255, 255, 255]


def test_half_transparent_cells_let_the_background_through():
    state = np.zeros((1, 3, 3, 6), np.float32)
    state[0, 1, 1] = [0.5, 0, 0, 0.5, 0, 0]
    on_white = render(state, SPEC, scale=1, counter=False)[0, 1, 1]
    on_black = render(state, SPEC, scale=1, counter=False, background="black")[0, 1, 1]
    assert on_white.tolist() == [255, 128, 128]
    assert on_black.tolist() == [128, 0, 0]


def test_the_longer_side_becomes_some_500_pixels(states):
    assert 400 <= max(render(states, SPEC, counter=False).shape[1:3]) <= 600
    assert 400 <= max(render(states, SPEC, "channels", counter=False).shape[1:3]) <= 800


def test_the_counter_says_another_step_in_every_frame(states):
    frames = render(states, SPEC)
    bare = render(states, SPEC, counter=False)
    strips = frames[:, bare.shape[1] :]
    assert (frames[:, : bare.shape[1]] == bare).all()
    assert len(np.unique(strips.reshape(len(strips), -1), axis=0)) == len(frames)
    assert (strips.min(axis=(1, 2, 3)) < 120).all()


def test_the_counter_begins_at_the_first_step_and_counts_by_every(states):
    third = render(states, SPEC, first_step=50, every=3)
    again = add_step_counter(render(states[::3], SPEC, counter=False), 50, 3)
    assert len(third) == 4
    assert (third == again).all()
    assert (third[1] == render(states[3:4], SPEC, first_step=53)[0]).all()


def test_the_alive_view_rings_the_body_with_the_sites_beside_it(states):
    frame = render(states, SPEC, "alive", scale=1, counter=False)[3]
    assert frame[4, 4].tolist() == list(MATURE)
    assert frame[2, 2].tolist() == list(LIVING)
    assert frame[0, 0].tolist() == [255, 255, 255]


def test_the_channels_view_is_white_at_zero_and_red_and_blue_about_it(states):
    frames = render(states, SPEC, "channels", channels=["h1"], scale=8, counter=False, limit=2.0)
    tile = frames[0, 46 : 46 + 72, 16 : 16 + 80]
    assert (tile[0, 79] > 240).all()
    red, _, blue = tile[8 * 4 + 4, 12].astype(int)
    assert blue > red  # -2
    red, _, blue = tile[8 * 3 + 4, 12].astype(int)
    assert red > blue  # +1


def test_a_channel_is_shown_by_name_or_number_and_an_unknown_one_is_refused(states):
    named = render(states, SPEC, "channels", channels=["h0", "alpha"])
    assert (named == render(states, SPEC, "channels", channels=[4, "3"])).all()
    with pytest.raises(UserError, match="no channel 'h9'"):
        render(states, SPEC, "channels", channels=["h9"])


def test_the_pca_view_keeps_a_cells_colour_when_the_directions_are_given(states):
    axes = colour_axes(states, SPEC)
    whole = render(states, SPEC, "pca", axes=axes, counter=False)
    part = render(states[2:4], SPEC, "pca", axes=axes, counter=False)
    assert (whole[2:4] == part).all()


def test_the_first_direction_is_the_one_along_which_cells_differ():
    draw = np.random.default_rng(0)
    cells = np.ones((1, 12, 12, 6)) + draw.normal(size=(1, 12, 12, 6)) * 0.01
    cells[..., 4] += draw.normal(size=(1, 12, 12)) * 2
    _, directions = colour_axes(cells, SPEC)
    assert np.abs(directions[0]).argmax() == 4
    assert directions[0, 4] > 0


def test_exploded_and_dead_states_can_be_shown():
    wild = np.full((2, 5, 5, 6), np.inf, np.float32)
    wild[1] = np.nan
    for view in VIEWS:
        assert render(wild, SPEC, view).dtype == np.uint8
        assert render(np.zeros((2, 5, 5, 6)), SPEC, view).dtype == np.uint8


def test_cropping_keeps_all_that_ever_lives_and_cuts_twins_alike(states):
    still = np.zeros_like(states)
    still[:, 8, 0, 3] = 1
    left, right = crop_runs([states, still])
    assert left.shape == right.shape
    assert left.sum() == pytest.approx(states.sum())
    assert left.shape[1] == 8


def test_films_side_by_side_keep_their_pixels(states):
    left = render(states, SPEC, scale=20, counter=False)
    right = render(states[::-1], SPEC, scale=20, counter=False)
    both = side_by_side(left, right, ("one", "two"))
    top = both.shape[1] - left.shape[1]
    assert (both[:, top:, : left.shape[2]] == left).all()
    assert (both[:, top:, -left.shape[2] :] == right).all()
    assert both[0, :top].min() < 120
    with pytest.raises(UserError, match="one shape"):
        side_by_side(left, right[:4], ("one", "two"))


def test_a_wound_at_a_step_shows_in_the_frame_of_that_step():
    organism = nca.Organism(random_rule(3, channels=6), canvas=(12, 12))
    state = np.zeros((12, 12, 6), np.float32)
    state[2:10, 2:10, 3] = 1
    wound = edits.erase(organism).where(damage.cut((12, 12), "left")).at(6)
    grown = nca.trajectory(organism, 10, key=nca.run_key(0), state=state, edits=[wound])
    frames = render(grown, organism.rule.spec, "alive", scale=1, counter=False)
    dark = (frames == np.array(MATURE)).all(-1)[:, :, :6].any((1, 2))
    assert dark[5]
    assert not dark[6]


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_film_is_read_back_frame_by_frame_and_loops(states, tmp_path, suffix):
    frames = render(states, SPEC)
    path = save_film(frames, tmp_path / f"film{suffix}", fps=20)
    with Image.open(path) as image:
        assert image.n_frames == 12
        assert image.info["loop"] == 0
        for t in range(12):
            image.seek(t)
            image.load()
            shown = np.asarray(image.convert("RGB")).astype(int)
            assert np.abs(shown - frames[t]).max() <= 4
            assert image.info["duration"] == (1000 if t == 11 else 50)


@pytest.mark.filterwarnings("ignore:os.fork")
def test_an_mp4_holds_the_pictures_and_a_second_of_the_last(states, tmp_path):
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    frames = render(states, SPEC, scale=15)[:, :161, :149]
    path = save_film(frames, tmp_path / "film.mp4", fps=10)
    read = imageio_ffmpeg.read_frames(str(path))
    about = next(read)
    pictures = [np.frombuffer(p, np.uint8).reshape(162, 150, 3) for p in read]
    assert about["size"] == (150, 162)
    assert len(pictures) == 12 + 10
    assert np.abs(pictures[0][67, 22].astype(int) - [255, 0, 0]).max() < 20


def test_an_mp4_without_its_extra_names_the_extra(states, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    with pytest.raises(UserError, match=r"nca-dissection\[video\]"):
        save_film(render(states, SPEC), tmp_path / "film.mp4")
    assert not list(tmp_path.iterdir())


def test_few_colours_survive_a_gif_exactly(tmp_path):
    draw = np.random.default_rng(1)
    colours = draw.integers(0, 256, (200, 3)).astype(np.uint8)
    frames = colours[draw.integers(0, 200, (5, 30, 30))]
    with Image.open(save_film(frames, tmp_path / "film.gif")) as image:
        for t in range(5):
            image.seek(t)
            assert (np.asarray(image.convert("RGB")) == frames[t]).all()


def test_what_is_still_does_not_flicker_in_a_gif_of_many_colours(tmp_path):
    draw = np.random.default_rng(2)
    frames = draw.integers(0, 256, (6, 40, 40, 3)).astype(np.uint8)
    frames[:, :10] = frames[0, :10]
    with Image.open(save_film(frames, tmp_path / "film.gif")) as image:
        shown = []
        for t in range(6):
            image.seek(t)
            shown.append(np.asarray(image.convert("RGB"))[:10])
    assert all((picture == shown[0]).all() for picture in shown)


def test_the_background_of_a_gif_stays_pure_white(tmp_path):
    frames = np.random.default_rng(3).integers(0, 250, (4, 40, 40, 3)).astype(np.uint8)
    frames[:, :20] = 255
    with Image.open(save_film(frames, tmp_path / "film.gif")) as image:
        assert (np.asarray(image.convert("RGB"))[:20] == 255).all()


def test_a_film_of_one_frame_is_a_picture(states, tmp_path):
    for suffix in FORMATS:
        with Image.open(save_film(render(states[:1], SPEC), tmp_path / f"one{suffix}")) as image:
            assert getattr(image, "n_frames", 1) == 1


def test_a_film_of_200_steps_on_a_published_canvas_stays_below_3_megabytes(tmp_path):
    # Every living cell takes another colour in every frame, which no organism does.
    draw = np.random.default_rng(4)
    grown = np.zeros((201, 72, 72, 6), np.float32)
    grown[:, 20:52, 20:52, :3] = draw.uniform(0.3, 0.6, (1, 32, 32, 3))
    grown[:, 20:52, 20:52, :3] += draw.uniform(0, 0.05, (201, 32, 32, 3))
    grown[:, 20:52, 20:52, 3] = 1
    frames = render(grown, SPEC)
    for suffix in (".gif", ".webp"):
        assert save_film(frames, tmp_path / f"film{suffix}").stat().st_size < 3e6


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"path": "film.avi"}, ".gif, .png, .webp, .mp4"),
        ({"path": "film"}, ".gif, .png, .webp, .mp4"),
        ({"fps": 0}, "fps"),
        ({"fps": float("nan")}, "fps"),
        ({"frames": np.zeros((0, 4, 4, 3), np.uint8)}, "film needs"),
        ({"frames": np.zeros((2, 4, 4, 3))}, "film needs"),
        ({"path": "nowhere/film.gif"}, "nowhere"),
    ],
)
def test_a_film_that_cannot_be_written_is_refused_in_a_sentence(tmp_path, change, says):
    given = {"frames": np.zeros((2, 4, 4, 3), np.uint8), "path": "film.gif", "fps": 20} | change
    with pytest.raises(UserError, match=says):
        save_film(given["frames"], tmp_path / given["path"], given["fps"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("change", [{"view": "front"}, {"scale": 0}, {"every": 0}, {"background": "whale"}])
def test_a_look_that_does_not_exist_is_refused(states, change):
    with pytest.raises(UserError):
        render(states, SPEC, **change)


def test_states_of_another_shape_are_refused():
    with pytest.raises(UserError, match="time, y, x, channel"):
        render(np.zeros((4, 4, 6)), SPEC)


@pytest.mark.parametrize("suffix", [*FORMATS, ".mp4"])
def test_a_full_disk_leaves_no_film_behind(states, tmp_path, monkeypatch, suffix):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left"):
        save_film(render(states, SPEC), tmp_path / f"film{suffix}")
    assert not list(tmp_path.iterdir())


def test_an_encoder_that_fails_leaves_no_film_behind_and_says_why(states, tmp_path, monkeypatch):
    monkeypatch.setattr(encode, "_ffmpeg", lambda: "/bin/false")
    with pytest.raises(UserError, match="ffmpeg failed"):
        save_film(render(states, SPEC), tmp_path / "film.mp4")
    assert not list(tmp_path.iterdir())


def test_the_gallery_has_a_tile_for_every_picture():
    pictures = {f"p{i}": np.ones((8, 8, 4), np.float32) for i in range(6)}
    sheet = picture_sheet(pictures)
    assert sheet.width == 3 * (160 + 2 * GAP)
    assert sheet.height == 2 * (160 + 28 + GAP)


@pytest.mark.parametrize("moving", [0, 1, 12])
@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".mp4"])
def test_a_film_lasts_as_long_as_its_frames_and_a_second_however_still_it_is(tmp_path, suffix, moving):
    if suffix == ".mp4":
        pytest.importorskip("imageio_ffmpeg")
    frames = np.full((12, 32, 32, 3), 200, np.uint8)
    for n in range(moving):
        frames[n, n : n + 2] = 40
    path = encode.save_film(frames, tmp_path / f"film{suffix}", fps=10)
    if suffix == ".mp4":
        import imageio_ffmpeg

        count, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
        assert count == 12 + 10
        assert seconds == pytest.approx(2.2, abs=0.11)
        return
    durations = []
    with Image.open(path) as film:
        for n in range(getattr(film, "n_frames", 1)):
            film.seek(n)
            film.load()
            durations.append(film.info["duration"])
    assert sum(durations) == 11 * 100 + 1000
    assert len(durations) >= min(moving, 11)
