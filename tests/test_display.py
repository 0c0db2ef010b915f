"""Objects show themselves in a few lines, and in a notebook as HTML without outside parts."""

import base64
import importlib
import io
import pkgutil
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image

import nelbo
from nelbo.display import Brief, Displayed, Scored, bars, brief, counted, data_frame, pngs, with_error
from nelbo.errors import ConfigurationError

EMBEDDED = re.compile(r"src='data:image/png;base64,([A-Za-z0-9+/=]+)'")


@dataclass
class Shown(Displayed):
    text: str

    def summary(self) -> Mapping[str, str]:
        return {"name": self.text, "longer name": "x"}

    def pictures(self) -> Mapping[str, Sequence[bytes]]:
        return {f"of {self.text}": pngs(torch.tensor([[[[0, 1]]], [[[2, 2]]]], dtype=torch.uint8), 3)}


@dataclass(frozen=True)
class Holds(Brief):
    tensor: torch.Tensor
    network: torch.nn.Module
    items: tuple[object, ...]


def test_every_report_shows_itself_in_a_notebook_and_becomes_a_table():
    """Whatever a function of nelbo returns as its report."""
    for module in pkgutil.walk_packages(nelbo.__path__, "nelbo."):
        if "report" in module.name or module.name.split(".")[1] in ("evaluation", "studies", "vae"):
            importlib.import_module(module.name)
    found = {name: each for each in subclasses(Displayed) if (name := each.__name__).endswith("Report")}
    assert {"BoundReport", "CodecReport", "DataReport", "FormsReport", "FrechetReport", "PointsReport"} <= set(found)
    assert [name for name, each in found.items() if not hasattr(each, "to_pandas")] == []
    others = [each for each in subclasses(Brief) if each.__name__.endswith("Report")]
    assert others == []


def subclasses(base: type) -> list[type]:
    return [each for child in base.__subclasses__() for each in (child, *subclasses(child))]


def test_a_dataclass_keeps_the_aligned_rows():
    assert repr(Shown("a")) == "Shown\n  name         a\n  longer name  x"


def test_a_brief_record_names_kinds_and_sizes():
    shown = repr(Holds(torch.zeros(2, 3), torch.nn.Linear(2, 2), (1, "a", torch.ones(1, dtype=torch.int64))))
    assert shown == "Holds(tensor=<float32 (2, 3)>, network=<Linear>, items=(1, 'a', <int64 (1,)>))"
    assert brief(["x"] * 9) == "[9 items]" and brief("a\nb") == "'a\\nb'" and brief("x" * 300) == "<str>"
    assert brief((1,)) == "(1,)" and brief([1]) == "[1]" and brief(None) == "None"


def test_html_escapes_text_and_embeds_pictures():
    page = Shown("<script>alert('x')</script>")._repr_html_()
    assert "<script" not in page and "&lt;script&gt;" in page and page.count("alert(&#x27;x&#x27;)") == 4
    assert not re.search(r"(?:https?:)?//(?!.*base64)|url\(|<link|<iframe", re.sub(EMBEDDED, "", page))
    first, second = (Image.open(io.BytesIO(base64.b64decode(found))) for found in EMBEDDED.findall(page))
    assert np.asarray(first).tolist() == [[0, 128]] and np.asarray(second).tolist() == [[255, 255]]


def test_names_cannot_control_the_terminal():
    assert repr(Shown("a\x1b[2Jb\u202ec\nd\udce9 é")).splitlines()[1].endswith(r"a\x1b[2Jb\u202ec\nd\udce9 é")
    page = Shown("a\x1b[2Jb\u202e")._repr_html_()
    assert "\x1b" not in page and "\u202e" not in page and r"of a\x1b[2Jb\u202e" in page


def test_bars_reach_from_zero_to_the_largest_value():
    tall = np.asarray(Image.open(io.BytesIO(bars([1.0, 4.0, float("nan"), -1.0]))))
    blue = (tall[..., 0] < 128).sum(0)
    heights = [int(blue[place]) for place in (50, 150, 250, 350)]
    assert heights == [21, 80, 1, 1]
    many = np.asarray(Image.open(io.BytesIO(bars([0.0] * 5000 + [1.0]))))
    assert many.shape == tall.shape and (many[..., 0] < 128).sum(0)[-1] == 80
    assert bars([0.0])


def test_scores_become_a_histogram():
    report = type("Report", (Scored,), {"summary": lambda self: {}})()
    report.scores = torch.tensor([1.0, 2.0, 3.0, float("inf")])
    assert list(report.pictures()) == ["number of images by score, from 1.000 (left) to 3.000 bits/dim (right)"]
    report.scores = torch.tensor([1.0])
    assert report.pictures() == {}
    report.scores = torch.tensor([1.0, 1.0])
    assert report.pictures()


def test_without_pandas_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigurationError, match=r"needs the package pandas; install it by `pip install 'nelbo\[note"):
        data_frame({"a": [1]})


def test_a_data_frame_has_the_columns():
    pytest.importorskip("pandas")
    assert data_frame({"a": [1, 2], "b": ["x", "y"]}).to_dict("list") == {"a": [1, 2], "b": ["x", "y"]}
    assert list(data_frame([{"t": 1}, {"t": 2, "more": 3.0}]).columns) == ["t", "more"]


def test_numbers_in_words():
    assert counted(1, "image") == "1 image" and counted(1500, "image") == "1,500 images"
    assert counted(2, "class", "classes") == "2 classes"
    assert with_error(1.23456, 0.01) == "1.2346 +- 0.0100 bits/dim"
    assert with_error(1.0, float("nan")) == "1.0000 bits/dim"
