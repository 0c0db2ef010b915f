"""The damages: their names, their options, the images that they expect, and what they refuse."""

from dataclasses import fields

import pytest
import torch

from nelbo.diffusion import NoiseSchedule, ReverseProcess
from nelbo.errors import ConfigurationError, ShapeError
from nelbo.restoration import (
    DAMAGE_NAMES,
    DAMAGES,
    METHODS,
    ColourDamage,
    LinearDamage,
    MaskDamage,
    NoiseDamage,
    StrengthDamage,
    UpscaleDamage,
    build_damage,
)
from nelbo.runs import RestoreOptions
from nelbo.samplers import AncestralSampler, DDIMSampler, HeunSampler

HOLE = torch.eye(8, dtype=torch.bool)
VALUES = {"mask": HOLE, "noise": 5.0, "upscale": 2, "colour": True, "strength": 0.5}
PROCESS = ReverseProcess(lambda x_t, t: torch.zeros_like(x_t), NoiseSchedule.log_linear(10))
Y = torch.zeros(1, 1, 8, 8)


def test_names_and_registry_agree():
    assert tuple(DAMAGES) == DAMAGE_NAMES


def test_options_of_damages_are_restore_options():
    of_restoring = {field.name for field in fields(RestoreOptions)}
    for name, kind in DAMAGES.items():
        assert {name, *kind.own_options()} <= of_restoring


def test_every_method_restores_some_damage():
    found = {method for kind in DAMAGES.values() if issubclass(kind, LinearDamage) for method in kind.methods}
    assert found == set(METHODS)


@pytest.mark.parametrize(
    ("damage", "shape"),
    [
        (MaskDamage(HOLE), (3, 8, 8)),
        (NoiseDamage(5.0), (3, 8, 8)),
        (UpscaleDamage(4), (3, 2, 2)),
        (ColourDamage(), (1, 8, 8)),
        (StrengthDamage(0.5), (3, 8, 8)),
    ],
)
def test_expected_shape_of_the_damaged_image(damage, shape):
    assert damage.expected_shape((3, 8, 8)) == shape


@pytest.mark.parametrize("name", DAMAGE_NAMES)
def test_damages_are_built_from_options(name: str):
    damage = build_damage(name, {name: VALUES[name], "method": None, "jump": None, "num": 4})
    assert type(damage) is DAMAGES[name]
    if name in damage.own_options():
        assert getattr(damage, name) is VALUES[name]


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("fog", {}, "unknown damage 'fog'"),
        ("noise", {"noise": 5.0, "method": "null-space"}, "noise does not support method; remove method"),
        ("strength", {"strength": 0.5, "jump": 2}, "strength does not support jump; remove jump"),
        ("upscale", {"upscale": 2, "resamplings": 2}, "upscale does not support resamplings; remove resamplings"),
        ("upscale", {"upscale": 2, "method": "repaint"}, "supports method='null-space' only, got 'repaint'"),
        ("colour", {"colour": True, "method": "repaint"}, "supports method='null-space' only, got 'repaint'"),
        ("mask", {"mask": HOLE, "method": "magic"}, "unknown method 'magic'"),
        (
            "mask",
            {"mask": HOLE, "method": "null-space", "jump": 2, "resamplings": 2},
            "jump and resamplings can be used with method='repaint' only; remove them, or change method",
        ),
        (
            "noise",
            {"noise": 0.0},
            "noise is a standard deviation in grey levels: it must be above 0 and finite, got 0.0",
        ),
        ("noise", {"noise": float("inf")}, "must be above 0 and finite, got inf"),
    ],
)
def test_options_that_do_not_fit_are_refused(name, values, message):
    with pytest.raises(ConfigurationError) as refused:
        build_damage(name, values)
    assert message in str(refused.value)


def test_masks_that_cannot_work_are_refused():
    for wrong in (HOLE.to(torch.uint8), HOLE.expand(3, 8, 8), HOLE.numpy(), [True]):
        with pytest.raises(ShapeError, match=r"the mask must be a bool tensor \(height, width\), true where .* got "):
            MaskDamage(wrong)
    with pytest.raises(ConfigurationError, match="marks no pixel as missing"):
        MaskDamage(torch.zeros(8, 8, dtype=torch.bool))
    with pytest.raises(ConfigurationError, match="marks every pixel as missing"):
        MaskDamage(torch.ones(8, 8, dtype=torch.bool))
    with pytest.raises(ShapeError, match=r"the mask is 8 x 8, but the model's images are 9 x 8 \(height x width\)"):
        MaskDamage(HOLE).expected_shape((3, 9, 8))


def test_models_that_do_not_fit_are_refused():
    with pytest.raises(ConfigurationError, match="images are grey and have no colours; remove colour"):
        ColourDamage().expected_shape((1, 8, 8))
    for factor, possible in ((1, "2, 4, 8"), (3, "2, 4, 8"), (16, "2, 4, 8")):
        with pytest.raises(ConfigurationError, match=rf"8 x 8, got {factor}; possible: {possible}\."):
            UpscaleDamage(factor).expected_shape((3, 8, 8))
    with pytest.raises(ConfigurationError, match="7 x 9, got 2; possible: none"):
        UpscaleDamage(2).expected_shape((3, 7, 9))


def test_repaint_needs_the_ancestral_sampler():
    damage = MaskDamage(HOLE)
    with pytest.raises(
        ConfigurationError, match="uses the ancestral sampler; remove sampler, or set method='null-space'"
    ):
        damage.walk(HeunSampler(PROCESS), Y, 10)
    assert damage.walk(AncestralSampler(PROCESS), Y, 10).steps == 10 + 2 * 9
    assert MaskDamage(HOLE, method="null-space").walk(HeunSampler(PROCESS), Y, 10).steps == 10


def test_jump_must_fit_into_the_walk():
    sampler = AncestralSampler(PROCESS)
    for jump in (10, 11):
        with pytest.raises(ConfigurationError, match=f"jump must be below the number of steps, 10, got {jump}"):
            MaskDamage(HOLE, jump=jump).walk(sampler, Y, 10)
    assert MaskDamage(HOLE, jump=9).walk(sampler, Y, 10).steps == 10 + 2 * 9


def test_noise_needs_a_sampler_that_draws_noise():
    damage = NoiseDamage(5.0)
    for name, sampler in (("heun", HeunSampler(PROCESS)), ("ddim", DDIMSampler(PROCESS))):
        with pytest.raises(ConfigurationError, match=f"the sampler '{name}' draws no noise") as refused:
            damage.walk(sampler, Y, 10)
        assert "set sampler='ancestral' or sampler='dpm-solver++sde', or sampler='ddim' with eta=1" in str(
            refused.value
        )
    assert damage.walk(DDIMSampler(PROCESS, eta=0.5), Y, 10).steps == 10


def test_default_steps_are_fewer_for_repaint():
    assert MaskDamage(HOLE).default_steps == 20
    assert MaskDamage(HOLE, method="null-space").default_steps == StrengthDamage(0.5).default_steps == 50
