"""`vio top`: its options, and the loop that shows each refresh."""

import json
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from vio.cli_stream import output, say, show
from vio.errors import UsageError
from vio.printable import printable
from vio.quantity import parse_duration_s

if TYPE_CHECKING:
    from rich.console import RenderableType

    from vio.recorder.top.filewatch import FileWatchOptions
    from vio.recorder.top.watch import WatchOptions

    Refresh = Callable[[Callable[[datetime], RenderableType], Callable[[datetime], object]], None]

Command = Annotated[list[str] | None, typer.Argument(metavar="[-- COMMAND...]", help="Start this and watch it.")]
Vm = Annotated[str | None, typer.Option("--vm", metavar="NAME", help="The VM of this name (`vio list` shows names).")]
Pid = Annotated[int | None, typer.Option("--pid", metavar="N", min=1, help="The QEMU process with this id.")]
Disks = Annotated[list[str] | None, typer.Option("--disk", metavar="NAME", help="Only this disk; repeatable.")]
Interval = Annotated[str, typer.Option(metavar="TIME", help="Between refreshes: 1s, 500ms, 10s ...")]
Count = Annotated[int, typer.Option(metavar="N", min=0, help="End after so many refreshes; 0 is never.")]
By = Annotated[str, typer.Option(metavar="layer|file", help="The VM's layers, or each process's files.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object a line for each refresh.")]

_SHORTEST_S = 0.2


def add_top_command(app: typer.Typer) -> None:
    """Give the command line the command `top`."""

    @app.command()
    def top(
        context: typer.Context,
        command: Command = None,
        vm: Vm = None,
        pid: Pid = None,
        disks: Disks = None,
        by: By = "layer",
        interval: Interval = "1s",
        count: Count = 0,
        as_json: AsJson = False,
    ) -> None:
        """Show live what each layer does to a VM's IO: rates, latencies, IOs in flight. Needs root.

        Only sums leave the kernel, no record of an IO. On a terminal the table is redrawn in place until Ctrl-C; into
        a pipe each refresh is printed. With --by file: which files all processes, or those of --pid, read and write.

        \b
        Examples:
          sudo vio top --vm web1
          sudo vio top --vm web1 --interval 10s --count 6 --json
          sudo vio top --by file
        """
        from vio.recorder.top.filewatch import FileWatchOptions
        from vio.recorder.top.screen import Screen
        from vio.recorder.top.watch import WatchOptions

        if command and "--" not in context.obj:
            hint = "--vm NAME watches a VM, `-- COMMAND...` a command"
            raise UsageError(f"{command[0]} stands without an option", hint)
        if by not in {"layer", "file"}:
            raise UsageError(f"--by {printable(by)} is not known", "layer and file are")
        if by == "file" and (vm is not None or command or disks):
            raise UsageError("--by file is of all processes, or of one", "--pid N chooses it")
        interval_s = parse_duration_s(interval)
        if interval_s < _SHORTEST_S:
            raise UsageError(f"an interval of {interval} is too short", f"{_SHORTEST_S:g} s is the least")
        with Screen(output(), show) as screen:

            def refresh(page: "Callable[[datetime], RenderableType]", data: "Callable[[datetime], object]") -> None:
                now = datetime.now().astimezone()
                if as_json:
                    show(json.dumps(data(now)))
                else:
                    screen.page(page(now))

            if by == "file":
                _watch_files(FileWatchOptions(pid, interval_s, count), refresh)
            else:
                options = WatchOptions(vm, pid, tuple(command or ()), tuple(disks or ()), interval_s, count)
                _watch(options, refresh)


def _watch(options: "WatchOptions", refresh: "Refresh") -> None:
    from vio.recorder.top.draw import frame_json, frame_page
    from vio.recorder.top.watch import watching

    with watching(options) as (watched, frames):
        for note in watched.notes:
            say(printable(note))
        say(f"watching {watched.title}: Ctrl-C ends it")
        for frame in frames:
            refresh(partial(frame_page, watched, frame), partial(frame_json, watched, frame))


def _watch_files(options: "FileWatchOptions", refresh: "Refresh") -> None:
    from vio.recorder.top.filedraw import file_json, file_page
    from vio.recorder.top.filewatch import watching_files

    with watching_files(options) as frames:
        say("watching files: Ctrl-C ends it")
        for frame in frames:
            refresh(partial(file_page, frame), partial(file_json, frame))
