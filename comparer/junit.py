"""A comparison as JUnit XML: a test case for each disk and operation, or for each --fail-on rule."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from vio.comparer.answer import cell_sentence, change_text
from vio.comparer.comparison import Cell, Comparison, RuleResult, Word
from vio.errors import OutputError
from vio.printable import printable


def write_junit(comparison: Comparison, path: Path, *, is_strict: bool) -> None:
    """Write the file.

    Raises:
        OutputError: it cannot be written.
    """
    suite = ET.Element("testsuite", name="vio compare")
    cases = _rule_cases(comparison, is_strict) if comparison.rules else _cell_cases(comparison, is_strict)
    counts = {"tests": 0, "failures": 0, "skipped": 0}
    for case in cases:
        suite.append(case)
        counts["tests"] += 1
        counts["failures"] += case.find("failure") is not None
        counts["skipped"] += case.find("skipped") is not None
    for name, count in counts.items():
        suite.set(name, str(count))
    tree = ET.ElementTree(suite)
    ET.indent(tree)
    try:
        tree.write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}", "give it another place") from None


def _cell_cases(comparison: Comparison, is_strict: bool) -> Iterator[ET.Element]:
    for cell in comparison.cells:
        found = _state(cell)
        yield _case(cell.name, cell_sentence(cell), found, is_strict)


def _state(cell: Cell) -> Word:
    if cell.refused:
        return Word.REFUSED
    words = {figure.word for figure in cell.total}
    for word in (Word.SLOWER, Word.FASTER):
        if word in words:
            return word
    return cell.mean.word


def _rule_cases(comparison: Comparison, is_strict: bool) -> Iterator[ET.Element]:
    for rule in comparison.rules:
        yield _case(f"{rule.rule} ({rule.cell})", _rule_text(rule), _rule_state(rule), is_strict)


def _rule_text(rule: RuleResult) -> str:
    return f"{rule.cell} {rule.figure.name}: {change_text(rule.figure)}"


def _rule_state(rule: RuleResult) -> Word:
    if rule.is_broken:
        return Word.SLOWER
    return Word.UNDECIDED if rule.is_undecided else Word.SAME


def _case(name: str, text: str, word: Word, is_strict: bool) -> ET.Element:
    case = ET.Element("testcase", classname="vio.compare", name=printable(name))
    message = printable(text)
    if word is Word.SLOWER or (is_strict and word is Word.UNDECIDED):
        ET.SubElement(case, "failure", message=message, type=word.value)
    elif word in {Word.UNDECIDED, Word.REFUSED}:
        ET.SubElement(case, "skipped", message=f"{word}: {message}")
    else:
        ET.SubElement(case, "system-out").text = message
    return case
