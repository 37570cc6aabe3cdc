"""The command line: the only place that prints, and that turns errors into exit codes.

A command makes the options, calls one function and shows what it returns. What a command needs is imported when it
runs, so that `vio --help` and `vio list` do not wait for pyarrow.
"""

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vio import __version__
from vio.cli_bench import add_bench_command
from vio.cli_compare import add_compare_commands
from vio.cli_export import add_export_command
from vio.cli_map import add_map_command
from vio.cli_query import add_query_commands
from vio.cli_report import add_report_command
from vio.cli_stream import complain as _complain
from vio.cli_stream import prepare_streams, unwritable
from vio.cli_stream import say as _say
from vio.cli_stream import show as _show
from vio.cli_stream import show_drawn as _show_drawn
from vio.cli_stream import show_json as _show_json
from vio.cli_stream import write as _write
from vio.cli_top import add_top_command
from vio.errors import ExitCode, UsageError, VioError, usage_text
from vio.layer import Layer
from vio.quantity import parse_duration_s
from vio.terminal import close_broken

if TYPE_CHECKING:
    from vio.recorder.summary import RecordSummary

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}
# Newer typers carry click inside, older ones use the package; this is its base class of wrong usage in both.
_WrongUsage: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="vio",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

VmOption = Annotated[
    str | None, typer.Option("--vm", metavar="NAME", help="The VM of this name (`vio list` shows names).")
]
PidOption = Annotated[int | None, typer.Option("--pid", metavar="N", min=1, help="The QEMU process with this id.")]
OpenOption = Annotated[
    list[Layer] | None,
    typer.Option("--open", metavar="LAYER", help="Open a layer: take its inner points too; repeatable."),
]
PointOption = Annotated[
    list[str] | None,
    typer.Option("--point", metavar="[LAYER=]PROBE", help="A point more (kprobe:vfs_read ...); repeatable."),
]
GuestFilesOption = Annotated[
    bool, typer.Option("--guest-files", help="At the end, read where the guest's files lie, for report --by file.")
]
ProbesOption = Annotated[
    list[Path] | None, typer.Option("--probes", metavar="DIR", help="Probe files (.bt) of your own; repeatable.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@app.callback(invoke_without_command=True)
def _vio(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print vio's version.")] = False,
) -> None:
    """Follow every IO of a virtual machine through QEMU, the host's file system, the block layer and the device.

    Record with `vio record` (as root), then ask with `vio report` where the time went.
    """
    if version:
        _show(f"vio {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        _show(context.get_help())
        raise typer.Exit(ExitCode.USAGE)


@app.command("list")
def list_vms(as_json: JsonOption = False) -> None:
    """List running VMs and QEMU tools, with their disks.

    \b
    Example:
      sudo vio list
    """
    from vio.recorder.listing import targets_json, targets_notes, targets_table
    from vio.recorder.target import list_targets

    targets = list_targets()
    if as_json:
        _show_json(targets_json(targets))
    elif not targets:
        _say("no QEMU process is running")
    else:
        _show_drawn(targets_table(targets))
        for note in targets_notes(targets):
            _show(note)


@app.command()
def doctor(
    vm: VmOption = None,
    pid: PidOption = None,
    binary: Annotated[Path | None, typer.Option("--binary", metavar="FILE", help="A QEMU binary to examine.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what can be recorded on this host, point by point, and what to do about what cannot.

    Without a VM or binary, a QEMU that runs is examined, else one that is installed. Exits with 0 if vio can record.

    \b
    Example:
      sudo vio doctor --vm web1
    """
    from vio.recorder.checkup import CheckupOptions, check_up
    from vio.recorder.doctor_json import diagnosis_json
    from vio.recorder.doctor_text import diagnosis_text

    diagnosis = check_up(CheckupOptions(vm, pid, binary))
    if as_json:
        _show_json(diagnosis_json(diagnosis))
    else:
        _show_drawn(diagnosis_text(diagnosis))
    raise typer.Exit(ExitCode.OK if diagnosis.can_record else ExitCode.HOST)


@app.command()
def record(
    context: typer.Context,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[-- COMMAND...]", help="Start this and record it.")
    ] = None,
    vm: VmOption = None,
    pid: PidOption = None,
    disks: Annotated[
        list[str] | None, typer.Option("--disk", metavar="NAME", help="Only this disk; repeatable.")
    ] = None,
    duration: Annotated[str, typer.Option(metavar="TIME", help="Stop after 10s, 2m ...; else at Ctrl-C.")] = "",
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where to put it.")] = Path(
        "recording.vio"
    ),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing recording.")] = False,
    buffer_pages: Annotated[int, typer.Option(metavar="N", help="Pages for probes' records, a power of two.")] = 4096,
    open_layers: OpenOption = None,
    points: PointOption = None,
    probes: ProbesOption = None,
    guest_files: GuestFilesOption = False,
    batches: Annotated[bool, typer.Option("--batches", hidden=True)] = False,
    plain: Annotated[bool, typer.Option("--plain", hidden=True)] = False,
) -> None:
    """Follow every IO of a VM, a process or a command, until the time is over, it ends, or Ctrl-C.

    With neither a VM nor a process nor a command, the only QEMU that runs is recorded. Needs root.

    \b
    Examples:
      sudo vio record --vm web1 --duration 30s -o web1.vio
      sudo vio record -o bench.vio -- qemu-img bench -c 10000 -d 32 -n -t none disk.qcow2
      sudo vio record --vm web1 --open fs --point kprobe:vfs_iter_write -o web1.vio
    """
    from vio.recorder.preparation import Observed
    from vio.recorder.progress import progress_for
    from vio.recorder.record import RecordOptions
    from vio.recorder.record import record as record_target

    if command and "--" not in context.obj:
        raise UsageError(f"{command[0]} stands without an option", "--vm NAME records a VM, `-- COMMAND...` a command")
    options = RecordOptions(
        output=output,
        vm=vm,
        pid=pid,
        command=tuple(command or ()),
        disks=tuple(disks or ()),
        duration_s=parse_duration_s(duration) if duration else None,
        force=force,
        buffer_pages=buffer_pages,
        is_batched=batches,
        is_plain=plain,
        observed=Observed(
            more_probes=tuple(probes or ()), points=tuple(points or ()), opened=frozenset(open_layers or ())
        ),
        has_guest_files=guest_files,
    )
    summary = record_target(options, progress_for(sys.stderr))
    _show(f"{summary.sentence()}; next: {summary.next_command()}")
    raise typer.Exit(_recorded_exit(summary))


add_report_command(app)
add_map_command(app)
add_query_commands(app)
add_export_command(app)
add_compare_commands(app)
add_bench_command(app)
add_top_command(app)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code (docs/exit-codes.md); the one place that catches errors."""
    prepare_streams()
    try:
        return _dispatch(list(arguments))
    except VioError as error:
        _complain(str(error))
        return int(error.exit_code)
    except _WrongUsage as error:
        _complain(usage_text(error))
        return int(ExitCode.USAGE)
    except (KeyboardInterrupt, typer.Abort):
        return int(ExitCode.INTERRUPTED)
    except SystemExit as ended:  # typer's own answer: 0 to a shell that completes, else for a help text's broken pipe
        return int(ExitCode.PIPE if ended.code else ExitCode.OK)
    except Exception as error:  # whatever it is, the user gets one line
        if isinstance(error, OSError) and error.filename is None and error.errno in _FULL:
            close_broken(sys.stdout)
            _complain(str(unwritable(error)))
            return int(ExitCode.OUTPUT)
        if os.environ.get("VIO_DEBUG"):
            _write(traceback.format_exc(), sys.stderr)
        _complain(
            f"this is a bug in vio ({type(error).__name__}: {error}): run it again with VIO_DEBUG=1 and report it"
        )
        return int(ExitCode.BUG)


def _dispatch(arguments: list[str]) -> int:
    # obj: only here is it known whether there was a `--`
    code = int(app(arguments, prog_name="vio", standalone_mode=False, obj=arguments) or 0)
    if code == ExitCode.INTERRUPTED:  # typer catches Ctrl-C itself
        _say("interrupted")
    return code


def _recorded_exit(summary: "RecordSummary") -> ExitCode:
    """Tell how a recording that was closed ended: what is in it can be reported on in any case."""
    from vio.manifest import EndReason

    if summary.reason is EndReason.BPFTRACE_ENDED:
        _complain(
            f"bpftrace ended before it was asked to ({summary.detail}): what it said is in {summary.path}/log.txt"
        )
        return ExitCode.HOST
    if summary.exit_code:
        _complain(f"the command ended with exit code {summary.exit_code}: what it did until then is recorded")
        return ExitCode.FAILED
    return ExitCode.OK
