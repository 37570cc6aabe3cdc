"""`vio map`: its options. What it shows is printed by vio.cli."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vio.errors import UsageError
from vio.quantity import parse_range

if TYPE_CHECKING:
    from vio.mappers.answer import Answer, From, Question

Show = Callable[["Answer", bool], None]


def add_map_command(app: typer.Typer, show: Show) -> None:
    """Give the command line the command `map`; `show` prints an answer, as JSON if the flag is set."""

    @app.command("map")
    def map_disk(
        image: Annotated[Path | None, typer.Argument(metavar="IMAGE", help="The guest disk's image.")] = None,
        vm: Annotated[str | None, typer.Option("--vm", metavar="NAME", help="A disk of the VM of this name.")] = None,
        pid: Annotated[int | None, typer.Option("--pid", metavar="N", min=1, help="A disk of this process.")] = None,
        disk: Annotated[str, typer.Option(metavar="NAME", help="Which disk of the VM.")] = "",
        image_format: Annotated[
            str, typer.Option("--format", metavar="FORMAT", help="raw, qcow2, vmdk, vhdx or vdi; else looked for.")
        ] = "",
        follow: Annotated[
            bool, typer.Option("--follow", help="Open backing and data files that the image names: you trust it.")
        ] = False,
        snapshot: Annotated[str, typer.Option(metavar="NAME", help="The disk as it was at this snapshot.")] = "",
        flush: Annotated[bool, typer.Option("--flush", help="Let QEMU write its tables out first.")] = False,
        guest_offsets: Annotated[
            list[str] | None,
            typer.Option("--guest-offset", metavar="X[+LEN]", help="Where these bytes of the guest disk are."),
        ] = None,
        file_offsets: Annotated[
            list[str] | None,
            typer.Option("--host-file-offset", metavar="X[+LEN]", help="What these bytes of the image file are."),
        ] = None,
        device_offsets: Annotated[
            list[str] | None,
            typer.Option("--device-offset", metavar="X[+LEN]", help="What these bytes of the lowest device are."),
        ] = None,
        guest_file: Annotated[
            str, typer.Option(metavar="PATH", help="Where this file of the guest is; p1:/PATH on one volume.")
        ] = "",
        files: Annotated[bool, typer.Option("--files", help="Name the guest's file at each address.")] = False,
        device: Annotated[str, typer.Option(metavar="NAME", help="Another device than the lowest.")] = "",
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
        parquet: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the pieces, or all maps.")] = None,
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
        from vio.mappers.images import ImageSource, refuse_names, trust_names

        ranges = {From.GUEST: guest_offsets, From.FILE: file_offsets, From.DEVICE: device_offsets}
        asked = _question(ranges, device, guest_file, files)
        with ExitStack() as stack:
            if image is not None and vm is None and pid is None:
                if flush or disk:
                    raise UsageError("--flush and --disk are for a running VM", "--vm NAME chooses it")
                opener = trust_names if follow else refuse_names
                source = ImageSource(image, image_format, opener, snapshot=snapshot)
            elif image is None and (vm is not None or pid is not None):
                from vio.recorder.livedisk import LiveDisk, opened_disk

                wanted = LiveDisk(vm, pid, disk, image_format, snapshot, is_flushed=flush)
                source = stack.enter_context(opened_disk(wanted))
            else:
                raise UsageError("give either an IMAGE or a VM", "`vio map disk.qcow2`, `vio map --vm NAME`")
            found = answer(source, disk or "disk0", asked)
        if parquet:
            from vio.mappers.answerdata import write_answer

            write_answer(found, parquet)
        show(found, as_json)


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
