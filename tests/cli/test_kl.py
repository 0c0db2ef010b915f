"""`nelbo kl`: fits, comparisons and errors."""

import json


def test_example_of_worms(nelbo_cli):
    shown = nelbo_cli("kl", "--example", "worms")
    assert shown.code == 0
    assert shown.out.index("uniform") < shown.out.index("binomial")  # the best fit is first
    for figure in ("0.136680", "0.197187", "0.427350", "p = 0.544", "mean 5.44", "the nearest is poisson"):
        assert figure in shown.out


def test_one_against_takes_several_families(nelbo_cli, tmp_path):
    (tmp_path / "counts.csv").write_text("value,count\n0,5\n1,9\n2,4\n")
    line = ("kl", "counts.csv", "--against", "uniform", "binomial", "--json", "-")
    found = json.loads(nelbo_cli(*line).out)
    assert sorted(row["name"] for row in found["against"]) == ["binomial", "uniform"]
    assert found["counts"] == [5, 9, 4]
    every = json.loads(nelbo_cli("kl", "counts.csv", "--json", "-").out)["against"]
    assert {row["name"] for row in every} == {"uniform", "binomial", "poisson", "geometric"}
    assert [row["nats"] for row in every] == sorted(row["nats"] for row in every)


def test_other_counts_and_infinite_divergence(nelbo_cli, tmp_path):
    (tmp_path / "p.csv").write_text("1\n1\n2\n")
    (tmp_path / "q.csv").write_text("3\n1\n")
    shown = nelbo_cli("kl", "p.csv", "--against", "q.csv")
    assert "infinite" in shown.out
    assert "q.csv gives probability 0 to the observed values [2]: KL is infinite" in shown.out
    found = json.loads(nelbo_cli("kl", "q.csv", "--against", "p.csv", "--json", "-").out)
    assert found["against"][0]["nats"] > 0
    assert (
        json.loads(nelbo_cli("kl", "p.csv", "--against", "q.csv", "--json", "-").out)["against"][0]["nats"]
        == "infinite"
    )


def test_bars_are_drawn(nelbo_cli, tmp_path):
    assert nelbo_cli("kl", "--example", "worms", "--out", "bars.png").code == 0
    assert (tmp_path / "bars.png").stat().st_size > 10_000


def test_mistakes_are_one_sentence(nelbo_cli, tmp_path):
    (tmp_path / "p.csv").write_text("1\n1\n")
    for line, message in (
        (("kl",), "name a CSV file of counts"),
        (("kl", "--example", "bees"), "unknown example 'bees'; expected worms"),
        (("kl", "nothing.csv"), "there is no file nothing.csv; expected a CSV of counts"),
        (("kl", "p.csv", "--against", "normal"), "--against 'normal' is neither a CSV file nor one of uniform"),
    ):
        shown = nelbo_cli(*line)
        assert shown.code == 2
        assert message in shown.err
