import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import a_recorded, an_io_table

from vio.layer import Stage
from vio.reporter.result import rows_of
from vio.reporter.spans import Span, hulls
from vio.reporter.timeline import Node, build_tree, render_timeline


def shape(nodes: list[Node]) -> list[object]:
    return [(node.span.stage.value, shape(node.children)) if node.children else node.span.stage.value for node in nodes]


def test_hulls_nest_in_the_order_of_the_stack() -> None:
    table = an_io_table(50, seed=1)
    row = next(row for row in rows_of(table) if row["reached"] == 6)

    roots = build_tree(hulls(row, a_recorded()))

    depth = 0
    while roots:
        assert len(roots) == 1
        roots, depth = roots[0].children, depth + 1
    assert depth == 7


def test_a_hull_lasts_as_long_as_the_io() -> None:
    row = rows_of(an_io_table(5, seed=2))[0]

    top = hulls(row, a_recorded())[0]

    assert (top.begin_ns, (top.end_ns or 0) - top.begin_ns) == (row["begin_ns"], row["latency_ns"])
    assert (top.offset, top.bytes, top.space) == (row["offset"], row["bytes"], "guest disk")


def test_pieces_go_below_the_piece_that_they_are_of() -> None:
    spans = [
        Span(Stage.QEMU_BLOCK, 0, 100),
        Span(Stage.BLOCK, 10, 50, 0, 4096, "sda"),
        Span(Stage.BLOCK, 12, 60, 4096, 4096, "sda"),
        Span(Stage.DEVICE, 20, 50, 0, 4096, "sda"),
        Span(Stage.DEVICE, 21, 60, 4096, 4096, "sda"),
    ]

    assert shape(build_tree(spans)) == [("qemu-block", [("block", ["device"]), ("block", ["device"])])]
    blocks = build_tree(spans)[0].children
    assert [block.children[0].span.offset for block in blocks] == [0, 4096]


def test_what_begins_late_hangs_below_the_latest() -> None:
    spans = [Span(Stage.VFS, 0, 5), Span(Stage.FS, 8, None), Span(Stage.DEVICE, 9, 12)]

    assert shape(build_tree(spans)) == [("vfs", [("fs", ["device"])])]


@given(
    st.lists(
        st.builds(
            Span,
            st.sampled_from(list(Stage)),
            st.integers(0, 50),
            st.none() | st.integers(50, 99),
            st.none() | st.integers(0, 9),
            st.just(4),
        )
    )
)
def test_every_span_is_in_the_tree_once_and_below_a_higher_stage(spans: list[Span]) -> None:
    stages = list(Stage)
    found: list[Span] = []

    def visit(node: Node) -> None:
        found.append(node.span)
        for child in node.children:
            assert stages.index(child.span.stage) > stages.index(node.span.stage)
            visit(child)

    for root in build_tree(spans):
        visit(root)
    assert sorted(found, key=repr) == sorted(spans, key=repr)


@pytest.mark.parametrize("unended", [0, 20])
def test_every_io_can_be_shown(unended: int) -> None:
    recorded = a_recorded(stages=tuple(Stage))
    for row in rows_of(an_io_table(20, seed=3, stages=tuple(Stage), unended=unended)):
        text = render_timeline(row, hulls(row, recorded), recorded)
        assert text.startswith(f"IO {row['io']}: ")
        assert ("no end seen" in text) == bool(unended)
        assert max(map(len, text.splitlines())) <= 110
