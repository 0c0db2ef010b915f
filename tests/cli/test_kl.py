"""`nelbo kl`, as a person types it."""

import json


def test_the_worms(nelbo_cli):
    shown = nelbo_cli("kl", "--example", "worms")
    assert shown.code == 0
    assert shown.out.index("uniform") < shown.out.index("binomial")  # the best first
    for figure in ("0.136680", "0.197187", "0.427350", "p = 0.544", "mean 5.44", "the nearest is poisson"):
        assert figure in shown.out


def test_families_may_follow_without_the_option_again(nelbo_cli, tmp_path):
    (tmp_path / "counts.csv").write_text("value,count\n0,5\n1,9\n2,4\n")
    line = ("kl", "counts.csv", "--against", "uniform", "binomial", "--json", "-")
    found = json.loads(nelbo_cli(*line).out)
    assert sorted(row["name"] for row in found["against"]) == ["binomial", "uniform"]
    assert found["counts"] == [5, 9, 4]
    every = json.loads(nelbo_cli("kl", "counts.csv", "--json", "-").out)["against"]
    assert {row["name"] for row in every} == {"uniform", "binomial", "poisson", "geometric"}
    assert [row["nats"] for row in every] == sorted(row["nats"] for row in every)


def test_another_table_and_infinity(nelbo_cli, tmp_path):
    (tmp_path / "p.csv").write_text("1\n1\n2\n")
    (tmp_path / "q.csv").write_text("3\n1\n")
    shown = nelbo_cli("kl", "p.csv", "--against", "q.csv")
    assert "infinite" in shown.out
    assert "q.csv says that [2] cannot be, and they were counted: KL is infinite" in shown.out
    found = json.loads(nelbo_cli("kl", "q.csv", "--against", "p.csv", "--json", "-").out)
    assert found["against"][0]["nats"] > 0
    assert (
        json.loads(nelbo_cli("kl", "p.csv", "--against", "q.csv", "--json", "-").out)["against"][0]["nats"]
        == "infinite"
    )


def test_the_bars_are_drawn(nelbo_cli, tmp_path):
    assert nelbo_cli("kl", "--example", "worms", "--out", "bars.png").code == 0
    assert (tmp_path / "bars.png").stat().st_size > 10_000


def test_mistakes(nelbo_cli, tmp_path):
    (tmp_path / "p.csv").write_text("1\n1\n")
    for line, message in (
        (("kl",), "name a CSV of counts"),
        (("kl", "--example", "bees"), "there is no example 'bees'; expected worms"),
        (("kl", "nothing.csv"), "there is no file nothing.csv; expected a CSV of counts"),
        (("kl", "p.csv", "--against", "normal"), "--against 'normal' is neither a CSV file nor one of uniform"),
    ):
        shown = nelbo_cli(*line)
        assert shown.code == 2
        assert message in shown.err
