"""The second stage of training: the pixel decoder, its resumption, and every reader of the finished model."""

import os
import shutil
import signal
import warnings
from dataclasses import replace
from functools import partial

import pytest
import torch

import nelbo
from nelbo.codec import FittingOptions
from nelbo.diffusion import PixelDecoder
from nelbo.errors import ConfigurationError, RunError
from nelbo.files import read_tensors, write_tensors
from nelbo.interop import export_model
from nelbo.recipes import Recipe
from nelbo.recipes.assembly import build_pixel_options
from nelbo.runs import fit_codec
from nelbo.runs.decoder import PREFIX, DecoderWarning
from nelbo.runs.folder import MODEL_FILE
from nelbo.studies import Listener, decoder
from nelbo.studies.decoder_examples import Gathering, gather_examples, image_order, most_examples
from nelbo.training import METRICS_FILE, STATE_FILE, MetricsLog, TrainerOptions

SETTINGS = {
    "training.steps": 12,
    "training.precision": "fp32",
    "schedule.num_steps": 20,
    "schedule.log_snr_max": 4.0,
    "network.base": 8,
    "network.groups": 4,
    "network.blocks": 1,
    "network.fourier": [],
    "parameterization": "noise",
    "conditional": False,  # so that diffusers accepts the network
    "decoder.kind": "pixels",
    "decoder.hidden": 6,
    "decoder.share": 0.5,
    "decoder.batch_size": 4,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    with warnings.catch_warnings(action="error", category=DecoderWarning):  # previews come before the decoder
        return nelbo.train("digits", tmp_path_factory.mktemp("whole") / "run", overrides=SETTINGS)


def with_gaussian(run):
    """The run as one whose decoder is the Gaussian of eq. 13."""
    recipe = replace(run.recipe, decoder=replace(run.recipe.decoder, kind="gaussian"))
    return replace(run, config=replace(run.config, recipe=recipe), pixels=None)


def weights(run) -> dict[str, torch.Tensor]:
    return read_tensors(run.folder / MODEL_FILE)[0]


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_finished_run_has_its_decoder(trained):
    assert any(name.startswith(PREFIX) for name in weights(trained))
    loaded = nelbo.load(trained.folder)
    assert isinstance(loaded.reverse().decoder(torch.zeros(1, 1, 8, 8)), PixelDecoder)
    rounded = loaded.pixels.layers[0].weight * 2**12
    assert torch.equal(rounded, rounded.round())


@pytest.mark.parametrize("cut", [3, 900])
def test_interrupted_decoder_resumes_bitwise(trained, tmp_path, cut):
    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "training the decoder" and done >= cut:
            os.kill(os.getpid(), signal.SIGTERM)

    stops = []
    listener = Listener(on_stage=interrupt, on_stop=lambda name, step: stops.append(name))
    broken = nelbo.train("digits", tmp_path / "run", overrides=SETTINGS, listener=listener)
    assert stops == ["SIGTERM"]
    assert broken.pixels is None
    assert same(weights(nelbo.train(None, tmp_path / "run")), weights(trained))


def test_wide_windows_predict_resume_and_code(tmp_path):
    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "training the decoder" and done >= 300:
            os.kill(os.getpid(), signal.SIGTERM)

    settings = {**SETTINGS, "decoder.window": 7, "decoder.side": 8}
    whole = nelbo.train("digits", tmp_path / "whole", overrides=settings)
    assert int(whole.pixels.prediction.abs().max()) > 100
    nelbo.train("digits", tmp_path / "run", overrides=settings, listener=Listener(on_stage=interrupt))
    assert same(weights(nelbo.train(None, tmp_path / "run")), weights(whole))
    images = nelbo.load_data("digits").test.images(range(3))
    fit_codec(whole, nelbo.load_data("digits").train, FittingOptions(table_images=16, sent_images=4, stops=(3,)))
    codec = nelbo.load(whole.folder).codec()
    for decoded, image in zip(codec.decode(codec.encode(list(images))), images, strict=True):
        assert torch.equal(decoded.image, image)


@pytest.fixture
def options(trained):
    return build_pixel_options(trained.recipe, trained.shape[0], trained.levels)


def test_an_example_depends_on_its_number_alone(trained, options):
    images = nelbo.load_data("digits").train
    few, many = (gather_examples(trained, options, images.spread(100), num).examples for num in (200, 300))
    assert torch.equal(few[:192], many[:192])  # whole batches
    order = image_order(100, trained.recipe.training.seed)
    assert torch.equal(many[:100, 0], images.spread(100).images(order)[:, 0].short())
    assert torch.equal(many[:100, 0], many[100:200, 0])  # an image again, with other noise
    assert not torch.equal(many[:100, 1], many[100:200, 1])
    assert len(gather_examples(trained, options, images, 200)) == 200


def test_gathering_keeps_its_time_and_stops_on_a_signal(trained, options):
    images = nelbo.load_data("digits").train
    assert len(gather_examples(trained, options, images, 300, seconds=0.0)) == 64

    def interrupt(done: int, total: int) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    assert gather_examples(trained, options, images, 300, progress=interrupt) == "SIGTERM"


def test_memory_limits_the_examples():
    assert most_examples((1, 28, 28), 3) == 24_000
    assert 2 * 9 * 256 * 256 * most_examples((3, 256, 256), 3) <= 2**29


def test_budget_limits_the_examples(trained, options):
    assert decoder._gathering(trained, options, 8) == Gathering(8, 6 * 16 * 4, None)  # 6 steps, each 16 of the decoder
    timed = replace(trained.recipe, training=replace(trained.recipe.training, steps=None, minutes=20.0))
    run = replace(trained, config=replace(trained.config, recipe=timed))
    assert decoder._gathering(run, options, 8) == Gathering(8, 24_000, 0.2 * 60 * 10)  # of ten minutes for the decoder


def test_examples_are_of_all_images_in_no_order():
    """Images of a folder are sorted by class, and time may end the gathering."""
    order = image_order(1000, seed=1)
    assert sorted(order.tolist()) == list(range(1000))
    assert {place // 100 for place in order[:100].tolist()} == set(range(10))


def test_a_signal_while_gathering_stops_the_run(tmp_path, trained):
    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "predicting for the decoder":
            os.kill(os.getpid(), signal.SIGTERM)

    stops = []
    listener = Listener(on_stage=interrupt, on_stop=lambda name, step: stops.append(name))
    assert nelbo.train("digits", tmp_path / "run", overrides=SETTINGS, listener=listener).pixels is None
    assert stops == ["SIGTERM"]
    assert same(weights(nelbo.train(None, tmp_path / "run")), weights(trained))


def test_repeating_a_finished_run_changes_nothing(trained):
    files = [MODEL_FILE, STATE_FILE, "samples.png", f"decoder/{STATE_FILE}", "decoder/network.json"]
    before = [((trained.folder / name).stat().st_mtime_ns, (trained.folder / name).read_bytes()) for name in files]
    stages, spent = set(), []
    listener = Listener(
        on_stage=lambda stage, done, total: stages.add(stage), on_spent=lambda config, options: spent.append(options)
    )
    again = nelbo.train("digits", trained.folder, overrides=SETTINGS, listener=listener)
    after = [((trained.folder / name).stat().st_mtime_ns, (trained.folder / name).read_bytes()) for name in files]
    assert after == before
    assert again.pixels is not None and again.mse is not None
    assert (stages, spent) == (set(), [("steps",)])


def test_repeating_does_what_is_missing(trained, tmp_path):
    folder = shutil.copytree(trained.folder, tmp_path / "run")
    tensors = {name: value for name, value in weights(trained).items() if name.startswith("network.")}
    write_tensors(folder / MODEL_FILE, tensors, {})  # as after a kill while calibrating
    (folder / "trajectory.png").unlink()
    assert same(weights(nelbo.train(None, folder)), weights(trained))
    assert (folder / "trajectory.png").is_file()


def test_training_further_trains_the_decoder_anew(tmp_path):
    first = weights(nelbo.train("digits", tmp_path / "run", overrides={**SETTINGS, "training.steps": 4}))
    further = weights(nelbo.train("digits", tmp_path / "run", overrides=SETTINGS))
    name = f"{PREFIX}layers.0.weight"
    assert not torch.equal(first[name], further[name])


def test_bound_score_and_file_read_one_decoder(trained):
    images = nelbo.load_data("digits").test.images(range(12))
    report = trained.bound(images, steps_per_image=None)
    gaussian = with_gaussian(trained).bound(images, steps_per_image=None)
    assert report.denoising == gaussian.denoising
    assert report.decoder != gaussian.decoder
    assert trained.score(images).mean() == pytest.approx(report.total, abs=0.3)
    fit_codec(trained, nelbo.load_data("digits").train, FittingOptions(table_images=16, sent_images=4))
    codec = trained.codec()
    assert codec.chain.plan.steps[0] == 1
    files = codec.encode(list(images))
    for decoded, image in zip(codec.decode(files), images, strict=True):
        assert torch.equal(decoded.image, image)
    assert torch.equal(replace(trained, pixels=None).decompress(files[0].to_bytes()).image, images[0])


def test_samples_are_drawn_from_the_decoder(trained):
    drawn = trained.sample(4, steps=5, seed=1)
    mean = with_gaussian(trained).sample(4, steps=5, seed=1)
    assert not torch.equal(drawn, mean)
    assert torch.equal(drawn, trained.sample(4, steps=5, seed=1, batch_size=3))


def test_stride_keeps_the_step_of_the_decoder(trained):
    for spacing in ("even", "log-snr", "karras"):
        assert trained.reverse(steps=4, spacing=spacing).schedule.timesteps[1] == 1
    assert replace(trained, pixels=None).reverse(steps=4).schedule.timesteps[1] == 5


def test_decoder_of_another_size_is_refused(trained, tmp_path):
    tensors = weights(trained)
    tensors[f"{PREFIX}layers.0.weight"] = torch.zeros(5, 3, 5, 5)
    for file in trained.folder.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    write_tensors(tmp_path / MODEL_FILE, tensors, {})
    with pytest.raises(RunError, match=r"the decoder in .* does not fit"):
        nelbo.load(tmp_path)


def test_export_says_that_the_decoder_stays(trained, tmp_path):
    exported = export_model(trained.folder, tmp_path / "out", format="diffusers")
    assert any("decoder p(x_0|x_1) is not exported" in note for note in exported.notes)
    copied = export_model(trained.folder, tmp_path / "copy", format="nelbo")
    assert copied.notes == () and nelbo.load(tmp_path / "copy").pixels is not None


def test_budget_is_shared():
    recipe = Recipe(training=TrainerOptions(minutes=60.0, steps=11)).with_overrides({"decoder.kind": "pixels"})
    assert (recipe.network_training.minutes, recipe.decoder_training.minutes) == (48.0, 12.0)
    assert (recipe.network_training.steps, recipe.decoder_training.steps) == (9, 36)  # 16 short ones for one of 2.2
    plain = Recipe(training=TrainerOptions(minutes=60.0))
    assert plain.network_training is plain.training


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("decoder.kind", "pixel", "unknown decoder 'pixel'; did you mean 'pixels'"),
        ("decoder.side", 3, "decoder.side must be 2, 4, 8 or 16, got 3"),
        ("decoder.hidden", 0, "the hidden of a pixel network must be at least 1, got 0"),
        ("decoder.share", 1.0, "decoder.share must be between 0 and 1, got 1.0"),
    ],
)
def test_wrong_setting_is_refused(name, value, message):
    with pytest.raises(ConfigurationError) as caught:
        Recipe().with_overrides({name: value})
    assert message in str(caught.value)


def test_previews_show_the_chain_and_the_end_shows_the_bound(trained):
    records = MetricsLog(trained.folder / METRICS_FILE).records()
    chains = [record["held_out_chain_bits_per_dim"] for record in records if "held_out_chain_bits_per_dim" in record]
    bounds = [record for record in records if "held_out_bits_per_dim" in record]
    assert chains and [record["step"] for record in bounds] == [6]
    assert bounds[0] == {"step": 6, **trained.glance(nelbo.load_data("digits").test.spread(128))}
    assert all(chain > 0 for chain in chains)


UNFINISHED = "the decoder of .* is not trained, because its training was stopped or is not finished; finish it "


@pytest.mark.parametrize("measure", ["bound", "score", "likelihood", "forms", "fit_codec", "codec", "compress"])
def test_a_run_without_its_decoder_measures_nothing(trained, measure):
    image = torch.zeros(1, 8, 8, dtype=torch.uint8)
    given = {"codec": (), "compress": (image,)}.get(measure, (image[None],))
    stored = replace(trained, pixels=None)
    in_memory = replace(trained.config, data=replace(trained.config.data, spec="memory:0"))
    for run, finish in ((stored, "with `nelbo train --out .*`"), (replace(stored, config=in_memory), "in Python with")):
        method = partial(fit_codec, run) if measure == "fit_codec" else getattr(run, measure)
        with pytest.raises(RunError, match=UNFINISHED + finish):
            method(*given)


def test_a_run_without_its_decoder_says_so(trained):
    bare = replace(trained, pixels=None)
    assert "decoder not trained" in repr(bare) and "decoder not trained" not in repr(trained)
    for draw in (bare.sample, bare.trajectory):
        with pytest.warns(DecoderWarning, match=f"the samples lack the last grey levels: {UNFINISHED}"):
            draw(1, steps=2)
    with warnings.catch_warnings(action="error"):
        trained.sample(1, steps=2)
        bare.draft(1, 0)
        bare.restore(torch.zeros(1, 8, 8, dtype=torch.uint8), strength=0.5, num=1, steps=2)


def test_glance_of_a_run_without_its_decoder_leaves_out_l_0(trained):
    images = nelbo.load_data("digits").test.spread(16)
    bare = replace(trained, pixels=None)
    report = with_gaussian(trained).bound(images, steps_per_image=4)
    assert bare.glance(images) == {"held_out_chain_bits_per_dim": round(report.prior + report.denoising, 4)}
    assert trained.glance(images).keys() == {"held_out_bits_per_dim", "held_out_standard_error"}
