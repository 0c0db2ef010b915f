"""What the tabs show: the numbers are those of the Python API."""

import re
import shlex

import numpy as np
import pytest
import torch
from PIL import Image

from nelbo.codec import rmse
from nelbo.diffusion import VariationalBound, bits_per_dim
from nelbo.errors import ConfigurationError, DataError
from nelbo.evaluation import encode_image
from nelbo.plots import picture_of
from nelbo.probability import FAMILIES, levels_to_data, probabilities_of
from nelbo.randomness import standard_normal
from nelbo.studio import bits, counts, latent, noise, restore, sample, send


def test_noise_shows_one_draw_of_the_bound(run, image):
    t = 20
    found = noise.look(run, image, t)
    x_0 = levels_to_data(image[None], run.levels)
    e = standard_normal(x_0.shape, torch.Generator().manual_seed(noise.SEED), x_0)
    nats = VariationalBound(run.reverse()).step(x_0, torch.tensor([t]), e)
    assert found.bits == pytest.approx(float(bits_per_dim(nats, 64)))
    assert torch.equal(found.x_t, run.reverse().forward_process.sample(x_0, torch.tensor([t]), e)[0])
    assert found.log_snr == float(run.schedule.log_snr[t])


def test_noise_at_the_first_and_last_step(run, image):
    first, last = noise.look(run, image, 1), noise.look(run, image, run.schedule.num_steps)
    assert first.rmse < last.rmse and first.log_snr > last.log_snr
    page = noise.shown(run, image, run.schedule.num_steps, "data:image/png;base64,")
    assert page.count("<img") == 3 + 1 + 3 and "left:98.00%" in page
    assert "left:11.00%" in noise.shown(run, image, 1, "data:image/png;base64,")


def test_schedules_have_the_same_noise(run, image):
    found = noise.compared(run, image, 30)
    assert [name.split()[0] for name, _, _ in found] == ["linear", "cosine", "log-linear"]
    own = noise.look(run, image, 30)
    assert torch.allclose(found[2][2], own.x_t, atol=1e-4)  # the model's own schedule is log-linear


def test_last_step_is_what_sample_returns(run):
    setting = sample.Setting(steps=5, label="3", guidance=2.0)
    *_, last = sample.draw(run, 6, 4, [setting])
    expected = run.sample(6, seed=4, steps=5, label="3", guidance=2.0)
    assert last.done == last.total == 5 and "5 steps in" in last.words
    assert torch.equal(sample.pixels_of(last.steps[0].x_0, run.levels), expected)


def test_two_settings_start_from_the_same_noise(run):
    settings = [sample.Setting(steps=3), sample.Setting(sampler="ddim", steps=6)]
    frames = list(sample.draw(run, 2, 0, settings))
    assert torch.equal(frames[0].steps[0].x_t, frames[0].steps[1].x_t)
    assert len(frames) == 7 and [frame.done for frame in frames] == [2, 4, 6, 7, 8, 9, 9]
    assert frames[-1].steps[0].t == frames[-1].steps[1].t == 0
    page = sample.show(run, frames[0], settings, noisy=True)
    assert "dpm-solver++sde, 3 steps, class by frequency" in page and "ddim, 6 steps" in page
    assert frames[0].words.startswith("step 2 of 9")


def test_files_hold_the_images_and_the_trajectory(run, tmp_path):
    frames = [progress.steps for progress in sample.draw(run, 4, 0, [sample.Setting(steps=6)])]
    png, gif = sample.files(run, frames, tmp_path)
    assert np.array_equal(np.asarray(Image.open(png)), np.asarray(picture_of(run.sample(4, steps=6), run.levels)))
    assert Image.open(gif).n_frames > 5


@pytest.mark.parametrize(
    "setting",
    [sample.Setting(), sample.Setting("ddim", 4, "none", None), sample.Setting(steps=3, label="all", guidance=1.5)],
)
def test_command_and_python_lines_draw_the_same_images(run, model, setting, nelbo_cli, tmp_path):
    *_, last = sample.draw(run, 3, 7, [setting])
    expected = sample.pixels_of(last.steps[0].x_0, run.levels)
    words = shlex.split(setting.command(model, 3, 7))
    assert words[0] == "nelbo" and nelbo_cli(*words[1:], "--out", "drawn.npy", "--device", "cpu").code == 0
    assert np.array_equal(np.load(tmp_path / "drawn.npy"), expected.numpy())
    space: dict = {}
    exec(setting.python(model, 3, 7), space)
    assert torch.equal(space["images"], expected)


def test_empty_fields_are_the_defaults(run):
    setting = sample.Setting.of("dpm-solver++sde", "", sample.BY_FREQUENCY, " ")
    assert setting == sample.Setting() and setting.command("m", 2, 0) == "nelbo sample m --num 2 --seed 0"
    changed = sample.Setting.of("ddim", "7", "2", "3.0")
    assert changed.command("my run", 2, 1) == (
        "nelbo sample 'my run' --num 2 --seed 1 --sampler ddim --steps 7 --guidance 3 --label 2"
    )
    assert changed.words(run) == "ddim, 7 steps, class 2, guidance 3"


@pytest.mark.parametrize(
    ("steps", "guidance", "message"),
    [
        ("many", "", "steps is 'many'; expected a whole number, or nothing for the default"),
        ("2.5", "", "steps is '2.5'; expected a whole number"),
        ("", "strong", "guidance is 'strong'; expected a number"),
    ],
)
def test_field_without_a_number_is_an_error(steps, guidance, message):
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        sample.Setting.of("ddim", steps, sample.BY_FREQUENCY, guidance)


@pytest.mark.parametrize(("value", "given"), [(None, "empty"), (0, "0"), (65, "65"), (float("nan"), "nan")])
def test_number_of_images_is_checked(value, given):
    with pytest.raises(ConfigurationError, match=f"images is {given}; enter a whole number within 1..64"):
        sample.whole(value, "the number of images", 1, 64)
    assert sample.whole(3.0, "the number of images", 1, 64) == 3


def test_bits_are_those_of_the_bound_and_of_score(run, image):
    account = bits.Account.of(run, image)
    assert account.score == pytest.approx(float(run.score(image[None], steps_per_image=32)[0]))
    assert account.map.total == pytest.approx(account.score, rel=1e-5)
    shown = dict(account.facts())
    assert shown["bound"].startswith(f"{account.score:.4f} bits/dim: ")
    assert f"{account.report.decoder:.4f}" in shown["decoder L_0"]
    page = bits.shown(run, image, account)
    assert page.count("<img") == 3 and f"{account.score:.4f}" in page


def test_images_come_in_the_order_of_their_scores(run, collection, model):
    images = collection.examples(model).images
    found = bits.ranked(run, images)
    assert sorted(i for i, _ in found) == list(range(10))
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)
    most = found[0][0]
    assert scores[0] == pytest.approx(float(run.score(images[most][None], steps_per_image=32)[0]))


@pytest.fixture(scope="module")
def sent(run, collection, model, image):
    return send.send(run, collection.codec(model), image)


def test_every_byte_shows_what_decoding_its_beginning_gives(sent, run, image):
    assert torch.equal(run.decompress(sent.content).image, image)
    last = sent.at("nelbo", len(sent.content))
    assert torch.equal(last.image, image) and last.rmse == 0
    for num_bytes in (sent.previews["nelbo"][0].num_bytes, len(sent.content) // 2, len(sent.content) - 1):
        found = sent.at("nelbo", num_bytes)
        assert found.num_bytes <= num_bytes
        assert found.rmse == pytest.approx(255 / 16 * rmse(found.image, image))
    assert sent.at("nelbo", 1) is None
    assert sent.after(1) is sent.previews["nelbo"][0] and sent.after(len(sent.content)) is None


def test_other_formats_show_the_best_picture_within_the_bytes(sent, run, image):
    shown = (image.double() * 255 / 16).round().byte()
    for name in ("JPEG", "WEBP"):
        sizes = [each.num_bytes for each in sent.previews[name]]
        errors = [each.rmse for each in sent.previews[name]]
        assert sizes == sorted(sizes) and errors == sorted(errors, reverse=True)
        every = [encode_image(name, shown, quality) for quality in (1, 30, 77, 100)]
        for each in every:
            assert sent.at(name, each.num_bytes).rmse <= each.rmse
    page = send.shown(sent, 20)
    assert page.count("needs at least") == 2  # no file of these formats is so small
    assert f"{len(sent.content)} bytes" in send.facts(sent)


def test_received_file_is_decoded(sent, run, image, tmp_path, model, monkeypatch):
    monkeypatch.setenv("NELBO_MODELS", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "own").symlink_to(model)
    (tmp_path / "digit.nelbo").write_bytes(sent.content)
    found, levels, status = send.received(str(tmp_path / "digit.nelbo"))
    assert torch.equal(found, image) and levels == 17 and status == "lossless"


def test_large_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(send, "MOST_BYTES", 10)
    (tmp_path / "large.nelbo").write_bytes(bytes(11))
    with pytest.raises(DataError, match="11 bytes; the studio takes at most 10"):
        send.received(str(tmp_path / "large.nelbo"))


def test_restored_images_are_those_of_restore(run, image):
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:5, 3:6] = True
    left, found = restore.restore(run, image, restore.INPAINT, mask=mask, num=2)
    assert torch.equal(found.draws, run.restore(image, mask=mask, num=2, seed=0).draws)
    assert int(left[:, mask].max()) == 0 and torch.equal(left[:, ~mask], image[:, ~mask])
    assert torch.equal(found.draws[:, :, ~mask], image[:, ~mask].expand(2, -1, -1))
    page = restore.shown(run, image, left, found)
    assert page.count("<img") == 4 + 2


def test_noise_and_small_images_are_restored(run, image):
    seen, found = restore.restore(run, image, restore.DENOISE, noise=40.0, num=2)
    assert torch.equal(found.draws, run.restore(seen, noise=40.0 * 16 / 255, num=2, seed=0).draws)
    small, enlarged = restore.restore(run, image, restore.ENLARGE, factor=2, num=2)
    assert small.shape == (1, 4, 4) and torch.equal(enlarged.draws, run.restore(small, upscale=2, num=2, seed=0).draws)
    with pytest.raises(DataError, match="cannot be reduced by 3"):
        restore.restore(run, image, restore.ENLARGE, factor=3)


def test_nothing_painted_is_an_error(run, image):
    with pytest.raises(DataError, match="nothing is painted"):
        restore.restore(run, image, restore.INPAINT, mask=torch.zeros(8, 8, dtype=torch.bool))


def test_painted_strokes_become_a_mask():
    layer = np.zeros((320, 320, 4), dtype=np.uint8)
    layer[80:120, 200:240] = 255  # a square of one pixel of 40 x 40, exactly
    layer[0:8, 0:8, 3] = 255  # a dot that covers little of its pixel
    mask = restore.mask_of([layer], (8, 8))
    assert mask.nonzero().tolist() == [[2, 5]]
    assert not restore.mask_of([], (8, 8)).any()
    canvas = restore.canvas_of(torch.full((1, 8, 8), 16, dtype=torch.uint8), 17)
    assert canvas["background"].shape == (320, 320, 3) and int(canvas["background"].min()) == 255


def test_kl_is_that_of_the_library():
    given = [1.0, 3.0, 6.0, 8.0, 5.0, 2.0]
    figure, facts = counts.compare(given)
    table = torch.tensor(given, dtype=torch.float64)
    for name in ("uniform", "binomial"):
        nats = FAMILIES[name](table).divergence(probabilities_of(table))
        shown = dict(facts)[f"KL(observed || {name})"]
        assert float(re.match(r"[\d.]+", shown)[0]) == pytest.approx(nats / np.log(2), abs=1e-4)
    assert figure.startswith("<img") and "KL(uniform || observed)" in dict(facts)
    with pytest.raises(DataError, match="all counts are 0"):
        counts.compare([0.0] * 6)


def test_missing_value_makes_the_reverse_divergence_infinite():
    facts = dict(counts.compare([0.0, 1.0, 2.0, 1.0, 0.0, 0.0])[1])
    assert facts["KL(uniform || observed)"] == "infinite" and facts["KL(observed || uniform)"] != "infinite"


def test_plane_shows_the_mean_of_the_decoder(collection, vae):
    plane = latent.plane_of(collection, vae)
    [image] = plane.at(torch.tensor([1.0]), torch.tensor([-0.5]))
    z = torch.zeros(1, 4)
    z[0, plane.dims[0]], z[0, plane.dims[1]] = 1.0, -0.5
    with torch.no_grad():
        expected = sample.pixels_of(plane.run.network.likelihood(z).mean, plane.run.levels)
    assert torch.equal(image, expected[0])
    whole = plane.map()
    assert whole.shape == (121, 1, 8, 8)
    assert torch.equal(whole[0], plane.at(torch.tensor([-2.5]), torch.tensor([2.5]))[0])  # the top left


def test_mark_lies_on_the_image_of_its_point():
    """The first image of the map is at the top left; each takes an eleventh of a side."""
    assert latent.place(-2.5, 2.5) == pytest.approx((0.5 / 11, 0.5 / 11))
    assert latent.place(0.0, 0.0) == pytest.approx((0.5, 0.5))
    assert latent.place(2.0, -1.0) == pytest.approx((9.5 / 11, 7.5 / 11))
