"""The diagnosis of made-up hosts and QEMUs: what is attachable, what it costs, what a recording would lack."""

import json

import pytest
from rich.console import Console
from tests.hosts import EVENTS, KERNEL_64, LOCK, POINTS, SUB, a_binary, a_host, a_subject

from vio.layer import Layer
from vio.recorder.cmdline import TargetKind
from vio.recorder.disks import Disk
from vio.recorder.doctor import Diagnosis, diagnose
from vio.recorder.doctor_json import diagnosis_json
from vio.recorder.doctor_text import diagnosis_text
from vio.recorder.host import Trial, Trials


def text_of(diagnosis: Diagnosis) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(diagnosis_text(diagnosis))
    return capture.get()


def test_a_host_with_everything() -> None:
    diagnosis = diagnose(a_host(), POINTS, a_subject(), Trials(Trial(True), Trial(True)))
    assert diagnosis.can_record
    assert not diagnosis.lacks
    assert not diagnosis.absent
    assert {check.layer for check in diagnosis.points} == set(Layer)
    assert "What a recording would lack" not in text_of(diagnosis)
    assert "fentry and kprobes" in text_of(diagnosis)


def test_ways_are_taken_in_their_order() -> None:
    def attach(tracepoints: frozenset[str]) -> str:
        checks = diagnose(a_host(tracepoints=tracepoints), POINTS, a_subject()).points
        return next(check.attach for check in checks if check.name == "uring_submit")

    assert attach(KERNEL_64) == "tracepoint:io_uring:io_uring_submit_req"
    assert attach(EVENTS - {"io_uring:io_uring_submit_req"}) == "tracepoint:io_uring:io_uring_submit_sqe"


def test_cost_follows_from_the_first_instruction() -> None:
    subject = a_subject({"virtqueue_push": SUB, "block_acct_start": LOCK})
    diagnosis = diagnose(a_host(), POINTS, subject)
    checks = {check.name: check for check in diagnosis.points}
    assert (checks["laio"].cost_ns, checks["laio"].is_dear) == (548, False)
    assert (checks["push"].cost_ns, checks["push"].is_dear) == (10_000, True)
    assert "first instruction" in checks["push"].why
    assert not checks["accept"].is_attachable
    assert "refuses" in checks["accept"].why
    assert "dear here: push, 10000 ns" in text_of(diagnosis)


def test_an_absent_function_says_what_is_lost() -> None:
    diagnosis = diagnose(a_host(), POINTS, a_subject({"bdrv_co_preadv_part": b"", "qemu_co_queue_restart_all": b""}))
    assert diagnosis.can_record
    assert [check.name for check in diagnosis.absent] == ["bdrv_read", "bdrv_end"]
    assert "the layer above" in diagnosis.absent[0].without
    assert "not whole" in diagnosis.absent[1].without
    assert "qemu-block point bdrv_end" in text_of(diagnosis)


def test_a_qemu_without_symbols_cannot_be_recorded() -> None:
    diagnosis = diagnose(a_host(), POINTS, a_subject(binary=a_binary({})))
    assert not diagnosis.can_record
    assert "QEMU's functions" in diagnosis.fatal[0].what
    assert "not stripped" in diagnosis.fatal[0].todo
    assert "vio cannot record here: 1 thing above" in text_of(diagnosis)


def test_a_tool_lacks_no_device() -> None:
    system_only = {"virtio_blk_handle_vq", "virtqueue_push", "virtio_notify", "virtio_notify_irqfd", "qemu_aio_get"}
    subject = a_subject(dict.fromkeys(system_only, b""), kind=TargetKind.IMG)
    diagnosis = diagnose(a_host(), POINTS, subject)
    assert diagnosis.can_record
    assert not diagnosis.absent
    assert not next(check for check in diagnosis.points if check.name == "push").is_wanted


def test_a_file_system_that_is_not_there_matters_for_its_images_only() -> None:
    tracepoints = frozenset(name for name in KERNEL_64 if not name.startswith("xfs:"))
    diagnosis = diagnose(a_host(tracepoints=tracepoints), POINTS, a_subject())
    assert diagnosis.can_record
    assert [check.todo for check in diagnosis.absent] == ["matters for images on xfs only: modprobe xfs"]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"is_root": False, "capabilities": frozenset()}, "root"),
        ({"bpftrace": None}, "bpftrace"),
        ({"tracefs": None, "tracepoints": frozenset(), "has_uprobes": False, "has_kprobes": False}, "tracefs"),
        ({"has_uprobes": False}, "uprobes"),
        ({"machine": "aarch64"}, "an x86-64 host (this is aarch64)"),
    ],
)
def test_what_a_recording_cannot_do_without(changes: dict[str, object], what: str) -> None:
    diagnosis = diagnose(a_host(**changes), POINTS, a_subject())
    assert [lack.what for lack in diagnosis.fatal] == [what]
    assert diagnosis.lacks[0].is_fatal
    assert f"  {what}: " in text_of(diagnosis)


def test_no_qemu_at_all() -> None:
    diagnosis = diagnose(a_host(), POINTS, None)
    assert [lack.what for lack in diagnosis.fatal] == ["QEMU"]
    assert "none runs and none is installed" in text_of(diagnosis)


def a_disk(why_not: str) -> Disk:
    return Disk("d0", ("d0",), "vhost-user-blk-pci", "", "", "", "", "", False, why_not=why_not)


@pytest.mark.parametrize("is_chosen", [True, False])
def test_a_vm_with_nothing_to_follow(is_chosen: bool) -> None:
    subject = a_subject(pid=7, name="web", is_chosen=is_chosen, disks=(a_disk("its IO goes to another process"),))
    diagnosis = diagnose(a_host(), POINTS, subject)
    # a VM that nobody asked about says nothing about the host
    assert diagnosis.can_record is not is_chosen
    assert any("another process" in lack.without for lack in diagnosis.lacks) is is_chosen


def test_names_from_outside_are_shown_not_obeyed() -> None:
    evil = "\x1b]0;owned\x07[red]x\n"
    subject = a_subject(pid=7, name=evil, path=f"/tmp/{evil}", version=evil, notes=(evil,))
    shown = text_of(diagnose(a_host(clock_source=evil), POINTS, subject))
    assert "\x1b]" not in shown
    assert "\\x1b]0;owned\\x07[red]x\\n" in shown


def test_json_has_the_promised_fields() -> None:
    diagnosis = diagnose(a_host(is_root=False, capabilities=frozenset()), POINTS, a_subject(), Trials(Trial(True)))
    made = json.loads(json.dumps(diagnosis_json(diagnosis)))
    assert made["can_record"] is False
    assert made["fatal"] == ["root: nothing can be recorded; run vio as root (sudo vio ...)"]
    assert set(made) == {"can_record", "fatal", "lacks", "bpftrace", "kernel", "qemu", "points"}
    assert {"name", "layer", "attach", "is_attachable", "cost_ns", "why"} <= set(made["points"][0])
    assert len(made["points"]) == len(POINTS)
    assert made["bpftrace"]["bpf"] == {"is_ok": True, "why": ""}
    assert made["bpftrace"]["fentry"] is None
    assert diagnosis_json(diagnose(a_host(bpftrace=None), [], None))["bpftrace"] is None


def test_every_shipped_point_is_checked() -> None:
    checks = diagnose(a_host(), POINTS, a_subject()).points
    assert [check.name for check in checks] == [point.name for point in POINTS]
