"""Inner points of qemu-device put into a real recording: around each arrival and push, and between."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vio.layer import Phase, Stage
from vio.recording import Recording
from vio.reporter.parts import PartsReader
from vio.reporter.stream import Join
from vio.schema import EVENTS, arrow_schema, time_column

LAB = Path(__file__).parents[1] / "data" / "lab.vio"
PARTS = ("handle", "parse", "complete")
FIRST = 200
STRANGER = 5  # a thread that takes no requests


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, pd.DataFrame, Join]:
    place = Path(shutil.copytree(LAB, tmp_path_factory.mktemp("made") / "made.vio"))
    manifest = json.loads((place / "manifest.json").read_text())
    points = {point["name"]: point["number"] for point in manifest["points"]}
    for number, (part, role) in enumerate((part, role) for part in PARTS for role in ("begin", "end")):
        entry: dict[str, object] = {
            "number": FIRST + number,
            "name": f"in_{part}_{role}",
            "layer": "qemu-device",
            "role": role,
        }
        manifest["points"].append(entry | {"meaning": "", "fields": "", "attach": "uprobe:x", "part": part})
        manifest["points"][-1]["join"] = "thread"
    manifest["segments"] = []
    (place / "manifest.json").write_text(json.dumps(manifest))
    events = pa.concat_tables(list(Recording.open(LAB).tables())).to_pylist()
    empty = dict.fromkeys((column.name for column in EVENTS), 0)
    for row in [row for row in events if row["point"] in {points["accept"], points["push"]}]:
        spans = ((0, -40, 30), (1, 5, 20)) if row["point"] == points["accept"] else ((2, -60, 10),)
        for of, *bounds in spans:
            for is_end, after_ns in enumerate(bounds):
                ts_ns = row["ts_ns"] + after_ns
                events.append(empty | {"point": FIRST + 2 * of + is_end, "ts_ns": ts_ns, "tid": row["tid"]})
    stray = max(row["ts_ns"] for row in events) - 1000
    events += [empty | {"point": FIRST + role, "ts_ns": stray + role, "tid": STRANGER} for role in (0, 1)]
    events.sort(key=lambda row: row["ts_ns"])
    for path in (place / "events").iterdir():
        path.unlink()
    pq.write_table(pa.Table.from_pylist(events, arrow_schema(EVENTS)), place / "events" / "segment-00000.parquet")
    recording = Recording.open(place)
    join = Join(recording, parts=PartsReader(recording.manifest.points))
    ios, stages = [], []
    for table, _ in join.windows():
        assert join.stages is not None
        ios.append(table)
        stages.append(join.stages)
    return pa.concat_tables(ios).to_pandas(), pa.concat_tables(stages).to_pandas(), join


def test_each_part_goes_to_the_request_at_hand(joined: tuple[pd.DataFrame, pd.DataFrame, Join]) -> None:
    ios, stages, join = joined
    accept, push = (ios.set_index("io")[f"t_{name}_ns"] for name in ("accept", "push"))
    begun = {part: stages[stages["part"] == part].set_index("io")["begin_ns"] for part in PARTS}
    assert {part: set(begun[part].index) for part in PARTS} == {part: set(ios["io"]) for part in PARTS}
    assert (begun["parse"] - accept == 5).all()
    assert (begun["complete"] - push).isin([-60]).sum() > 0.9 * len(ios)
    assert join.quality.orphans["spans of qemu-device's handle"] == 1


def test_their_times_are_of_qemu_device(joined: tuple[pd.DataFrame, pd.DataFrame, Join]) -> None:
    ios, stages, _ = joined
    own = stages.groupby("io")["own_ns"].sum().reindex(ios["io"]).to_numpy()
    layer = sum(ios[time_column(Stage.QEMU_DEVICE, phase)].fillna(0).to_numpy() for phase in Phase)
    assert (own >= 0).all()
    assert (own <= layer).all()
    assert own.sum() > 0
