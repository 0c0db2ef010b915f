"""The README.md of an exported model: what it is, how to open it, and what it lacks."""

from collections.abc import Sequence

from nelbo.runs import DiffusionRun, Run

CARD = "README.md"
FENCE = 3 * "-"  # around the metadata of a card


def card(model: Run, place: str, format: str, notes: Sequence[str], *, code: bool = False) -> str:
    """Return the text of the card.

    Args:
        place: the folder or the repository, as its reader names it.
        format: a format of `export_model`.
        notes: what the export changed or left out, one sentence each.
        code: whether a folder for diffusers carries code of its own.
    """
    channels, height, width = model.shape
    title = place.rpartition("/")[2]
    opened = {
        "diffusers": f'diffusers.DDPMPipeline.from_pretrained("{place}"{", trust_remote_code=True" if code else ""})',
        "torch": f'torch.export.load("{place}/model.pt2").module()',
        "nelbo": f'nelbo.interop.import_model("{place}", "runs/{title}")',
    }[format]
    parts = [
        f"{FENCE}\nlibrary_name: {format}\ntags: [diffusion, nelbo]\n{FENCE}",
        f"# {title}",
        f"Images of {width} x {height} in {channels} channel(s): {model.config.recipe.in_words}. Exported by nelbo.",
        f"```\n{opened}\n```",
    ]
    if isinstance(model, DiffusionRun) and model.recipe.conditional:
        classes = ", ".join(f"{number} {name}" for number, name in enumerate(model.config.data.class_names))
        parts.append(f"Classes: {classes}.")
    if notes:
        parts.append("\n".join(f"- {note[0].upper()}{note[1:]}." for note in notes))
    return "\n\n".join(parts) + "\n"
