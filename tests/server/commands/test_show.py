"""Answers as people read them in a terminal."""

import pytest

from server.commands.show import show_answer, show_piece


def test_what_is_inside_of_a_cell_is_told_without_gaps_and_without_a_floats_tail(
    capsys: pytest.CaptureFixture[str],
) -> None:
    figures = {"open": 7, "outcomes": {"kept": 0, "harmful": 0}, "promised": 28.619999999999997}
    show_answer({"scores": [{"strategy": "rightsize", "figures": figures}]})
    said = capsys.readouterr().out
    assert "open 7, promised 28.62" in said


def test_a_line_of_one_of_several_pods_says_whose_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_piece({"pod": "web-1", "line": "hello"})
    show_piece({"line": "alone"})
    assert capsys.readouterr().out.splitlines() == ["web-1: hello", "alone"]
