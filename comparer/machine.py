"""A comparison as JSON; every key stands in docs/comparing.md."""

import math

from vio.comparer.answer import answer_lines
from vio.comparer.comparison import Cell, Comparison, Figure, Part


def render_json(comparison: Comparison) -> dict[str, object]:
    """Return what json.dump takes; what is not known is null."""
    return {
        "verdict": comparison.verdict.value,
        "answer": list(answer_lines(comparison)),
        "is_weak": comparison.is_weak,
        "base": {"path": comparison.base.path, "runs": list(comparison.base.runs)},
        "new": {"path": comparison.new.path, "runs": list(comparison.new.runs)},
        "doubts": [{"what": one.what, "base": one.base, "new": one.new} for one in comparison.doubts],
        "rules": [
            {
                "rule": one.rule,
                "cell": one.cell,
                "is_broken": one.is_broken,
                "is_undecided": one.is_undecided,
                "figure": _figure(one.figure),
            }
            for one in comparison.rules
        ],
        "whole": [_figure(one) for one in comparison.beside],
        "cells": [_cell(cell) for cell in comparison.cells],
    }


def _cell(cell: Cell) -> dict[str, object]:
    return {
        "disk": cell.disk,
        "op": cell.op,
        "size": cell.size or None,
        "refused": cell.refused or None,
        "ios": {"base": cell.io_counts[0], "new": cell.io_counts[1]},
        "latency": [_figure(one) for one in cell.total],
        "parts": [_part(part) for part in cell.parts],
        "beside": [_figure(one) for one in cell.beside],
    }


def _part(part: Part) -> dict[str, object]:
    return {
        "part": part.name,
        "added_ns": _number(part.added_ns),
        "figures": [_figure(one) for one in part.figures],
    }


def _figure(figure: Figure) -> dict[str, object]:
    return {
        "figure": figure.name,
        "base": _number(figure.base),
        "new": _number(figure.new),
        "difference": _number(figure.difference),
        "change": _number(figure.change),
        "low": _number(figure.low),
        "high": _number(figure.high),
        "p": _number(figure.p),
        "word": figure.word.value,
        "why": figure.why or None,
    }


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
