"""Which images are unusual to a model, compared with its held-out images."""

from typing import Any

from nelbo.data import Images
from nelbo.evaluation import Decisions, Surprise, conformal_decisions, lossless_bits
from nelbo.evaluation.decision_options import DecisionOptions
from nelbo.progress import StageProgress, reported_stages
from nelbo.runs import Run
from nelbo.studies.held_out_scores import measure_held_out, score_images


def decide(
    run: Run,
    images: Images,
    options: DecisionOptions | None = None,
    *,
    data: Images | None = None,
    progress: StageProgress | bool | None = None,
    **changes: Any,
) -> Decisions:
    """Decide which images are unusual: conformal p-values against held-out images, adjusted for their number.

    The decisions hold for images that the model was not trained on. The held-out images are those of the run. Their
    scores are computed once and kept in the run folder; see `measure_held_out`.

    Args:
        images: of any kind that `nelbo.data.as_dataset` takes.
        options: see `DecisionOptions`; or give single ones as keyword arguments, such as `fdr=0.1`.
        data: images that the model has never seen, instead of those that the run held out.
        progress: True for progress bars, or a function that is called with (stage, done, total).

    Raises:
        ConfigurationError: an unknown option or value.
        DataError: the held-out images cannot be read again, or the images cannot be compressed.
        RunError: the decoder is not trained yet.
        ShapeError: images of another shape than the model's.

    Warns:
        DecisionWarning: the held-out images are too few to flag a single image.
    """
    chosen = DecisionOptions.of(options, **changes)
    run.require_decoder()
    dataset = run.dataset_of(images, chosen.batch_size)
    with reported_stages(progress) as report:
        held_out = measure_held_out(run, chosen, data=data, progress=report)
        bits = score_images(run, dataset, chosen, progress=lambda *done: report("scoring", *done))
        found = Surprise(bits)
        if chosen.complexity is not None:
            stage = f"compressing as {chosen.complexity}"
            found = Surprise(bits, lossless_bits(chosen.complexity, dataset, lambda *done: report(stage, *done)))
    return conformal_decisions(found, held_out, fdr=chosen.fdr, tails=chosen.tails)
