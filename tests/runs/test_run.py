"""A run folder: written, resumed, refused, loaded and used."""

import json
import shutil
import signal
from dataclasses import replace

import pytest
import torch

import nelbo
from nelbo.data import ArrayDataset
from nelbo.diffusion import Guidance, NoiseSchedule
from nelbo.errors import ConfigurationError, DataError, NonFiniteError, RunError, ScheduleError, ShapeError
from nelbo.files import LOCK_FILE, read_tensors
from nelbo.options import record_from
from nelbo.recipes import Recipe
from nelbo.runs import SamplingOptions, bundled_models, read_config
from nelbo.runs.folder import refuse_differences
from nelbo.runs.sampling import guidance_of
from nelbo.samplers import SAMPLERS
from nelbo.studies import DataRequest, Listener, held_out_part
from nelbo.training import METRICS_FILE, STATE_FILE, MetricsLog
from tests.conftest import write_pictures


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_recipe):
    """A tiny run on the digits, four steps long, made with `nelbo.train`."""
    place = tmp_path_factory.mktemp("runs") / "digits"
    torch.set_num_threads(1)
    nelbo.train("digits", place, preset="digits", overrides=flat(tiny_recipe, {"training.steps": 4}))
    return place


def flat(recipe, changes):
    plain = recipe.to_json()
    names = ("parameterization", "variance", "loss", "timesteps", "conditional")
    settings = {name: plain[name] for name in names} | {"training.minutes": None}
    for part in ("schedule", "network", "training"):
        settings |= {
            f"{part}.{name}": value for name, value in plain[part].items() if (part, name) != ("network", "kind")
        }
    return settings | changes


@pytest.fixture
def copy(folder, tmp_path):
    """A copy of the run folder that a test may damage."""
    return shutil.copytree(folder, tmp_path / "copy")


@pytest.fixture
def run(folder):
    return nelbo.load(folder, device="cpu")


def test_a_run_folder_is_complete(folder):
    pictures = {"samples.png", "trajectory.png", "bound-per-step.png", "bound.png", "loss.png", "samples"}
    assert {path.name for path in folder.iterdir() if path.name != LOCK_FILE} == pictures | {
        "config.json",
        "model.safetensors",
        STATE_FILE,
        METRICS_FILE,
    }
    config = json.loads((folder / "config.json").read_text())
    assert config["nelbo"] == nelbo.__version__
    assert config["data"]["shape"] == [1, 8, 8]
    assert (config["data"]["num_train"], config["data"]["num_held_out"], config["data"]["levels"]) == (1500, 297, 17)
    last = MetricsLog(folder / METRICS_FILE).records()[-1]
    assert last["step"] == 4
    assert last["held_out_bits_per_dim"] > 0


def test_the_model_is_averaged_and_calibrated(folder, run):
    tensors, _ = read_tensors(folder / STATE_FILE)
    for name, weight in run.network.state_dict().items():
        assert torch.equal(weight, tensors[f"average/module.{name}"])
    assert run.mse is not None
    assert run.mse.shape == (21,)
    assert run.reverse().variance.name == "calibrated"
    assert not run.network.training


def test_the_configuration_survives_json(folder):
    config = read_config(folder)
    assert type(config).from_json(json.loads(json.dumps(config.to_json()))) == config


class TestConditional:
    """A class-conditional model: labels and guidance."""

    @pytest.fixture
    def conditional(self, run):
        config = replace(run.config, recipe=replace(run.config.recipe, conditional=True))
        return replace(run, config=replace(config, data=replace(config.data, class_names=("cat", "dog", "owl"))))

    def test_trajectory_refuses_what_sampling_refuses(self, run, conditional):
        with pytest.raises(
            ConfigurationError, match="guidance follows a class; set label to a class, or remove guidance"
        ):
            next(conditional.trajectory(1, label="none", guidance=3.0))
        with pytest.raises(ConfigurationError, match=r"label is .*; expected the name or the number of a class"):
            next(conditional.trajectory(1, label=torch.tensor([99])))
        with pytest.raises(ConfigurationError, match="num must be a whole number, at least 1, got 0"):
            run.trajectory(0)

    @pytest.mark.parametrize(
        "how",
        [
            {"mask": torch.eye(8, dtype=torch.bool)},
            {"mask": torch.eye(8, dtype=torch.bool), "method": "null-space"},
            {"upscale": 2},
            {"noise": 1.5},
            {"strength": 0.5},
        ],
    )
    def test_a_label_reaches_restoration(self, conditional, how):
        seen = []

        class Network(torch.nn.Module):
            def forward(self, x_t, time, label=None):
                seen.append(label)
                return torch.zeros_like(x_t)

        conditional.network = Network()
        side = 4 if "upscale" in how else 8
        damaged = torch.zeros(1, side, side, dtype=torch.uint8)
        conditional.restore(damaged, **how, label=2, steps=3)
        assert seen and all(bool((label == 2).all()) for label in seen)
        seen.clear()
        conditional.restore(damaged, **how, label=2, guidance=3.0, steps=3)
        assert len({value for label in seen for value in label.tolist()}) == 2  # of the class, and of none
        seen.clear()
        conditional.restore(damaged, **how, steps=3)
        assert seen and all(label is None for label in seen)  # the class of the image is unknown
        for unknown in (None, "none"):
            with pytest.raises(ConfigurationError, match="guidance follows a class; set label to a class"):
                conditional.restore(damaged, **how, label=unknown, guidance=3.0)

    def test_the_posterior_mean_follows_the_class(self, conditional):
        class Network(torch.nn.Module):
            def forward(self, x_t, time, label=None):
                shift = 0.0 if label is None else (label == 2).to(x_t).view(-1, 1, 1, 1) / 10
                return torch.zeros_like(x_t) + shift

        conditional.network = Network()
        damaged = torch.full((1, 8, 8), 8, dtype=torch.uint8)
        how = ({"label": 0}, {"label": 2}, {"label": 2, "guidance": 3.0})
        means = [conditional.restore(damaged, noise=1.5, num=1, steps=2, **each).mean.mean() for each in how]
        assert means[0] > means[1] > means[2]

    def test_a_class_is_a_name_or_numbers(self, conditional):
        for label in ("owl", "Owl", 2, torch.tensor(2), torch.tensor([2, 2, 2], dtype=torch.uint8)):
            assert conditional.model.classes(label, 3).tolist() == [2, 2, 2]
        for label in (3, -1, 1.5, True, torch.tensor([0, 1])):
            with pytest.raises(ConfigurationError, match=r"label is .*; expected the name or the number of a class"):
                conditional.model.classes(label, 3)
        with pytest.raises(ConfigurationError, match="unknown class 'cow'"):
            conditional.model.classes("cow", 3)

    def test_a_model_without_classes_refuses_a_label(self, run):
        with pytest.raises(ConfigurationError, match="is not class-conditional; remove label"):
            run.restore(torch.zeros(1, 8, 8, dtype=torch.uint8), noise=1.5, label=0)
        with pytest.raises(ConfigurationError, match="is not class-conditional; remove guidance"):
            run.restore(torch.zeros(1, 8, 8, dtype=torch.uint8), noise=1.5, guidance=2.0)


class TestUse:
    def test_samples_do_not_depend_on_the_batch(self, run):
        together = run.sample(5, seed=1)
        apart = run.sample(5, seed=1, batch_size=2)
        assert together.shape == (5, 1, 8, 8)
        assert together.dtype == torch.uint8
        assert int(together.max()) <= 16
        assert (together.int() - apart.int()).abs().max() <= 1  # a batched network rounds a little differently
        assert (together != apart).float().mean() < 0.01
        assert torch.equal(run.sample(5, seed=1), together)
        assert not torch.equal(run.sample(5, seed=2), together)
        assert torch.equal(run.sample(3, seed=1, batch_size=1), run.sample(5, seed=1, batch_size=1)[:3])

    def test_progress_counts_network_calls(self, run):
        heard = []
        run.sample(3, steps=4, batch_size=2, progress=lambda done, total: heard.append((done, total)))
        assert heard[-1] == (8, 8)
        assert [done for done, _ in heard] == sorted(done for done, _ in heard)

    def test_scores_average_to_the_bound(self, run):
        images = nelbo.load_data("digits").test.images(range(6))
        report = run.bound(images, seed=2)
        assert report.num_images == 6
        assert report.scores.shape == (6,)
        assert report.total == pytest.approx(float(report.scores.mean()))
        assert report.total == pytest.approx(report.prior + report.denoising + report.decoder)
        torch.testing.assert_close(run.score(images, steps_per_image=8, seed=2), report.scores)
        torch.testing.assert_close(run.bound(images, seed=2, batch_size=4).scores, report.scores, rtol=1e-4, atol=1e-4)

    def test_the_trajectory_ends_in_the_sample(self, run):
        *_, last = run.trajectory(2, steps=5, seed=7)
        from nelbo.probability import data_to_levels

        assert torch.equal(data_to_levels(last.x_0, 17).to(torch.uint8), run.sample(2, steps=5, seed=7))

    @pytest.mark.parametrize("images", [torch.zeros(2, 3, 8, 8), torch.zeros(2, 1, 8, 9)])
    def test_another_shape_is_refused(self, run, images):
        with pytest.raises(ShapeError, match=r"the model in .* needs 1 x 8 x 8; resize them, or choose another model"):
            run.bound(images.byte())

    def test_other_levels_are_refused(self, run):
        with pytest.raises(DataError, match="has 256 levels and the model was trained on 17"):
            run.bound(ArrayDataset(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)))
        with pytest.raises(DataError, match="a pixel has the value 17, but with 17 levels the largest is 16"):
            run.bound(torch.full((2, 1, 8, 8), 17, dtype=torch.uint8))

    def test_an_empty_set_is_refused(self, run):
        with pytest.raises(DataError, match="no images to score"):
            run.bound(torch.zeros(0, 1, 8, 8, dtype=torch.uint8))

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"num": 0}, ConfigurationError, "^num must be a whole number, at least 1, got 0"),
            ({"num": "2"}, ConfigurationError, "num must be a whole number, at least 1, got '2'"),
            ({"num": 1.5}, ConfigurationError, r"num must be a whole number, at least 1, got 1\.5"),
            ({"num": 10**12}, ConfigurationError, r"num=1000000000000: images of 64 bytes each would not fit"),
            ({"num": 1, "batch_size": 0}, ConfigurationError, "batch_size must be a whole number, at least 1, got 0"),
            ({"num": 1, "steps": 0}, ScheduleError, r"must be a whole number within 1\.\.20, got 0; change steps"),
            ({"num": 1, "steps": 21}, ScheduleError, r"must be a whole number within 1\.\.20, got 21; change steps"),
            ({"num": 1, "sampler": "ancestrl"}, ConfigurationError, r"did you mean 'ancestral'\?"),
            ({"num": 1, "variance": "calibratd"}, ConfigurationError, r"did you mean 'calibrated'\?"),
            ({"num": 1, "label": torch.zeros(1).long()}, ConfigurationError, "is not class-conditional; remove label"),
            ({"num": 1, "stepz": 4}, ConfigurationError, r"unknown option 'stepz'; did you mean 'steps'\?"),
            ({"num": 1, "sampler": "ddim", "variance": "trained"}, ConfigurationError, "'ddim' does not use it"),
            ({"num": 1, "clip": True, "threshold": 0.9}, ConfigurationError, "remove clip=True or threshold"),
            ({"num": 1, "eta": 0.5}, ConfigurationError, r"'dpm-solver\+\+sde' does not support eta; .*sampler='ddim'"),
            (
                {"num": 1, "variance": "trained"},
                ConfigurationError,
                r"'dpm-solver\+\+sde' does not use it; remove it or set sampler='ancestral'",
            ),
            (
                {"num": 1, "sampler": "ancestral", "eta": 0.5},
                ConfigurationError,
                "'ancestral' does not support eta; .*sampler='ddim'",
            ),
            (
                {"num": 1, "guidance_interval": (0.0, 0.5)},
                ConfigurationError,
                "guidance_interval says where guidance applies",
            ),
        ],
    )
    def test_sampling_refuses_bad_options(self, run, arguments, error, message):
        with pytest.raises(error, match=message):
            run.sample(**arguments)

    def test_a_sample_of_nan_is_an_error(self, run):
        with torch.no_grad():
            next(run.network.parameters()).fill_(torch.nan)
        with pytest.raises(NonFiniteError, match="ended in NaN or infinity"):
            run.sample(1, steps=2, clip=False)

    def test_the_bound_refuses_bad_options(self, run):
        images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
        with pytest.raises(ConfigurationError, match="batch_size must be a whole number, at least 1"):
            run.bound(images, batch_size=0)
        with pytest.raises(ConfigurationError, match="steps_per_image must be a whole number, at least 1"):
            run.bound(images, steps_per_image=0)

    def test_an_unusable_device_is_refused(self, folder):
        with pytest.raises(ConfigurationError, match="device='toaster' cannot be used here"):
            nelbo.load(folder, device="toaster")
        with pytest.raises(ConfigurationError, match="device='meta' computes nothing"):
            nelbo.load(folder, device="meta")


class TestLoad:
    def test_bundled_models_load_by_name(self, folder, monkeypatch, tmp_path):
        for name in bundled_models():
            assert nelbo.load(name).folder.name == name
        monkeypatch.setattr("nelbo.runs.folder.files", lambda package: tmp_path)
        assert bundled_models() == {}
        shutil.copytree(folder, tmp_path / "models" / "numbers")
        (tmp_path / "models" / "no-model").mkdir()
        assert bundled_models() == {"numbers": tmp_path / "models" / "numbers"}
        assert nelbo.load("numbers").shape == (1, 8, 8)
        with pytest.raises(RunError, match=r"no run folder or bundled model 'nubmers'; did you mean 'numbers'\?"):
            nelbo.load("nubmers")

    def test_a_missing_run_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.setattr("nelbo.runs.folder.files", lambda package: tmp_path)
        with pytest.raises(RunError, match=r"expected a folder made by `nelbo train`, .*\(none\)"):
            nelbo.load(tmp_path / "nothing")

    def test_another_folder_is_refused(self, tmp_path):
        with pytest.raises(RunError, match=r"is not a run folder: config\.json is missing"):
            nelbo.load(tmp_path)

    def test_missing_weights_are_reported(self, copy):
        (copy / "model.safetensors").unlink()
        with pytest.raises(RunError, match=r"model\.safetensors is missing"):
            nelbo.load(copy)

    def test_truncated_weights_are_reported(self, copy):
        content = (copy / "model.safetensors").read_bytes()
        (copy / "model.safetensors").write_bytes(content[: len(content) // 2])
        with pytest.raises(RunError, match="is damaged or cut short"):
            nelbo.load(copy)

    def test_other_weights_are_refused(self, copy):
        config = json.loads((copy / "config.json").read_text())
        config["network"]["base"] = 16
        (copy / "config.json").write_text(json.dumps(config))
        with pytest.raises(
            RunError, match=r"model\.safetensors does not fit .*config\.json: \d+ of another shape"
        ) as told:
            nelbo.load(copy)
        assert len(str(told.value)) < 800  # the first few by name, and not torch's list of all

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", "{}", '"run"', "null", '{"data": 3, "preset": "digits"}', "\x00\xff"]
    )
    def test_a_damaged_configuration_is_reported(self, copy, text):
        (copy / "config.json").write_text(text, encoding="latin-1")
        with pytest.raises(RunError, match=r"config\.json cannot be read"):
            nelbo.load(copy)

    def test_an_unknown_setting_is_named(self, copy):
        config = json.loads((copy / "config.json").read_text())
        config["network"]["wings"] = 2
        (copy / "config.json").write_text(json.dumps(config))
        with pytest.raises(nelbo.NelboError, match=r"config\.json: unknown UNetOptions setting 'wings'"):
            nelbo.load(copy)


class TestResume:
    def test_exactly_the_differences_are_listed(self, folder):
        old = read_config(folder)
        recipe = old.recipe.with_overrides(
            {"training.learning_rate": 0.5, "network.dropout": 0.3, "training.steps": 99}
        )
        new = replace(old, recipe=recipe, data=replace(old.data, num_train=7))
        with pytest.raises(RunError) as caught:
            refuse_differences(folder, old, new)
        listed = str(caught.value).split("(", 1)[1].split(")")[0].split("; ")
        assert listed == [
            "data.num_train: 1500 stored, 7 given",
            "network.dropout: 0.1 stored, 0.3 given",
            "training.learning_rate: 0.001 stored, 0.5 given",
        ]

    def test_budgets_and_conveniences_may_change(self, folder):
        old = read_config(folder)
        changes = {"steps": 9, "minutes": 3.0, "workers": 2, "compile": True, "micro_batch": 2}
        changes |= {"log_every": 7, "save_every": 3, "save_minutes": 1.0, "preview_every": 2}
        recipe = old.recipe.with_overrides({f"training.{name}": value for name, value in changes.items()})
        refuse_differences(folder, old, replace(old, recipe=recipe))

    def test_other_settings_may_not_change(self, folder):
        old = read_config(folder)
        for name, value in (("seed", 9), ("batch_size", 4), ("ema", 0.5), ("flip", False), ("precision", "bf16")):
            recipe = old.recipe.with_overrides({f"training.{name}": value})
            with pytest.raises(RunError, match=f"training.{name}"):
                refuse_differences(folder, old, replace(old, recipe=recipe))

    def test_training_resumes_in_the_same_folder(self, copy):
        started, stages = [], set()
        listener = Listener(
            on_config=lambda config, split, step: started.append(step),
            on_stage=lambda name, done, total: stages.add(name),
        )
        nelbo.train(None, copy, overrides={"training.steps": 5}, listener=listener)
        assert started == [4]
        assert {"calibrating", "sampling", "scoring"} <= stages
        assert read_config(copy).recipe.training.steps == 5
        assert [r["step"] for r in MetricsLog(copy / METRICS_FILE).records() if "loss" in r] == [2, 4]

    def test_a_stopped_run_is_not_calibrated(self, copy):
        """A stopped run is saved, but neither calibrated nor sampled, so that Ctrl-C ends quickly."""
        stages, stopped = set(), []

        def stop(progress):
            signal.raise_signal(signal.SIGTERM)

        listener = Listener(
            on_step=stop,
            on_stage=lambda name, done, total: stages.add(name),
            on_stop=lambda name, step: stopped.append((name, step)),
        )
        run = nelbo.train(None, copy, overrides={"training.steps": 50}, listener=listener)
        assert stopped == [("SIGTERM", 5)]
        assert not stages & {"calibrating", "sampling", "scoring"}
        assert run.mse is None

    def test_a_missing_state_is_not_overwritten(self, copy):
        (copy / STATE_FILE).unlink()
        before = (copy / "model.safetensors").read_bytes()
        with pytest.raises(RunError, match=r"holds a trained model, but state\.safetensors, .* is missing"):
            nelbo.train(None, copy, overrides={"training.steps": 5})
        assert (copy / "model.safetensors").read_bytes() == before

    def test_a_refused_run_is_left_untouched(self, copy):
        before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
        with pytest.raises(RunError, match=r"training\.seed: 3 stored, 4 given"):
            nelbo.train(None, copy, overrides={"training.seed": 4})
        with pytest.raises(ConfigurationError, match="was started with preset='digits', not images"):
            nelbo.train(None, copy, preset="images")
        assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before

    def test_data_paths_compare_as_places(self, folder, tmp_path, monkeypatch):
        (tmp_path / "pics").mkdir()
        monkeypatch.chdir(tmp_path)
        digits = read_config(folder)

        def config(spec):
            return replace(digits, data=replace(digits.data, spec=str(spec)))

        for typed in ("pics", "./pics", "../" + tmp_path.name + "/pics"):  # as runs of earlier versions hold it
            refuse_differences(folder, config(typed), config(tmp_path / "pics"))
        with pytest.raises(RunError, match=r"data: '.*/pics' stored, '.*/others' given"):
            refuse_differences(folder, config("pics"), config(tmp_path / "others"))
        with pytest.raises(RunError, match=r"data: 'digits' stored, '.*/digits' given"):
            refuse_differences(folder, digits, config("./digits"))

    def test_a_nonempty_folder_is_refused(self, tmp_path):
        (tmp_path / "letter.txt").write_text("dear")
        with pytest.raises(RunError, match=r"is not empty and is not a run folder .* set out to another folder"):
            nelbo.train("digits", tmp_path)

    def test_parts_of_a_killed_write_are_removed(self, copy, tmp_path):
        begun = tmp_path / "begun"
        begun.mkdir()
        (begun / ".config.json.1.part").write_text("{")
        config = read_config(copy)
        nelbo.train("digits", begun, preset="digits", overrides=flat(config.recipe, {"training.steps": 1}))
        assert list(begun.glob(".*.part")) == []

    def test_resuming_needs_a_run(self, tmp_path):
        with pytest.raises(RunError, match="holds no run to resume; set data to the images to train on"):
            nelbo.train(None, tmp_path / "nothing")

    def test_previews_do_not_change_the_weights(self, folder, tmp_path):
        settings = flat(read_config(folder).recipe, {"training.preview_every": 1})
        nelbo.train("digits", tmp_path / "watched", preset="digits", overrides=settings)
        watched, _ = read_tensors(tmp_path / "watched" / STATE_FILE)
        alone, _ = read_tensors(folder / STATE_FILE)
        assert all(torch.equal(watched[name], alone[name]) for name in alone)
        assert [len(list((place / "samples").iterdir())) for place in (tmp_path / "watched", folder)] == [4, 1]


@pytest.mark.parametrize("shares", [(0.0, 0.0), (0.0, 1.0), (0.3, 0.3), (0.25, 0.75), (1.0, 1.0)])
def test_guidance_interval_is_in_the_networks_own_time(shares):
    schedule = NoiseSchedule.linear(40, beta_T=0.3).strided(10)
    guidance = guidance_of(SamplingOptions(guidance=2.0, guidance_interval=shares), schedule)
    assert guidance == Guidance(2.0, 40 * shares[0], 40 * shares[1])


@pytest.mark.parametrize("shares", [(-0.1, 0.5), (-0.2, -0.1), (0.5, 1.1), (0.6, 0.5)])
def test_guidance_interval_outside_the_chain_is_refused(shares):
    with pytest.raises(ConfigurationError, match="two rising shares"):
        SamplingOptions(guidance=2.0, guidance_interval=shares)


def test_points_train_to_the_end(tmp_path):
    settings = {"network.width": 8, "schedule.num_steps": 10, "training.steps": 3, "training.batch_size": 8}
    run = nelbo.train("toy:moons", tmp_path / "moons", overrides=settings)
    assert (tmp_path / "moons" / "samples.png").exists()
    assert run.sample(5).shape == (5, 2, 1, 1)


def test_the_held_out_part_is_read_again(folder, run):
    assert len(held_out_part(run)) == 297
    assert torch.equal(held_out_part(run).images([0]), nelbo.load_data("digits").test.images([0]))


def test_changed_data_has_no_held_out_part(run):
    changed = replace(run, config=replace(run.config, data=replace(run.config.data, num_train=1499)))
    with pytest.raises(DataError, match=r"had 1796 images when .* and has 1797 now, so its held-out images"):
        held_out_part(changed)


@pytest.mark.filterwarnings("ignore::nelbo.recipes.fitting.AssemblyWarning")
def test_a_single_image_trains(tmp_path, tiny_recipe):
    pictures = write_pictures(tmp_path / "one", 1, (1, 1))
    changes = {"training.steps": 1, "network.channels": 3}
    run = nelbo.train(DataRequest(str(pictures)), tmp_path / "run", overrides=flat(tiny_recipe, changes))
    assert run.shape == (3, 1, 1)
    assert run.sample(2).shape == (2, 3, 1, 1)
    with pytest.raises(DataError, match="none is held out"):
        held_out_part(run)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip": 0}, "clip is 0; expected True, False or None"),
        ({"steps": 2.5}, r"steps is 2\.5; expected a whole number or None"),
        ({"eta": "x"}, "eta is 'x'; expected a number or None"),
        ({"guidance": 2.0, "guidance_interval": (0.2,)}, r"guidance_interval is \(0\.2,\); expected a list"),
    ],
)
def test_sampling_options_check_types(options, message):
    with pytest.raises(ConfigurationError, match=message):
        SamplingOptions.of(**options)


def test_a_registered_sampler_has_a_name(run, monkeypatch):
    monkeypatch.setitem(SAMPLERS, "mine", SAMPLERS["ddim"])
    assert run.sample(1, sampler="mine", steps=2).shape == (1, 1, 8, 8)


def test_a_class_variable_is_not_a_setting():
    with pytest.raises(ConfigurationError, match="unknown Recipe setting 'family'"):
        record_from(Recipe, {"family": "diffusion"})


@pytest.mark.parametrize("name", [3, None, ""])
def test_a_run_has_a_name(name):
    with pytest.raises(RunError, match="expected the path of a run folder"):
        nelbo.load(name)


class TestReading:
    """`nelbo.train` takes the options of reading images, as the command does."""

    def test_mixed_sizes_need_a_size(self, tmp_path):
        write_pictures(tmp_path / "mess", 8, (20, 16))
        write_pictures(tmp_path / "mess" / "more", 8, (16, 16))
        tiny = {"network.base": 4, "network.groups": 2, "network.blocks": 1, "schedule.num_steps": 4}
        overrides = tiny | {"training.steps": 1, "training.batch_size": 2}
        with pytest.raises(DataError, match=r"give them one size, such as size=64"):
            nelbo.train(tmp_path / "mess", tmp_path / "run", overrides=overrides)
        run = nelbo.train(str(tmp_path / "mess"), tmp_path / "run", size=8, overrides=overrides)
        assert run.shape == (3, 8, 8) and run.config.data.size == 8

    def test_budget_is_an_argument(self, tmp_path):
        tiny = {"network.base": 4, "network.groups": 2, "network.blocks": 1, "schedule.num_steps": 4}
        run = nelbo.train("digits", tmp_path / "run", steps=1, overrides=tiny)
        assert (run.recipe.training.steps, run.recipe.training.minutes) == (1, None)

    def test_unknown_options_are_refused(self, tmp_path):
        with pytest.raises(ConfigurationError, match=r"unknown option 'sise'; did you mean 'size'\?"):
            nelbo.train("digits", tmp_path / "run", sise=16)
        with pytest.raises(ConfigurationError, match="give data as a name, a path or images, or leave out size"):
            nelbo.train(None, tmp_path / "run", size=16)
        with pytest.raises(DataError, match=r"the data is 3; expected a path, .*, or a data set; or a built-in name"):
            nelbo.train(3, tmp_path / "run")
