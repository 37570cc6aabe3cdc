"""The errors that a user sees: one line with what, why and what to do, and an exit code."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What `vio` exits with; documented in docs/exit-codes.md."""

    OK = 0
    FAILED = 1
    USAGE = 2
    HOST = 3
    TARGET = 4
    RECORDING = 5
    OUTPUT = 6
    LOAD = 7
    BUG = 70  # EX_SOFTWARE of sysexits.h
    INTERRUPTED = 130
    PIPE = 141  # as the shell shows a program that SIGPIPE ended


class VioError(Exception):
    """Say what failed and why (`message`), and what to do about it (`hint`)."""

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}: {self.hint}" if self.hint else self.message


class UsageError(VioError):
    """The command's words contradict each other or name something impossible."""

    exit_code = ExitCode.USAGE


class HostError(VioError):
    """The host lacks what is needed: root, bpftrace, BPF, a tracepoint."""

    exit_code = ExitCode.HOST


class TargetError(VioError):
    """The VM or process to record is absent, ambiguous, or cannot be followed."""

    exit_code = ExitCode.TARGET


class RecordingError(VioError):
    """The recording is damaged, of another version, or holds nothing to report."""

    exit_code = ExitCode.RECORDING


class OutputError(VioError):
    """The output exists already, or cannot be written."""

    exit_code = ExitCode.OUTPUT


class MapError(VioError):
    """An image or a device table holds a field that cannot be believed."""

    exit_code = ExitCode.RECORDING


def usage_text(error: Exception) -> str:
    """Return what the command line's library says of wrong words, as one line with a hint."""
    message = str(getattr(error, "message", "")) or str(error)
    message = str(error.format_message()) if hasattr(error, "format_message") else message
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "vio"
    return f"{message.rstrip('.')}: `{command} --help` shows what there is"
