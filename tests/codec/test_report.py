"""The comparison of file sizes with the bound, as it shows itself."""

import pytest

from nelbo.codec import CodecReport

REPORT = CodecReport(
    total=3.5, header=0.25, channel=2.5, divergence=2.0, end=0.75, chunks=1.5, bound=2.5, num_images=8, num_raw=1
)


def test_report_shows_its_parts():
    assert repr(REPORT).splitlines() == [
        "CodecReport",
        "  files   3.5000 bits/dim, 8 images, 1 stored without the model",
        "  parts   header, checks and hash 0.2500, KL of the steps that are sent 2.0000, "
        "overhead of the channel 0.5000, lossless end 0.7500",
        "  bounds  2.5000 bits/dim, 2.7500 for the strided chain that is sent",
    ]
    page = REPORT._repr_html_()
    assert "3.5000 bits/dim" in page and page.count("<img") == 1
    assert sum(REPORT.parts().values()) == REPORT.header + REPORT.channel + REPORT.end
    assert set(REPORT.to_json()) == {*vars(REPORT), "strided_bound", "over_bound", "over_strided_bound"}


def test_report_becomes_a_data_frame():
    pytest.importorskip("pandas")
    table = REPORT.to_pandas().set_index("part")["bits_per_dim"]
    assert table["files"] == 3.5 and table["bound of the full chain"] == 2.5 and table["lossless end"] == 0.75
