"""Record a command with OCFS2 opened, by some of its inner points: `record_ocfs2.py OUTPUT COMMAND...`.

An emulated host needs minutes for each dozen of points; on a real one `vio record --open fs` takes them all.
"""

import re
import sys
import tempfile
from pathlib import Path

from vio.layer import Layer
from vio.recorder.checkup import PROBES
from vio.recorder.preparation import Observed
from vio.recorder.progress import PlainProgress
from vio.recorder.record import RecordOptions, record

KEPT = {"in_write", "rw_lock", "inode_lock", "direct_io", "blockdev", "wr_block", "hold", "end_io"}
LEFT_OUT = {"fs_inner.bt", "kernel_inner.bt"}


def is_kept(point: str) -> bool:
    """Tell whether a point's text is of the layer's bounds, or of the parts that are kept."""
    name = re.match(r"//: point ocfs2_(\w+?)(?:_end)?:", point)
    return "when open" not in point or (name is not None and name[1] in KEPT)


def main(output: str, *command: str) -> None:
    """Record with the chosen points, and submit_bio by name."""
    with tempfile.TemporaryDirectory() as place:
        for path in PROBES.glob("*.bt"):
            head, *points = re.split(r"(?m)^(?=//: point )", path.read_text(encoding="utf-8"))
            if path.name not in LEFT_OUT:
                text = head + "".join(point for point in points if is_kept(point))
                (Path(place) / path.name).write_text(text, encoding="utf-8")
        observed = Observed(Path(place), points=("kprobe:submit_bio",), opened=frozenset({Layer.FS}))
        options = RecordOptions(output=Path(output), command=command, force=True, observed=observed)
        record(options, PlainProgress(sys.stderr))


if __name__ == "__main__":
    main(*sys.argv[1:])
