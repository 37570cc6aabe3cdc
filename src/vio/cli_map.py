"""`vio map`: its options."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vio.cli_stream import say, show, show_drawn, show_json
from vio.errors import UsageError
from vio.printable import printable
from vio.quantity import parse_range

if TYPE_CHECKING:
    from vio.mappers.answer import Answer, From, Question
    from vio.mappers.images import ImageSource
    from vio.recorder.livedisk import LiveDisk


Image = Annotated[Path | None, typer.Argument(metavar="IMAGE", help="The guest disk's image.")]
Vm = Annotated[str | None, typer.Option("--vm", metavar="NAME", help="A disk of the VM of this name.")]
Pid = Annotated[int | None, typer.Option("--pid", metavar="N", min=1, help="A disk of this process.")]
DiskName = Annotated[str, typer.Option("--disk", metavar="NAME", help="Which disk of the VM.")]
Format = Annotated[str, typer.Option("--format", metavar="FORMAT", help="raw, qcow2, vmdk, vhdx or vdi.")]
On = Annotated[
    Path | None,
    typer.Option("--on", metavar="DEVICE", help="IMAGE is a path on this OCFS2 volume, which need not be mounted."),
]
Follow = Annotated[bool, typer.Option("--follow", help="Open the files that the image names: you trust it.")]
SnapshotName = Annotated[str, typer.Option("--snapshot", metavar="NAME", help="The disk as it was at this snapshot.")]
Flush = Annotated[bool, typer.Option("--flush", help="Let QEMU write its tables out first.")]
GuestOffsets = Annotated[
    list[str] | None,
    typer.Option("--guest-offset", metavar="X[+LEN]", help="Where these bytes of the guest disk are; repeatable."),
]
FileOffsets = Annotated[
    list[str] | None, typer.Option("--host-file-offset", metavar="X[+LEN]", help="What these bytes of the image are.")
]
DeviceOffsets = Annotated[
    list[str] | None, typer.Option("--device-offset", metavar="X[+LEN]", help="What these bytes of the device are.")
]
GuestFile = Annotated[
    str, typer.Option("--guest-file", metavar="PATH", help="Where this file of the guest is; p1:/PATH on one volume.")
]
Files = Annotated[bool, typer.Option("--files", help="Name the guest's file at each address.")]
DeviceName = Annotated[str, typer.Option("--device", metavar="NAME", help="Another device than the lowest.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Parquet = Annotated[Path | None, typer.Option("--parquet", metavar="FILE", help="Write the pieces, or the totals.")]


def add_map_command(app: typer.Typer) -> None:
    """Give the command line the command `map`."""

    @app.command("map")
    def map_disk(
        image: Image = None,
        vm: Vm = None,
        pid: Pid = None,
        disk: DiskName = "",
        image_format: Format = "",
        on: On = None,
        follow: Follow = False,
        snapshot: SnapshotName = "",
        flush: Flush = False,
        guest_offsets: GuestOffsets = None,
        file_offsets: FileOffsets = None,
        device_offsets: DeviceOffsets = None,
        guest_file: GuestFile = "",
        files: Files = False,
        device: DeviceName = "",
        as_json: AsJson = False,
        parquet: Parquet = None,
    ) -> None:
        """Say where a guest disk lies: image, file, file system, device; and each address at every one of them.

        A number of bytes is written as 4096, 0x1000, 64k or 1.5G. Of a running VM, what QEMU has not yet written
        to its tables is missing, unless --flush is given.

        \b
        Examples:
          vio map disk.qcow2
          vio map disk.qcow2 --guest-file /var/lib/mysql/ibdata1
          sudo vio map --vm web1 --disk vda --guest-offset 1M+64k
          sudo vio map disk.qcow2 --device-offset 0x5a000000 --json
        """
        from vio.mappers.answer import From, answer
        from vio.recorder.livedisk import LiveDisk

        ranges = {From.GUEST: guest_offsets, From.FILE: file_offsets, From.DEVICE: device_offsets}
        asked = _question(ranges, device, guest_file, files)
        live = LiveDisk(vm, pid, disk, image_format, snapshot, is_flushed=flush)
        with _source(image, on, live, follow) as source:
            found = answer(source, disk or "disk0", asked)
        if parquet:
            from vio.mappers.answerdata import write_answer

            write_answer(found, parquet)
        _show_answer(found, as_json)


@contextmanager
def _source(image: Path | None, on: Path | None, live: "LiveDisk", follow: bool) -> "Iterator[ImageSource]":
    from vio.mappers.images import ImageSource, refuse_names, trust_names

    is_live = live.vm is not None or live.pid is not None
    if (image is not None) == is_live:
        raise UsageError("give either an IMAGE or a VM", "`vio map disk.qcow2`, `vio map --vm NAME`")
    if image is None:
        if on is not None:
            raise UsageError("--on says where an IMAGE is", "`vio map /disk.qcow2 --on /dev/sdb`")
        from vio.recorder.livedisk import opened_disk

        with opened_disk(live) as source:
            yield source
        return
    if live.is_flushed or live.disk:
        raise UsageError("--flush and --disk are for a running VM", "--vm NAME chooses it")
    if on is None:
        yield ImageSource(image, live.format, trust_names if follow else refuse_names, snapshot=live.snapshot)
        return
    from vio.mappers.hostfs.volume import opened_volume

    with opened_volume(on) as volume:
        opener = volume.open_named if follow else refuse_names
        yield ImageSource(volume.find(image), live.format, opener, snapshot=live.snapshot)


def _question(
    ranges: "dict[From, list[str] | None]", device: str, guest_file: str, with_files: bool
) -> "Question | None":
    from vio.mappers.answer import From, Question

    given = {of: texts for of, texts in ranges.items() if texts}
    if len(given) + bool(guest_file) > 1:
        raise UsageError("addresses of more than one sort were given", "ask for one of them at a time")
    if device and From.DEVICE not in given:
        raise UsageError("--device chooses the device of --device-offset", "give both, or neither")
    if guest_file:
        return Question(From.GUEST, guest_file=guest_file)
    for of, texts in given.items():
        return Question(of, tuple(parse_range(text) for text in texts), device, with_files=with_files)
    if with_files:
        raise UsageError("--files names the files at addresses", "give addresses too, such as --guest-offset 1M+64k")
    return None


def _show_answer(answer: "Answer", as_json: bool) -> None:
    from vio.mappers.answerdata import answer_data
    from vio.mappers.answertext import answer_lines, trail_table

    if as_json:
        show_json(answer_data(answer))
    elif answer.trail is None:
        show("\n".join(answer_lines(answer)))
    else:
        show_drawn(trail_table(answer.trail, answer))
        for note in answer.notes:
            say(printable(note))
