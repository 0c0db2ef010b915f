"""What every model is compared with: the data, two halves of its held-out images, and two classifiers."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.train_classifier import PLANS
from nelbo.data import Split
from nelbo.errors import ConfigurationError, option
from nelbo.files import write_json
from nelbo.networks import ClassifierOptions
from nelbo.runs import DataOptions
from nelbo.runs.folder import refuse_changes
from nelbo.studies import DataRequest, Listener, TrainedClassifier, load_classifier, train_features
from nelbo.studies.run_data import described, read_split

FIRST, SECOND = "first", "second"
WIDTHS = {FIRST: (16, 32, 64), SECOND: (48, 96)}
FEATURES = {FIRST: 64, SECOND: 96}
SEEDS = {FIRST: 0, SECOND: 1}
STEPS, MOVEMENT, SAID_EVERY = 3000, 0.3, 200


@dataclass(frozen=True)
class Comparison:
    """The data of a benchmark.

    Attributes:
        out: folder of the benchmark.
        split: the images, in the same two parts as every training reads them.
        data: their description.
        reference: held-out images with which all others are compared, uint8 (N, C, H, W).
        other: as many other held-out images. Their distance from `reference` is the smallest that a model can reach.
            Samplers are chosen by the distance from them.
        classifier_steps: optimizer steps of each classifier; None for the usual number.
    """

    out: Path
    split: Split
    data: DataOptions
    reference: Tensor
    other: Tensor
    classifier_steps: int | None = None

    @classmethod
    def of(cls, out: Path, request: DataRequest, num: int, classifier_steps: int | None = None) -> "Comparison":
        """Read the data, and divide its held-out images into two halves of `num` images.

        Raises:
            ConfigurationError: there are too few held-out images.
            RunError: the folder belongs to a benchmark on other data.
        """
        split = read_split(request, workers=None, seed=0, listener=Listener())
        test = split.require_test()
        if not 2 <= num <= len(test) // 2:
            raise ConfigurationError(
                f"{option('num', num)} must be within 2..{len(test) // 2}: the images of a model are compared with as "
                f"many held-out images, and so are the other held-out images; there are {len(test)}."
            )
        settings, path = {"data": vars(request)}, out / "data.json"
        if path.exists():
            refuse_changes(out, "a benchmark", json.loads(path.read_text(encoding="utf-8")), settings)
        write_json(path, settings)
        images = test.spread(2 * num).images(torch.arange(2 * num))
        return cls(out, split, described(request, split), images[::2], images[1::2], classifier_steps)

    def classifier(self, which: str) -> TrainedClassifier:
        """Return the first or the second classifier, from its file or trained now."""
        path = self.out / "classifiers" / f"{which}.safetensors"
        if not path.exists():
            print(f"training the {which} classifier", flush=True)
            plan = PLANS.get(self.data.spec)
            train_features(
                self.split,
                classifier_options(which, self.data),
                steps=self.classifier_steps or (plan.steps if plan else STEPS),
                movement=plan.movement if plan else MOVEMENT,
                seed=SEEDS[which],
                progress=lambda done, total: _say(done, total),
            ).save(path)
        return load_classifier(path)

    def require_repeatable(self, request: DataRequest) -> None:
        """Check that another seed holds out the same images.

        Raises:
            ConfigurationError: it does not, so a second training would learn the images that it is compared with.
        """
        again = read_split(request, workers=None, seed=1, listener=Listener()).test
        places = torch.arange(len(self.split.test))
        if len(again) != len(places) or not torch.equal(again.images(places), self.split.test.images(places)):
            raise ConfigurationError(
                f"a second training has another seed, which holds out other images of {request.spec}; use data with a "
                f"held-out part of its own, or leave out {option('again')}."
            )


def classifier_options(which: str, data: DataOptions) -> ClassifierOptions:
    """Return the network of a classifier, with fewer widths for images that cannot be halved as often."""
    most = int(math.log2(min(data.shape[1:])))
    return ClassifierOptions(data.shape, len(data.class_names), WIDTHS[which][:most], FEATURES[which])


def _say(done: int, total: int) -> None:
    if done % SAID_EVERY == 0:
        print(f"step {done} of {total}", flush=True)
