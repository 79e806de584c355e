"""The bundled drawings, picture files and emoji, and the mistakes people make with them."""

import contextlib
import struct
import sys
import warnings
from io import BytesIO

import emoji
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import newTable
from fontTools.ttLib.tables.sbixGlyph import Glyph
from fontTools.ttLib.tables.sbixStrike import Strike
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from nca.errors import UserError
from nca.organism import pad_to_canvas
from nca.targets import describe, names, target

DISTANCE = 0.1


def covered(picture):
    return picture[..., 3] > 0.1


def save(path, pixels):
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)
    return path


def disc(side, inside=(40, 160, 60, 255), outside=(0, 0, 0, 0), radius=0.4):
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return np.where((np.hypot(y, x) < radius * side)[..., None], inside, outside)


def on_white(picture, side):
    """The bytes of a premultiplied picture on white, with a wide white border."""
    flat = pad_to_canvas(picture, (side, side), "picture")
    return ((flat[..., :3] + 1 - flat[..., 3:]) * 255).round()


def raising(error):
    """A function that takes anything and raises `error`."""

    def fail(*_, **__):
        raise error("odd")

    return fail


def mistake(*arguments, **options):
    """The text of the UserError that `target` raises: one sentence, on one line."""
    with pytest.raises(UserError) as caught:
        target(*arguments, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith((".", "?"))
    return text


# The bundled drawings.


def test_the_promised_drawings_are_bundled():
    assert {"lizard", "planarian", "flag", "starfish", "butterfly"} <= set(names())


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("size", [4, 23, 40, 96])
def test_a_drawing_is_premultiplied_and_in_range_at_every_size(name, size):
    picture = target(name, size)
    assert picture.shape == (size, size, 4)
    assert picture.dtype == np.float32
    assert picture.min() >= 0
    assert picture.max() <= 1
    assert (picture[..., :3] <= picture[..., 3:]).all()


@pytest.mark.parametrize("name", names())
def test_a_drawing_covers_the_four_middle_cells_where_growth_starts(name):
    assert target(name)[19:21, 19:21, 3].min() > 0.999


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("size", [40, 64])
def test_a_drawing_spans_the_box_to_within_a_cell_on_its_longer_side(name, size):
    visible = target(name, size)[..., 3] > 0
    assert max(visible.any(axis=0).sum(), visible.any(axis=1).sum()) >= size - 1


@pytest.mark.parametrize("name", names())
def test_a_drawing_is_one_piece_so_that_growth_can_reach_all_of_it(name):
    body = covered(target(name))
    reached = np.zeros_like(body)
    reached[20, 20] = True
    for _ in range(200):
        near = np.pad(reached, 1)
        near = near[:-2] | near[1:-1] | near[2:]
        reached = (near[:, :-2] | near[:, 1:-1] | near[:, 2:]) & body
    assert (reached == body).all()


@pytest.mark.parametrize("name", names())
def test_a_drawing_has_a_soft_edge_and_a_solid_inside(name):
    alpha = target(name)[..., 3]
    soft = (alpha > 0.02) & (alpha < 0.98)
    assert soft.sum() > 40
    assert soft.sum() < (alpha > 0.98).sum()


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("lizard", 400, 550),
        ("planarian", 350, 450),
        ("flag", 900, 1100),
        ("starfish", 600, 750),
        ("butterfly", 800, 1000),
        ("axolotl", 800, 900),
    ],
)
def test_a_drawing_covers_its_stated_number_of_cells(name, least, most):
    assert least <= covered(target(name)).sum() <= most


@pytest.mark.parametrize("name", names())
def test_a_drawing_is_the_same_every_time_and_at_every_size(name):
    assert np.array_equal(target(name), target(name))
    coarse = target(name, 80).reshape(40, 2, 40, 2, 4).mean(axis=(1, 3))
    assert np.abs(coarse - target(name)).mean() < 0.01


@pytest.mark.parametrize("name", names())
def test_a_drawing_has_a_description_of_one_line(name):
    assert 20 < len(describe(name)) < 100
    assert "\n" not in describe(name)


@pytest.mark.parametrize("turn", [np.fliplr, np.flipud, np.rot90, lambda p: p[::-1, ::-1]])
def test_a_lizard_differs_from_its_mirror_images_and_turns(turn):
    lizard = target("lizard")
    assert np.abs(lizard - turn(lizard)).mean() > DISTANCE


def test_a_lizard_has_its_eyes_at_the_head_and_its_curl_at_the_lower_right():
    lizard = target("lizard")
    dark = (lizard[..., 3] > 0.98) & (lizard[..., :3].max(axis=-1) < 0.42)
    assert dark[:20].sum() >= 6
    assert not dark[20:].any()
    body = covered(lizard)[30:]
    assert body[:, 20:].sum() > 3 * body[:, :20].sum()


def test_a_planarian_is_widest_at_its_head_and_narrowest_at_its_tail():
    widths = covered(target("planarian")).sum(axis=1)
    assert widths[:14].max() > 1.25 * widths[14:].max()
    assert widths[-3:].max() < widths[14:30].min()


def test_a_flag_is_blue_white_and_red_and_opaque():
    flag = target("flag")
    for column, rgb in ((7, (0.12, 0.31, 0.85)), (20, (1, 1, 1)), (33, (0.91, 0.19, 0.23))):
        assert np.allclose(flag[15:25, column - 3 : column + 4, :3], rgb, atol=0.01)
    assert flag[15:25, 1:39, 3].min() > 0.999


def test_a_starfish_is_nearly_unchanged_by_a_fifth_of_a_turn_and_not_by_other_turns():
    alpha = target("starfish", 120)[..., 3]
    y, x = np.mgrid[:120, :120]
    centre = [(alpha * axis).sum() / alpha.sum() + 0.5 for axis in (x, y)]
    image = Image.fromarray(alpha)

    def change(degrees):
        turned = image.rotate(degrees, Image.Resampling.BILINEAR, center=centre)
        return np.abs(alpha - np.asarray(turned)).sum() / alpha.sum()

    assert max(change(72 * turn) for turn in range(1, 5)) < 0.05
    assert min(change(degrees) for degrees in (36, 90, 108, 180)) > 0.3


def test_a_butterfly_is_its_own_mirror_image():
    butterfly = target("butterfly")
    assert np.abs(butterfly - np.fliplr(butterfly)).max() < 0.1


# Picture files.


def test_a_picture_of_the_wanted_size_comes_back_unchanged(tmp_path):
    lizard = target("lizard")
    colour = lizard[..., :3] / np.maximum(lizard[..., 3:], 1e-6)
    pixels = np.dstack([colour, lizard[..., 3:]]) * 255
    back = target(save(tmp_path / "lizard.png", pixels.round()))
    assert np.abs(back - lizard).max() < 1.01 / 255


def test_a_path_may_be_text_and_its_picture_is_cropped_and_centred(tmp_path):
    pixels = np.pad(disc(64), ((100, 3), (7, 50), (0, 0)))
    picture = target(str(save(tmp_path / "disc.png", pixels)), 32)
    assert picture[16, 16, 3] > 0.999
    assert np.abs(picture - picture[::-1, ::-1]).max() < 1e-5
    assert covered(picture).any(axis=0).sum() >= 31


def test_averaging_never_mixes_in_the_colour_of_invisible_pixels(tmp_path):
    pixels = disc(200, inside=(0, 255, 0, 255), outside=(255, 0, 0, 0))
    picture = target(save(tmp_path / "disc.png", pixels), 16)
    assert picture[..., 0].max() == 0
    assert np.allclose(picture[..., 1], picture[..., 3], atol=1e-6)


def test_an_oblong_picture_keeps_its_proportions_and_area(tmp_path):
    pixels = np.full((300, 90, 4), 255)
    pixels[0, 0, 3] = 0
    alpha = target(save(tmp_path / "oblong.png", pixels), 40)[..., 3]
    assert alpha.sum() == pytest.approx(40 * 12, rel=1e-3)
    assert np.allclose(alpha, alpha[:, ::-1], atol=0.02)


def test_a_small_picture_is_enlarged_into_blocks(tmp_path):
    pixels = disc(8, radius=0.55)
    picture = target(save(tmp_path / "small.png", pixels), 16)
    assert np.allclose(picture[::2, ::2], picture[1::2, 1::2], atol=1e-6)


@pytest.mark.parametrize("background", ["white", "#ffffff", "auto"])
def test_a_background_is_removed_but_not_the_same_colour_inside(tmp_path, background):
    flag = target("flag", 200)
    path = save(tmp_path / "flag.png", on_white(flag, 260))
    picture = target(path, 40, background=background)
    assert np.abs(picture - target("flag")).mean() < 0.01
    assert picture[20, 20].min() > 0.99


def test_a_background_is_removed_inside_a_transparent_border_too(tmp_path):
    pixels = np.pad(disc(40, outside=(255, 255, 255, 255)), ((5, 5), (5, 5), (0, 0)))
    alpha = target(save(tmp_path / "framed.png", pixels), 32, background="white")[..., 3]
    assert alpha[0, 0] == 0
    assert alpha[16, 16] > 0.999


def test_a_background_is_followed_round_corners(tmp_path):
    pixels = np.full((60, 60, 3), 255)
    pixels[10:50, 10:50] = (200, 0, 0)
    for turn in range(8, 48, 8):
        pixels[turn + 4 : turn + 8, 12:48] = 255
        pixels[turn + 4 : turn + 8, 10 if turn % 16 else 48 :][:, :3] = 255
    path = save(tmp_path / "maze.png", pixels)
    whites = (pixels == 255).all(axis=-1)[10:50, 10:50]
    assert np.array_equal(target(path, background="auto")[..., 3] < 0.5, whites)


def test_a_jpeg_background_is_removed_despite_its_noise(tmp_path):
    pixels = disc(120, inside=(20, 90, 200), outside=(250, 250, 250))
    path = tmp_path / "disc.jpg"
    Image.fromarray(pixels.astype(np.uint8)).save(path, quality=80)
    picture = target(path, 40, background="auto")
    assert covered(picture).sum() == pytest.approx(np.pi * 20**2, rel=0.05)


def test_a_palette_picture_keeps_its_transparency(tmp_path):
    picture = target(save(tmp_path / "disc.gif", disc(64)))
    assert picture[0, 0, 3] < 0.1
    assert picture[20, 20, 3] > 0.999


# Picture files as a viewer shows them.


def colour_of(path, **options):
    """The colour in the middle of a picture, in bytes."""
    return (target(path, 8, **options)[4, 4] * 255).round().astype(int).tolist()


@pytest.fixture
def arrow():
    """An opaque arrow to the right on white, different from all its turns and mirror images."""
    pixels = np.full((40, 60, 3), 255, np.uint8)
    pixels[16:24, 8:40] = 200, 30, 30
    for column in range(40, 54):
        pixels[column - 34 : 74 - column, column] = 30, 30, 200
    pixels[30:34, 8:20] = 0
    return Image.fromarray(pixels)


# The transposition that undoes each orientation of the EXIF standard.
STORED = dict(zip(range(2, 9), [0, 3, 1, 5, 2, 6, 4], strict=True))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_stands_as_its_orientation_says(tmp_path, arrow, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = arrow if orientation == 1 else arrow.transpose(Image.Transpose(STORED[orientation]))
    lossless = {"lossless": True} if suffix == "webp" else {"quality": 95} if suffix == "jpg" else {}
    stored.save(tmp_path / f"turned.{suffix}", exif=exif, **lossless)
    arrow.save(tmp_path / "arrow.png")
    picture = target(tmp_path / f"turned.{suffix}", background="white")
    assert np.abs(picture - target(tmp_path / "arrow.png", background="white")).mean() < 0.01


def test_a_picture_with_damaged_metadata_is_shown_as_it_is_stored(tmp_path):
    Image.fromarray(disc(64).astype(np.uint8)).save(tmp_path / "odd.png", exif=b"no metadata")
    assert colour_of(tmp_path / "odd.png") == [40, 160, 60, 255]


def icc_profile(primaries, gamma):
    """The bytes of a display profile: the (3, 3) XYZ of red, green and blue at D50, and the gamma of all."""

    def number(value):
        return struct.pack(">i", round(value * 65536))

    white = np.sum(primaries, axis=0)
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    tags = {b"wtpt": b"XYZ " + bytes(4) + b"".join(map(number, white)), b"cprt": b"text" + bytes(8)}
    tags[b"desc"] = b"desc" + bytes(4) + struct.pack(">I", 1) + bytes(80)
    for name, xyz in zip((b"r", b"g", b"b"), primaries, strict=True):
        tags |= {name + b"XYZ": b"XYZ " + bytes(4) + b"".join(map(number, xyz)), name + b"TRC": curve}
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for name, value in tags.items():
        value += bytes(-len(value) % 4)
        table += name + struct.pack(">II", start + len(body), len(value))
        body += value
    header = b"\0\0\0\0lcms" + struct.pack(">I", 0x02400000) + b"mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28)
    header += b"".join(map(number, (0.9642, 1.0, 0.8249))) + bytes(48)
    data = header + struct.pack(">I", len(tags)) + table + body
    return struct.pack(">I", len(data)) + data[4:]


SRGB = np.array([[0.4361, 0.2225, 0.0139], [0.3851, 0.7169, 0.0971], [0.1431, 0.0606, 0.7142]])


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_colour_profile_is_converted_to_srgb(tmp_path, mode):
    picture = Image.fromarray(disc(64, (255, 0, 0, 255)).astype(np.uint8)).convert(mode)
    options = {"background": "black"} if mode == "RGB" else {}
    picture.save(tmp_path / "swapped.png", icc_profile=icc_profile(SRGB[[2, 1, 0]], 2.2))
    red, green, blue, alpha = colour_of(tmp_path / "swapped.png", **options)
    assert red < 4
    assert green < 4
    assert blue > 251
    assert alpha == 255


def test_a_profile_of_linear_light_is_brightened_and_a_damaged_one_is_ignored(tmp_path):
    picture = Image.fromarray(disc(64, (55, 55, 55, 255)).astype(np.uint8))
    picture.save(tmp_path / "linear.png", icc_profile=icc_profile(SRGB, 1.0))
    # 55 / 255 of the light is 1.055 * 0.2157 ** (1 / 2.4) - 0.055 = 0.502 of sRGB's scale.
    assert colour_of(tmp_path / "linear.png") == pytest.approx([128, 128, 128, 255], abs=1)
    picture.save(tmp_path / "damaged.png", icc_profile=b"no profile")
    assert colour_of(tmp_path / "damaged.png") == [55, 55, 55, 255]
    picture.convert("LA").save(tmp_path / "other.png", icc_profile=icc_profile(SRGB, 1.0))
    assert colour_of(tmp_path / "other.png") == [55, 55, 55, 255]


@pytest.mark.parametrize(("gamma", "srgb", "shown"), [(1.0, False, 127), (1.0, True, 55), (0.45455, False, 55)])
def test_the_gamma_of_a_png_counts_unless_it_says_srgb(tmp_path, gamma, srgb, shown):
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"gAMA", struct.pack(">I", round(gamma * 100000)))
    if srgb:
        chunks.add(b"sRGB", b"\0")
    picture = Image.fromarray(disc(64, (55, 55, 55, 255)).astype(np.uint8))
    picture.save(tmp_path / "gamma.png", pnginfo=chunks)
    assert colour_of(tmp_path / "gamma.png") == [shown, shown, shown, 255]  # 255 * (55 / 255) ** (1 / 2.2) = 127


P3 = [0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.15, 0.06]  # x and y of white, red, green and blue
P3_AT_D50 = np.array([[0.5151, 0.2412, -0.0011], [0.2920, 0.6922, 0.0419], [0.1571, 0.0666, 0.7841]])


def coloured(path, colour, icc=None, **chunks):
    """A disc of a colour in a PNG with these chunks."""
    info = PngImagePlugin.PngInfo()
    for name, value in chunks.items():
        info.add(
            name.encode(), value if name == "cICP" else struct.pack(f">{len(value)}I", *(round(v * 1e5) for v in value))
        )
    options = {} if icc is None else {"icc_profile": icc}
    Image.fromarray(disc(64, (*colour, 255)).astype(np.uint8)).save(path, pnginfo=info, **options)
    return path


def test_wide_colours_are_converted_to_srgb(tmp_path):
    """By the matrix of CSS Color 4, linear Display P3 (0.578, 0.127, 0.032) is (0.679, 0.108, 0.014) in sRGB."""
    path, colour = tmp_path / "wide.png", (200, 100, 50)
    coded = coloured(path, colour, cICP=bytes([12, 13, 0, 1]), gAMA=[1.0])  # the coding goes before the gamma
    assert colour_of(coded) == pytest.approx([215, 93, 31, 255], abs=1)
    # With a gamma of 2.2, dark colours differ a little.
    assert colour_of(coloured(path, colour, gAMA=[0.45455], cHRM=P3)) == pytest.approx([215, 93, 30, 255], abs=1)
    assert colour_of(coloured(path, colour, icc=icc_profile(P3_AT_D50, 2.2))) == pytest.approx(
        [216, 92, 24, 255], abs=2
    )
    assert colour_of(coloured(path, (0, 255, 0), cICP=bytes([12, 13, 0, 1]))) == [0, 255, 0, 255]  # beyond sRGB


@pytest.mark.parametrize(
    "chunks", [{"cICP": bytes([1, 13, 0, 1])}, {"cHRM": [*P3[:2], 0.64, 0.33, 0.3, 0.6, 0.15, 0.06]}]
)
def test_the_primaries_of_srgb_change_nothing(tmp_path, chunks):
    assert colour_of(coloured(tmp_path / "same.png", (200, 100, 50), gAMA=[0.45455], **chunks)) == [200, 100, 50, 255]


def test_white_stays_white_and_impossible_primaries_are_ignored(tmp_path):
    path, d50 = tmp_path / "white.png", [0.3457, 0.3585, *P3[2:]]
    assert colour_of(coloured(path, (255, 255, 255), gAMA=[0.45455], cHRM=d50)) == [255, 255, 255, 255]
    assert colour_of(coloured(path, (200, 100, 50), gAMA=[0.45455], cHRM=[0.0] * 8)) == [200, 100, 50, 255]


def test_a_picture_of_hdr_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"those of HDR \(cICP 9 and 16\); save it as sRGB"):
        target(coloured(tmp_path / "hdr.png", (200, 100, 50), cICP=bytes([9, 16, 0, 1])))


def test_16_bit_greys_keep_their_brightness_and_their_transparent_grey(tmp_path):
    greys = np.where(disc(64)[..., 3] > 0, 40000, 12).astype(np.uint16)
    Image.fromarray(greys).save(tmp_path / "grey.png")
    assert colour_of(tmp_path / "grey.png", background="auto") == [156, 156, 156, 255]  # 40000 / 257
    Image.fromarray(greys).save(tmp_path / "keyed.png", transparency=12)
    assert colour_of(tmp_path / "keyed.png") == [156, 156, 156, 255]


def test_a_palette_keeps_its_partial_transparency(tmp_path):
    picture = Image.fromarray(disc(64)[..., 0].astype(np.uint8) > 0).convert("P")
    picture.putpalette([0, 0, 0, 200, 100, 0])
    picture.point(lambda value: min(value, 1)).save(tmp_path / "palette.png", transparency=bytes([0, 128]))
    assert colour_of(tmp_path / "palette.png") == [100, 50, 0, 128]


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_an_animated_picture_shows_its_first_frame(tmp_path, suffix):
    frames = [Image.fromarray(disc(64, (*colour, 255)).astype(np.uint8)) for colour in ((200, 0, 0), (0, 0, 200))]
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(tmp_path / f"film.{suffix}", save_all=True, append_images=frames[1:], duration=50, **options)
    assert colour_of(tmp_path / f"film.{suffix}") == [200, 0, 0, 255]


def test_an_animated_png_shows_its_first_frame_and_not_the_still_beside_it(tmp_path):
    still, *film = [Image.new("RGB", (16, 16), colour) for colour in ("white", "red", "blue")]
    for frame in film:
        frame.paste("black", (0, 0, 2, 16))
    still.save(tmp_path / "film.png", save_all=True, append_images=film, default_image=True, duration=50)
    assert colour_of(tmp_path / "film.png", background="black") == [255, 0, 0, 255]


def test_a_picture_is_cropped_to_what_is_visible_and_not_to_a_faint_shadow(tmp_path):
    pixels = np.pad(disc(64), ((0, 64), (0, 64), (0, 0)))
    save(tmp_path / "disc.png", pixels)
    pixels[64:, 64:] = (0, 0, 0, 20)
    shadowed = target(save(tmp_path / "shadow.png", pixels))
    assert np.abs(shadowed - target(tmp_path / "disc.png")).mean() < 0.02
    assert covered(shadowed).any(axis=0).sum() >= 38


# Emoji.


@pytest.fixture
def font_folder(monkeypatch, tmp_path):
    """A folder that is the only one in which this system keeps fonts."""
    if not sys.platform.startswith("linux"):
        pytest.skip("other systems have no setting for where fonts are")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path))
    folder = tmp_path / "fonts" / "emoji"
    folder.mkdir(parents=True)
    return folder


def build_font(path, *, colours):
    """A font of one glyph, an orange square for the lizard: as a picture of 160 pixels, or as a coloured outline."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 900), (900, 900), (900, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square, names = pen.glyph(), [".notdef", "lizard", "square"]
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(names)
    font.setupCharacterMap({ord("🦎"): "lizard"})
    font.setupGlyf(dict.fromkeys(names, square))
    font.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    font.setupHorizontalHeader(ascent=1000, descent=0)
    font.setupNameTable({"familyName": "Test Emoji"})
    font.setupOS2()
    font.setupPost()
    if colours == "sbix":
        strike, png = Strike(ppem=160), BytesIO()
        Image.new("RGBA", (144, 144), (255, 128, 0, 255)).save(png, "png")
        strike.glyphs["lizard"] = Glyph(graphicType="png ", glyphName="lizard", imageData=png.getvalue())
        font.font["sbix"] = newTable("sbix")
        font.font["sbix"].strikes = {160: strike}
    elif colours == "COLR":
        font.setupCOLR({"lizard": [("square", 0)]}, version=0)
        font.setupCPAL([[(1, 0.5, 0, 1)]])
    font.save(path)


def test_an_emoji_without_its_font_says_which_package_to_install(font_folder):
    assert "install the package fonts-noto-color-emoji" in mistake("🦎")


def test_an_emoji_font_that_is_damaged_is_passed_over(font_folder):
    (font_folder / "NotoColorEmoji.ttf").write_bytes(b"not a font")
    assert "none can be read; install" in mistake("🦎")
    build_font(font_folder / "seguiemj.ttf", colours="COLR")
    assert colour_of("🦎") == pytest.approx([255, 128, 0, 255], abs=1)


@pytest.mark.parametrize(("name", "colours"), [("Apple Color Emoji.ttc", "sbix"), ("seguiemj.ttf", "COLR")])
def test_an_emoji_is_drawn_in_the_fonts_of_other_systems(font_folder, name, colours):
    build_font(font_folder / name, colours=colours)
    picture = target("🦎")
    assert picture[1:-1, 1:-1, 3].min() > 0.99
    assert colour_of("🦎") == pytest.approx([255, 128, 0, 255], abs=1)
    assert "Test Emoji has no picture of '🦋'" in mistake("🦋")


def test_a_font_without_colours_has_no_picture(font_folder):
    build_font(font_folder / "seguiemj.ttf", colours=None)
    assert "has no picture of '🦎'" in mistake("🦎")


@pytest.fixture
def with_emoji_font():
    try:
        target("🦎")
    except UserError:
        pytest.skip("no colour-emoji font is installed")


@pytest.mark.usefixtures("with_emoji_font")
def test_an_emoji_is_drawn_in_colour_where_its_font_is_installed():
    picture = target("🦎")
    assert covered(picture).sum() > 200
    assert (picture[..., 1] > picture[..., 0] + 0.1).sum() > 50
    assert "drawn as several" in mistake("🦎🦋")


@pytest.mark.usefixtures("with_emoji_font")
@pytest.mark.parametrize(
    "text",
    [
        "1️⃣",
        "#️⃣",
        "ℹ️",
        "‼️",
        "❤",
        "🇩🇪",
        "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
        "👩🏽‍🚀",
        "👨‍👩‍👧‍👦",
    ],
)
def test_keycaps_flags_and_sequences_are_emoji(text):
    assert covered(target(text)).sum() > 200


@pytest.mark.usefixtures("with_emoji_font")
def test_every_emoji_of_unicode_15_is_one_picture():
    known = sorted(text for text, entry in emoji.EMOJI_DATA.items() if entry["E"] <= 15 and entry["status"] == 2)
    assert len(known) > 3000
    for text in known[::60]:
        assert target(text, 8).shape == (8, 8, 4)


@pytest.mark.parametrize("text", ["1", "#", "lizard 🦎", "é", "中"])
def test_other_texts_are_names_and_not_emoji(text):
    assert "There is no drawing" in mistake(text)


# Mistakes.


def test_an_unknown_name_gets_the_list_and_the_closest_name():
    text = mistake("lizzard")
    assert "'lizzard'" in text
    assert "starfish" in text
    assert "did you mean lizard?" in text
    assert "did you mean" not in mistake("qqqq")
    with pytest.raises(UserError, match="did you mean planarian"):
        describe("planaria")


@pytest.mark.parametrize("size", [3, 513, 0, -40, 40.0, "40", None])
def test_a_size_outside_4_to_512_is_refused(size):
    assert mistake("lizard", size) == f"A target's size is a whole number from 4 to 512, not {size!r}."


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    assert "does not exist" in mistake(tmp_path / "none.png")
    assert "does not exist" in mistake("none.png")
    assert "is not a file" in mistake(tmp_path)


def test_a_truncated_picture_is_refused(tmp_path):
    path = save(tmp_path / "cut.png", np.random.default_rng(0).integers(0, 256, (64, 64, 4)))
    path.write_bytes(path.read_bytes()[:2000])
    assert "not a readable picture or is cut short" in mistake(path)


def test_a_text_file_is_not_a_picture(tmp_path):
    (tmp_path / "note.png").write_text("a lizard, in words")
    assert "not a readable picture" in mistake(tmp_path / "note.png")


@pytest.mark.parametrize("error", [SyntaxError, EOFError, ValueError, OverflowError, MemoryError])
def test_whatever_a_reader_raises_becomes_a_user_error(tmp_path, monkeypatch, error):
    path = save(tmp_path / "disc.png", disc(20))
    monkeypatch.setattr(Image.Image, "convert", raising(error))
    assert "not a readable picture" in mistake(path)


def test_a_picture_that_may_not_be_read_says_so(tmp_path, monkeypatch):
    path = save(tmp_path / "disc.png", disc(20))
    monkeypatch.setattr(Image, "open", raising(PermissionError))
    assert "may not be read; change its permissions" in mistake(path)


def test_an_opaque_picture_needs_a_background(tmp_path):
    for channels in (3, 4):
        path = save(tmp_path / "opaque.png", np.full((20, 20, channels), 255))
        assert "has no transparent part; make its background transparent, or name its colour" in mistake(path)


def test_a_wrong_background_is_refused(tmp_path):
    path = save(tmp_path / "disc.png", disc(20, (0, 0, 0), (255, 255, 255)))
    assert "not 'whyte'" in mistake(path, background="whyte")
    path = save(tmp_path / "half.png", np.repeat([[[0] * 3, [255] * 3]], 10, axis=0).repeat(5, 1))
    assert "corners" in mistake(path, background="auto")


def test_an_empty_picture_is_refused(tmp_path):
    path = save(tmp_path / "empty.png", np.zeros((20, 20, 4)))
    assert "is fully transparent" in mistake(path)


def test_a_picture_of_one_flat_colour_is_refused(tmp_path):
    path = save(tmp_path / "flat.png", np.full((20, 20, 3), 90))
    assert "is all background" in mistake(path, background="auto")


@pytest.mark.parametrize("side", [1, 3])
def test_a_picture_of_a_few_pixels_is_refused(tmp_path, side):
    pixels = np.zeros((20, 20, 4))
    pixels[5, 5 : 5 + side] = 255
    assert f"has {side}; use a larger one" in mistake(save(tmp_path / "dot.png", pixels))


def test_a_picture_too_faint_or_thin_to_live_is_refused(tmp_path):
    path = save(tmp_path / "faint.png", disc(40, inside=(255, 0, 0, 20)))
    assert "too faint or thin at size 40" in mistake(path)
    line = np.pad(np.full((1, 2000, 4), 255), ((4, 4), (4, 4), (0, 0)))
    assert "too faint or thin" in mistake(save(tmp_path / "line.png", line))


@pytest.mark.parametrize("shape", [(1, 4097), (4097, 1), (9000, 12000), (30000, 30000)])
def test_a_picture_too_large_is_refused_before_it_is_decoded(tmp_path, shape):
    # A tiny file whose header claims the shape: decoding it would fail, or fill the memory.
    path = save(tmp_path / "large.bmp", np.zeros((1, 1, 3)))
    header = bytearray(path.read_bytes())
    header[18:26] = np.array(shape[::-1], "<i4").tobytes()
    path.write_bytes(header)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "at most 4,096 pixels on a side" in mistake(path)


def test_the_largest_picture_allowed_is_read(tmp_path):
    pixels = np.zeros((4096, 64, 4), np.uint8)
    pixels[:, 8:56] = 255
    assert target(save(tmp_path / "tall.png", pixels), 256)[128, 128, 3] > 0.999


@settings(max_examples=60, deadline=None)
@given(
    magic=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"RIFF\0\0\0\0WEBP"]),
    data=st.binary(max_size=400),
)
def test_random_bytes_as_a_picture_raise_only_user_errors(tmp_path_factory, magic, data):
    path = tmp_path_factory.getbasetemp() / "random.png"
    path.write_bytes(magic + data)
    with contextlib.suppress(UserError):
        target(path, 8, background="auto")


@settings(max_examples=60, deadline=None)
@given(
    suffix=st.sampled_from(["png", "gif", "bmp", "webp", "jpg"]),
    where=st.floats(0, 1),
    junk=st.binary(min_size=1, max_size=8),
)
def test_a_picture_with_damaged_bytes_raises_only_user_errors(tmp_path_factory, suffix, where, junk):
    path = tmp_path_factory.getbasetemp() / f"damaged.{suffix}"
    save(path, disc(24, (200, 30, 30), (255, 255, 255)))
    content = bytearray(path.read_bytes())
    at = int(where * len(content))
    content[at : at + len(junk)] = junk
    path.write_bytes(content)
    with contextlib.suppress(UserError):
        target(path, 8, background="auto")


@settings(max_examples=40, deadline=None)
@given(source=st.text(max_size=12))
def test_any_text_as_a_source_raises_only_user_errors(source):
    with contextlib.suppress(UserError):
        target(source, 8)
