"""The models of the page: loaded once, refused by unknown names, with images and scores."""

import threading

import numpy as np
import pytest
import torch
from PIL import Image

from nelbo.data import load_data
from nelbo.errors import ConfigurationError, DataError, NelboError
from nelbo.studio import collection as module
from nelbo.studio.collection import Collection, Scores, check_pixels


def test_examples_are_held_out_images(collection, model):
    examples, held_out = collection.examples(model), load_data("digits").require_test()
    assert examples.origin == "held-out images" and examples.images.shape == (10, 1, 8, 8)
    known = {image.numpy().tobytes() for image in held_out.images(range(len(held_out)))}
    assert all(image.numpy().tobytes() in known for image in examples.images)


def test_model_without_its_data_offers_samples(model, monkeypatch):
    def missing(run):
        raise DataError("not here")

    monkeypatch.setattr(module, "data_of", missing)
    found = Collection([model], device="cpu")
    examples = found.examples(model)
    assert examples.origin == "samples of the model, because its images cannot be read here"
    assert torch.equal(examples.images, found.diffusion(model).sample(10, seed=1))


@pytest.mark.parametrize("name", ["/etc", "../runs", "", "fashion-mnist"])
def test_name_that_the_page_does_not_have_is_refused(collection, name):
    with pytest.raises(ConfigurationError, match="model"):
        collection.run(name)


def test_vae_is_no_diffusion_model(collection, vae, model):
    assert collection.diffusion_names == [model] and collection.vae_names == [vae]
    with pytest.raises(ConfigurationError, match="is a VAE; choose a diffusion model"):
        collection.diffusion(vae)


def test_page_without_names_has_the_bundled_models():
    found = Collection(device="cpu")
    assert found.names == ["fashion-mnist", "avatars"]  # the smaller images first


def test_missing_run_is_an_error_before_the_page_opens(tmp_path):
    with pytest.raises(NelboError, match="no run folder or bundled model"):
        Collection([str(tmp_path / "nothing")])


def test_everything_is_made_once(model, monkeypatch):
    calls = []
    original = module.load
    monkeypatch.setattr(module, "load", lambda *args, **options: calls.append(args) or original(*args, **options))
    found = Collection([model, model], device="cpu")
    threads = [threading.Thread(target=found.diffusion, args=(model,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


def test_scores_are_those_of_the_run(collection, model, run):
    found = collection.scores(model)
    images = load_data("digits").require_test().spread(64)
    expected = run.score(images.images(torch.arange(64))).sort().values
    assert torch.equal(found.values, expected) and collection.scores(model) is found


def test_place_counts_the_less_surprising_images():
    scores = Scores(torch.tensor([1.0, 2.0, 2.0, 4.0]), "held-out images")
    words = [scores.place(score).split(" of ")[0] for score in (0.5, 2.0, 3.0, 9.0)]
    assert words == [f"More surprising than {below}" for below in (0, 1, 3, 4)]


def test_upload_becomes_an_image_of_the_model(collection, model, tmp_path):
    pixels = np.zeros((60, 90, 3), dtype=np.uint8)
    pixels[:, 30:60] = 255
    Image.fromarray(pixels).save(tmp_path / "stripe.png")
    with pytest.warns(match="resized to 28x28"):
        found = Collection(["fashion-mnist"], device="cpu").upload("fashion-mnist", str(tmp_path / "stripe.png"))
    assert found.shape == (1, 28, 28) and found.dtype == torch.uint8
    assert int(found[0, 14, 14]) > 250 and int(found[0, 14, 0]) < 5
    with (
        pytest.raises(DataError, match="256 levels and the model was trained on 17"),
        pytest.warns(match="resized to 8x8"),
    ):
        collection.upload(model, str(tmp_path / "stripe.png"))


def test_upload_that_is_no_image_or_too_large_is_refused(tmp_path):
    (tmp_path / "text.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="no image that can be read"):
        check_pixels(str(tmp_path / "text.png"))
    Image.new("RGB", (60, 40)).save(tmp_path / "large.png")
    check_pixels(str(tmp_path / "large.png"), most=7200)
    with pytest.raises(DataError, match="60 x 40 pixels; the studio takes at most 2,399 pixels"):
        check_pixels(str(tmp_path / "large.png"), most=7199)
