"""Animations, read back by Pillow."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from nelbo.errors import ConfigurationError, ShapeError
from nelbo.plots import animate, animate_images, moving_points, save
from nelbo.plots.animation import BAND, FRAME, REST
from nelbo.plots.style import new_figure


def frames(num: int = 4) -> list[Image.Image]:
    pixels = np.random.default_rng(0).integers(0, 256, (num, 9, 12, 3), dtype=np.uint8)
    return [Image.fromarray(frame) for frame in pixels]


def read(path) -> tuple[list[Image.Image], list[int], int]:
    with Image.open(path) as picture:
        shown = [(frame.convert("RGB"), frame.info["duration"]) for frame in ImageSequence.Iterator(picture)]
        return [frame for frame, _ in shown], [duration for _, duration in shown], picture.info["loop"]


def test_the_last_frame_is_shown_longest():
    animation = animate(frames(4))
    assert list(animation.milliseconds) == [FRAME, FRAME, FRAME, REST]
    assert list(animate(frames(1)).milliseconds) == [REST]
    with pytest.raises(ShapeError, match="at least one frame"):
        animate([])


def test_webp_is_lossless(tmp_path):
    given = frames(4)
    shown, times, loop = read(save(animate(given), tmp_path / "it.webp"))
    assert [frame.tobytes() for frame in shown] == [frame.tobytes() for frame in given]
    assert (times, loop) == ([FRAME, FRAME, FRAME, REST], 0)


@pytest.mark.parametrize("num", [1, 4])
def test_gif_keeps_every_frame(tmp_path, num: int):
    given = frames(num)
    path = save(animate(given), tmp_path / "it.gif")
    assert path.read_bytes().startswith(b"GIF89a")
    with Image.open(path) as picture:
        assert (picture.n_frames, picture.size) == (num, (12, 9))
    if num > 1:
        shown, times, loop = read(path)
        assert (times, loop) == ([FRAME, FRAME, FRAME, REST], 0)
        for frame, original in zip(shown, given, strict=True):
            assert np.abs(np.asarray(frame, float) - np.asarray(original, float)).mean() < 25


def test_the_same_animation_gives_the_same_bytes(tmp_path):
    for ending in ("gif", "webp"):
        one, two = (save(animate(frames()), tmp_path / f"{i}.{ending}").read_bytes() for i in range(2))
        assert one == two


def test_images_are_drawn_below_their_caption():
    images = torch.linspace(-1, 1, 8).view(2, 1, 2, 2).expand(2, 1, 2, 2)
    animation = animate_images([("t = 2", images), ("t = 1", -images)], 2)
    first, second = animation.frames
    assert first.size == second.size and first.mode == "RGB"
    below = [np.asarray(frame)[BAND:, :, 0] for frame in (first, second)]
    levels = {round(127.5 * (v + 1)) for v in torch.linspace(-1, 1, 8).tolist()}
    assert levels <= set(below[0].flatten().tolist())
    assert (np.asarray(first)[:BAND] != np.asarray(second)[:BAND]).any()  # the captions
    assert (below[0] != below[1]).any()


def test_figures_become_frames():
    animation = animate([new_figure(2.0, 1.0), new_figure(2.0, 1.0)])
    (size,) = {frame.size for frame in animation.frames}
    assert size[0] == 2 * size[1]


def test_points_move_forward_and_back():
    clouds = [torch.randn(20, 2, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    animation = moving_points([9, 4, 0], clouds, clouds)
    assert len(animation.frames) == 6 and animation.milliseconds[-1] == REST


@pytest.mark.parametrize("name", ["it.png", "it.mp4", "it"])
def test_an_animation_needs_an_animated_format(tmp_path, name: str):
    with pytest.raises(ConfigurationError, match=r"an animation as .*\.gif, \.webp; change out"):
        save(animate(frames()), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_figure_is_not_written_as_gif(tmp_path):
    with pytest.raises(ConfigurationError, match=r"a figure as 'it.gif'"):
        save(new_figure(1.0, 1.0), tmp_path / "it.gif")
