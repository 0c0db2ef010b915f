"""Counts from CSV files: both forms, and every kind of invalid cell."""

import pytest

from nelbo.data import example_counts, read_counts
from nelbo.errors import DataError


def write(tmp_path, text):
    path = tmp_path / "counts.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2\n3\n5\n", [2, 3, 5]),
        ("count\n2\n 3 \n\n5", [2, 3, 5]),
        ("value,count\n3,7\n0,1.5\n", [1.5, 0, 0, 7]),
        ("\ufeff0,4\r\n1,0\r\n", [4, 0]),
        ("0\n0\n", [0, 0]),
    ],
)
def test_valid_files_are_read(tmp_path, text, expected):
    assert read_counts(write(tmp_path, text)).tolist() == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no counts; expected one count per line"),
        ("teeth\n", "holds no counts"),
        ("2\n-3\n", r"line 2: the count is \'-3\'; expected a number, 0 or more"),
        ("2\nmany\n", r"line 2: the count is \'many\'"),
        ("2\nnan\n", r"line 2: the count is \'nan\'"),
        ("2\ninf\n", r"line 2: the count is \'inf\'"),
        ("1,2\n3\n", "has lines of 1, 2 cells; expected one count per line, or a value and its count"),
        ("1,2,3\n", "has lines of 3 cells"),
        ("0,1\n1.5,2\n", r"line 2: the value is \'1.5\'; expected a whole number"),
        ("-1,1\n", r"line 1: the value is \'-1\'"),
        ("99999999999,1\n", r"expected a whole number 0\.\.1000000"),
        ("1,1\n1,2\n", "line 2: the value 1 appears a second time"),
        (b"\xff\xfe\x00", "could not be read as CSV"),
    ],
)
def test_invalid_line_and_cell_are_reported(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_counts(write(tmp_path, text))


def test_missing_file_is_reported(tmp_path):
    with pytest.raises(DataError, match=r"there is no file .*nothing\.csv; expected a CSV"):
        read_counts(tmp_path / "nothing.csv")


def test_example_counts():
    assert example_counts().tolist() == [2, 3, 5, 14, 16, 15, 12, 8, 10, 8, 7]
