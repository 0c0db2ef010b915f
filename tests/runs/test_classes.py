"""Class-conditional models: trained by default, scored without classes, sampled in the proportions of training."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

import nelbo
from nelbo.data import ArrayDataset
from nelbo.errors import ConfigurationError, RunError
from nelbo.evaluation import evaluate_bound
from nelbo.runs import read_config
from nelbo.studies import data_of
from tests.runs.test_run import flat

COUNTS = (60, 0, 30, 10)
# The chi-square statistic exceeds these for 1 of 1,000 seeds; by degrees of freedom.
CHI_SQUARE = {2: 13.82, 3: 16.27}


@pytest.fixture(scope="module")
def settings(tiny_recipe):
    """A tiny recipe, four steps long, that leaves it to the data whether the model is conditional."""
    changes = flat(tiny_recipe, {"training.steps": 4, "training.log_every": 4})
    return {name: value for name, value in changes.items() if name != "conditional"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, settings):
    place = tmp_path_factory.mktemp("runs") / "digits"
    torch.set_num_threads(1)
    nelbo.train("digits", place, overrides=settings)
    return place


@pytest.fixture
def run(folder):
    return nelbo.load(folder, device="cpu")


@pytest.fixture
def seen(run):
    """The label of every call of the run's network, None for a call without one."""
    labels = []
    run.network.register_forward_pre_hook(lambda network, given: labels.append(given[2] if len(given) > 2 else None))
    return labels


def of_classes(run, names, counts=()):
    """The run with other class names and numbers of training images."""
    return replace(
        run, config=replace(run.config, data=replace(run.config.data, class_names=names, class_counts=counts))
    )


def chi_square(classes, counts):
    """Pearson's statistic of drawn classes against frequencies, over the classes that have images."""
    expected = torch.tensor(counts, dtype=torch.float64) * len(classes) / sum(counts)
    found = torch.bincount(classes, minlength=len(counts)).double()
    assert bool((found[expected == 0] == 0).all())
    return float(((found - expected).square() / expected)[expected > 0].sum())


class TestTraining:
    def test_labelled_data_gives_a_conditional_model(self, folder, run):
        stored = json.loads((folder / "config.json").read_text())
        assert stored["conditional"] is True
        assert stored["network"]["num_classes"] == 10
        counts = torch.bincount(nelbo.load_data("digits").train.labels).tolist()
        assert stored["data"]["class_counts"] == counts
        assert run.recipe.label_dropout == 0.1

    def test_the_same_command_resumes(self, folder, settings, tmp_path):
        copy = shutil.copytree(folder, tmp_path / "copy")
        run = nelbo.train("digits", copy, overrides=settings | {"training.steps": 5})
        assert run.recipe.conditional is True

    def test_an_unconditional_run_of_an_earlier_version_resumes(self, settings, tmp_path):
        nelbo.train("digits", tmp_path / "run", overrides=settings | {"conditional": False})
        path = tmp_path / "run" / "config.json"
        stored = json.loads(path.read_text())
        del stored["data"]["class_counts"]
        path.write_text(json.dumps(stored))
        run = nelbo.train("digits", tmp_path / "run", overrides=settings | {"training.steps": 5})
        assert run.recipe.conditional is False
        assert sum(read_config(run.folder).data.class_counts) == 1500
        with pytest.raises(RunError, match="conditional: False stored, True given"):
            nelbo.train("digits", run.folder, overrides=settings | {"training.steps": 6, "conditional": True})

    def test_other_numbers_of_images_are_another_run(self, folder, settings, tmp_path):
        copy = shutil.copytree(folder, tmp_path / "copy")
        stored = json.loads((copy / "config.json").read_text())
        stored["data"]["class_counts"][:2] = [1, 2]
        (copy / "config.json").write_text(json.dumps(stored))
        with pytest.raises(RunError, match=r"data\.class_counts"):
            nelbo.train("digits", copy, overrides=settings)


def test_class_counts_follow_the_names():
    pixels = torch.zeros(5, 1, 2, 2, dtype=torch.uint8)
    labels = torch.tensor([2, 0, 2, -1, 2])
    assert ArrayDataset(pixels, 256, labels, "x", ("a", "b", "c")).class_counts == (1, 0, 3)
    assert ArrayDataset(pixels, 256, labels, "x").class_counts == ()
    assert ArrayDataset(pixels, 256).class_counts == ()


class TestScoring:
    """Every number of a run is that of p(x_0)."""

    def test_the_network_gets_no_class(self, run, seen):
        images = data_of(run).test.subset(torch.arange(3))
        assert images.labels is not None
        for use in (
            lambda: run.bound(images, steps_per_image=2),
            lambda: run.score(images, steps_per_image=2),
            lambda: run.glance(images),
            lambda: run.forms(images),
            lambda: run.forms(images, known=True),
            lambda: run.likelihood(images, tolerance=10.0),
            lambda: run.calibrate(images, draws=4),
        ):
            seen.clear()
            use()
            assert seen and all(label is None for label in seen)

    def test_the_bound_is_that_of_no_class(self, run):
        split = data_of(run)
        images = split.test.subset(torch.arange(4))
        run.calibrate(split.train)  # fully; the short training did so with few draws
        reverse, none = run.reverse(), torch.full((4,), -1)
        expected = evaluate_bound(reverse, images, labels=none, steps_per_image=None, seed=3)
        assert run.bound(images, steps_per_image=None, seed=3).total == pytest.approx(expected.total, abs=1e-9)
        of_class = evaluate_bound(reverse, images, labels=images.labels, steps_per_image=None, seed=3)
        assert abs(of_class.total - expected.total) > 1e-6


class TestSampling:
    def test_classes_have_the_frequencies_of_training(self, run):
        model = of_classes(run, ("a", "b", "c", "d"), COUNTS).model
        assert chi_square(model.classes(None, 3000, seed=1), COUNTS) < CHI_SQUARE[2]

    def test_classes_of_an_earlier_run_are_equally_probable(self, run):
        model = of_classes(run, ("a", "b", "c", "d")).model
        assert chi_square(model.classes(None, 3000, seed=1), (1, 1, 1, 1)) < CHI_SQUARE[3]

    def test_a_class_depends_on_the_seed_and_the_number_only(self, run):
        classes = run.model.classes(None, 40, seed=5)
        assert torch.equal(run.model.classes(None, 7, seed=5, first=20), classes[20:27])
        assert not torch.equal(run.model.classes(None, 40, seed=6), classes)

    def test_images_do_not_depend_on_the_batch(self, run, seen):
        together = run.sample(5, seed=5, steps=2)
        (classes, _) = seen
        assert torch.equal(classes, run.model.classes(None, 5, seed=5))
        assert int((together.int() - run.sample(5, seed=5, steps=2, batch_size=2).int()).abs().max()) <= 1
        rest = run.sample(3, seed=5, first=2, steps=2)
        assert int((together[2:].int() - rest.int()).abs().max()) <= 1

    def test_previews_and_trajectories_draw_classes_too(self, run, seen):
        run.draft(3, seed=5)
        list(run.trajectory(3, seed=5, steps=2))
        drawn = run.model.classes(None, 3, seed=5)
        assert all(torch.equal(label[:3], drawn) for label in seen)  # guidance calls with and without the class

    def test_labels_are_names_numbers_or_all_in_turn(self, run):
        names = run.config.data.class_names
        assert run.model.classes([names[1], 0], 2).tolist() == run.model.classes((1, names[0]), 2).tolist() == [1, 0]
        assert run.model.classes("all", 3, first=1).tolist() == [i % len(names) for i in (1, 2, 3)]
        for wrong in (
            {"a": 1},
            torch.nested.nested_tensor([torch.zeros(1), torch.zeros(2)]),
            [names[0], None],
            [[0], [1, 0]],
            1j,
            [0.5, 1.0],
            object(),
        ):
            with pytest.raises(ConfigurationError, match=r"label is .*; expected the name or the number of a class"):
                run.model.classes(wrong, 2)
        with pytest.raises(ConfigurationError, match="class 'absent'"):
            run.model.classes(["absent", 0], 2)

    def test_guidance_pulls_towards_the_drawn_classes(self, run, seen):
        run.sample(3, seed=5, steps=1, guidance=2.0, guidance_interval=(0.0, 1.0))
        (label,) = seen
        assert label.tolist() == [*run.model.classes(None, 3, seed=5).tolist(), -1, -1, -1]

    def test_the_label_none_samples_without_a_class(self, run, seen):
        run.sample(3, label="none", steps=1)
        assert seen == [None]
        with pytest.raises(
            ConfigurationError, match="guidance follows a class; set label to a class, or remove guidance"
        ):
            run.sample(3, label="none", steps=1, guidance=2.0)

    def test_a_class_called_none_wins(self, run):
        assert of_classes(run, ("some", "none")).model.classes("none", 2).tolist() == [1, 1]

    def test_a_name_may_be_typed_in_another_normalisation(self, run):
        decomposed, composed = "Ha\u0308ndchen", "H\u00e4ndchen"
        for stored, typed in ((decomposed, composed), (composed, decomposed)):
            assert of_classes(run, ("cat", stored)).model.classes(typed, 1).tolist() == [1]

    def test_a_model_without_classes_draws_none(self, run):
        plain = replace(run.model, recipe=replace(run.recipe, conditional=False))
        assert plain.classes(None, 3) is None
        with pytest.raises(ConfigurationError, match="is not class-conditional; remove label"):
            plain.classes("none", 3)
