"""The models of other libraries make the same predictions after they become runs of nelbo."""

from importlib.util import find_spec

import pytest
import torch

from benchmarks.quality import ddpm_pytorch, diffusers_model
from benchmarks.quality.plan import ENTRIES, Job
from benchmarks.quality.stand_in import Compose, RandomHorizontalFlip, SameSize, ToTensor
from benchmarks.quality.widths import default_parameters, nearest_width, num_parameters
from nelbo.data import Split, load_data
from nelbo.runs import DataOptions
from nelbo.studies import DataRequest
from nelbo.studies.run_data import described

needs_diffusers = pytest.mark.skipif(not find_spec("diffusers"), reason="diffusers (the extra `bench`) is missing")
needs_ddpm_pytorch = pytest.mark.skipif(
    not all(find_spec(name) for name in ddpm_pytorch.DdpmPytorch.packages),
    reason="denoising-diffusion-pytorch (`make quality` installs it) is missing",
)
PARAMETERS = 250_000


@pytest.fixture(scope="module")
def split() -> Split:
    return load_data("digits")


@pytest.fixture(scope="module")
def data(split) -> DataOptions:
    return described(DataRequest("digits"), split)


def job_of(name: str, out, minutes: float = 1.0) -> Job:
    return Job(**vars(ENTRIES[name]), out=str(out), data=vars(DataRequest("digits")), minutes=minutes,
               repeat=0, threads=1, parameters=PARAMETERS)  # fmt: skip


def noisy(seed: int) -> torch.Tensor:
    return torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_nearest_width_is_the_nearest():
    def build(width: int) -> torch.nn.Module:
        return torch.nn.Linear(width, width, bias=False)

    assert num_parameters(lambda: build(5)) == 25
    assert nearest_width(build, range(1, 20), 30) == 5
    assert nearest_width(build, range(1, 20), 31) == 6
    assert nearest_width(build, range(1, 4), 1000) == 3


def test_default_parameters_are_those_of_the_preset(data):
    assert 3.5e6 < default_parameters(data) < 3.8e6


@needs_diffusers
def test_networks_of_diffusers_have_nearly_the_parameters(data, split, tmp_path):
    peer = diffusers_model.DiffusersPeer(job_of("diffusers", tmp_path), split)
    assert peer.num_parameters == sum(p.numel() for p in peer.network.parameters())
    assert 0.5 < peer.num_parameters / PARAMETERS < 2


@needs_diffusers
def test_diffusers_makes_the_same_predictions_as_its_run(data, split, tmp_path):
    job = job_of("diffusers", tmp_path)
    peer = diffusers_model.DiffusersPeer(job, split)
    for i in range(3):
        peer.advance(i / 1000)
    average = [parameter.clone() for parameter in peer.average.shadow_params]
    assert any(not torch.equal(a, b) for a, b in zip(average, peer.network.parameters(), strict=True))
    peer.save(job.place)
    torch.testing.assert_close(list(peer.network.parameters()), average, rtol=0, atol=0, check_stride=False)
    run = diffusers_model.Diffusers().load(job, data)
    assert run.config.data == data
    x_t, t = noisy(0), torch.tensor([0, 500, 999])
    with torch.no_grad():
        theirs = peer.network.eval()(x_t, t).sample  # `save` left the average in it
        ours = run.network(x_t, t + 1)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(run.schedule.alphas_bar[1:].float(), peer.scheduler.alphas_cumprod, rtol=1e-5, atol=0)


@needs_diffusers
def test_cosine_is_that_of_diffusers():
    from diffusers.optimization import get_cosine_schedule_with_warmup

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=1.0)
    theirs = get_cosine_schedule_with_warmup(optimizer, diffusers_model.WARMUP, 2000).lr_lambdas[0]
    for step in (0, 1, 250, 499, 500, 501, 1234, 1999):
        assert diffusers_model.cosine(step, step / 2000) == pytest.approx(theirs(step), abs=1e-12)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("diffusers", marks=needs_diffusers),
        pytest.param("diffusers-fast", marks=needs_diffusers),
        pytest.param("denoising-diffusion-pytorch", marks=needs_ddpm_pytorch),
    ],
)
def test_peer_resumes_from_its_state(name, split, tmp_path):
    kinds = {"diffusers": diffusers_model.DiffusersPeer, "denoising-diffusion-pytorch": ddpm_pytorch.DdpmPytorchPeer}
    job = job_of(name, tmp_path)
    job.place.mkdir(parents=True)
    first, second = kinds[job.library](job, split), kinds[job.library](job, split)
    before = first.state()["network"]
    before = {key: value.clone() for key, value in before.items()}
    for i in range(2):
        first.advance(i / 1000)
    torch.save(first.state(), tmp_path / "state.pt")
    second.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    assert second.step == first.step == 2
    for part in ("network", "average", "optimizer"):
        torch.testing.assert_close(second.state()[part], first.state()[part], rtol=0, atol=0)
    assert any(not torch.equal(before[key], value) for key, value in first.state()["network"].items())
    second.advance(0.5)
    assert second.step == 3


@needs_ddpm_pytorch
def test_ddpm_pytorch_makes_the_same_predictions_as_its_run(data, tmp_path):
    torch.manual_seed(0)
    diffusion = ddpm_pytorch.diffusion_of(ddpm_pytorch.build(data.shape, 8), data.shape).eval()
    run = ddpm_pytorch.run_of(diffusion, data, tmp_path)
    reverse = run.reverse()
    for t in (0, 500, 990):
        x_t, place = noisy(t), torch.full((3,), t)
        with torch.no_grad():
            theirs = diffusion.model_predictions(x_t, place)
            ours = reverse.predict(x_t, place + 1)
        torch.testing.assert_close(ours.x_0, theirs.pred_x_start, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(ours.noise, theirs.pred_noise, atol=1e-3, rtol=1e-3)


@needs_ddpm_pytorch
def test_ddpm_pytorch_reads_the_images_as_they_are(data, split, tmp_path):
    job = job_of("denoising-diffusion-pytorch-unflipped", tmp_path)
    job.place.mkdir(parents=True)
    dataset = ddpm_pytorch.DdpmPytorchPeer(job, split).trainer.ds
    place = {path.name: index for index, path in enumerate(dataset.paths)}
    assert len(place) == len(split.train)
    for index in (0, 7, 1499):
        shown = 16 * dataset[place[f"{index:06d}.png"]]
        torch.testing.assert_close(shown, split.train.images([index])[0].float(), atol=0.05, rtol=0)


def test_stand_in_flips_half_of_the_images():
    from PIL import Image

    image = Image.new("L", (2, 1))
    image.putpixel((1, 0), 255)
    transform = Compose([SameSize((1, 2)), RandomHorizontalFlip(), SameSize([1, 2]), ToTensor()])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = torch.stack([transform(image) for _ in range(200)])
    assert found.shape == (200, 1, 1, 2)
    assert set(found.flatten(1).sum(1).tolist()) == {1.0}
    assert 70 < found[:, 0, 0, 0].sum() < 130  # standard deviation 7
