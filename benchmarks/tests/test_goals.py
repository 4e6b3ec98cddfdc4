"""A goal is met or not, by the figures and by nothing else."""

from xml.etree import ElementTree

import pytest

from benchmarks import results
from benchmarks.bench import Row
from benchmarks.goals import Goal, goals


def _fanout(server: str, cost: float, load: str = "500 sockets, 10,000 deliveries/s") -> Row:
    return Row("fanout", server, load, [{"CPU us/delivery": cost}], {"lost": 0})


@pytest.mark.parametrize(("cost", "met"), [(8.0, True), (8.1, False)])
def test_a_ratio_is_that_of_the_medians(cost: float, met: bool) -> None:
    found = goals([_fanout("ours-serve", cost), _fanout("socketio", 10.0)])
    goal = next(goal for goal in found if "ours-serve : socketio" in goal.what)
    assert goal.figure == pytest.approx(cost / 10)
    assert goal.is_met is met


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert {goal.is_met for goal in goals([_fanout("ours-serve", 8.0)])} == {None}


def test_more_can_be_better() -> None:
    assert Goal("", ">=", 5, "x", 4.9).cells()[2:] == ("4.9x", "NOT MET")
    assert Goal("", ">=", 5, "x", 5.0).is_met


def test_figures_are_kept_as_they_were(tmp_path) -> None:
    rows = [_fanout("ours-serve", 8.0)]
    results.save(rows, tmp_path / "latest.json")
    assert results.load(tmp_path / "latest.json") == rows


def test_the_chart_has_a_bar_for_each_server() -> None:
    chart = results.chart([_fanout("ours-serve", 8.0), _fanout("socketio", 10.0)])
    bars = ElementTree.fromstring(chart).findall("{http://www.w3.org/2000/svg}rect")  # noqa: S314
    assert [bar.get("class") for bar in bars] == ["peer", "ours"]
    assert float(bars[0].get("width", 0)) > float(bars[1].get("width", 0))


def test_the_tables_name_goals_and_servers() -> None:
    text = results.tables([_fanout("ours-serve", 8.0), _fanout("socketio", 10.0)])
    assert "0.8x | met |" in text
    assert "| socketio | 10 |" in text
