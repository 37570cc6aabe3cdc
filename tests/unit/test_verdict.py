"""Every rule says what it should of a real recording with the illness in it, and nothing of one that is healthy.

tests/data/ill/*.vio: made by make_illnesses.py; what was done to each stands in lab/illness.
"""

import json
from functools import cache
from pathlib import Path

import pytest

from vio.layer import Op
from vio.reporter.choice import Filter
from vio.reporter.machine import to_json
from vio.reporter.report import ReportOptions, report
from vio.reporter.result import Report
from vio.reporter.text import render_text
from vio.reporter.verdict.finding import Finding, Severity, Verdict
from vio.reporter.verdict.rules import RULES

DATA = Path(__file__).parents[1] / "data"
ILL = DATA / "ill"
NEEDS_STAGES = {"opened/node1"}
PROVEN = {
    "qcow2-l2-cache": ("ill/l2-cache", "virtio2", "read"),
    "copy-on-write": ("ill/copy-on-write", "virtio3", "write"),
    "misaligned-writes": ("ill/misaligned", "virtio0", "write"),
    "flush-bound": ("ill/flush-journal", "virtio1", "flush"),
    "flush-journal": ("ill/flush-journal", "virtio1", "flush"),
    "thread-saturated": ("ill/saturated", "virtio0", "read"),
    "thread-not-scheduled": ("ill/hogged-iothread", "virtio1", "read"),
    "thread-stopped": ("sched", "virtio0", "read"),
    "completion-delay": ("ill/saturated", "virtio0", "read"),
    "host-queue": ("ill/host-queue", "virtio1", "read"),
    "device-mapper": ("stacks", "virtio3", "write"),
    "device": ("ill/slow-device", "virtio1", "read"),
    "qemu-throttle": ("ill/qemu-throttle", "virtio0", "read"),
    "qemu-wait": ("parts", "disk.qcow2", "write"),
    "cgroup-throttle": ("ill/cgroup-throttle", "virtio0", "read"),
    "worker-threads": ("ill/worker-threads", "virtio0", "read"),
    "file-system-lock": ("ill/inode-lock", "virtio1", "read"),
    "cluster-lock": ("opened/node1", "", ""),
    "merges-missed": ("ill/merges-missed", "virtio1", "read"),
    "requests-split": ("ill/split-by-cluster", "disk.qcow2", "read"),
    "interrupt-delay": ("ill/slow-interrupt", "virtio0", "read"),
    "kick-delay": ("ill/saturated", "virtio0", "read"),
    "guest-queue": ("ill/deep-queue", "virtio1", "read"),
    "not-completed": ("ill/hung", "", ""),
}
"""Each rule, and the recording, disk and operation of which it has to say something."""
ALLOWED = {
    # the device is slow in these: that is how the illness was made to show
    "ill/l2-cache": {"qcow2-l2-cache", "device"},
    "ill/copy-on-write": {"copy-on-write", "device"},
    "ill/misaligned": {"misaligned-writes"},
    "ill/flush-journal": {"flush-bound", "flush-journal", "device"},
    "ill/saturated": {"thread-saturated", "completion-delay", "kick-delay"},
    "ill/hogged-iothread": {"thread-not-scheduled", "kick-delay"},
    "ill/host-queue": {"host-queue"},
    "ill/slow-device": {"device"},
    "ill/qemu-throttle": {"qemu-throttle"},
    "ill/cgroup-throttle": {"cgroup-throttle"},
    "ill/worker-threads": {"worker-threads"},
    "ill/inode-lock": {"file-system-lock"},
    "ill/merges-missed": {"merges-missed", "device"},
    "ill/split-by-cluster": {"requests-split"},
    # the machine's CPUs were busy with other work while this was recorded, and it says so
    "ill/split-by-device": {"requests-split", "thread-not-scheduled"},
    "ill/slow-interrupt": {"interrupt-delay", "thread-not-scheduled"},
    "ill/deep-queue": {"device"},
    "ill/hung": {"not-completed"},
    "ill/healthy": set(),
}
"""The problems that each recording may have."""


@cache
def reported(name: str) -> Report:
    return report(DATA / f"{name}.vio", ReportOptions(is_table_written=False, with_stages=name in NEEDS_STAGES))


def verdict_of(name: str) -> Verdict:
    return reported(name).verdict


def found(name: str, rule: str) -> list[Finding]:
    return [one for one in verdict_of(name).findings if one.rule == rule]


def test_every_rule_is_proven() -> None:
    assert PROVEN.keys() == {rule.name for rule in RULES}


@pytest.mark.parametrize("rule", PROVEN)
def test_a_rule_finds_its_illness(rule: str) -> None:
    name, disk, op = PROVEN[rule]
    assert (disk, op) in {(one.disk, one.op) for one in found(name, rule)}


@pytest.mark.parametrize("name", ALLOWED)
def test_nothing_else_is_called_a_problem(name: str) -> None:
    verdict = verdict_of(name)
    problems = {one.rule for one in verdict.findings if one.severity is Severity.PROBLEM}
    assert problems <= ALLOWED[name]
    assert verdict.is_healthy == (not problems)


def test_a_healthy_recording_is_said_to_be_well() -> None:
    result = reported("ill/healthy")
    assert result.verdict.findings == ()
    assert len(result.verdict.judged) >= len(RULES) - 2
    assert "nothing is wrong here" in render_text(result)


def test_the_numbers_are_those_of_the_illness() -> None:
    (cache_small,) = found("ill/l2-cache", "qcow2-l2-cache")
    assert int(str(cache_small.numbers["metadata_read_count"])) > 2 * int(str(cache_small.numbers["slice_count"]))
    (throttled,) = found("ill/qemu-throttle", "qemu-throttle")
    assert float(str(throttled.numbers["interval_ns"])) == pytest.approx(25e6, rel=0.05)  # 40 a second
    (limited,) = found("ill/cgroup-throttle", "cgroup-throttle")
    assert float(str(limited.numbers["rate"])) == pytest.approx(40, rel=0.15)
    (copied,) = found("ill/copy-on-write", "copy-on-write")
    assert float(str(copied.numbers["amplification"])) == pytest.approx(
        32, rel=0.1
    )  # clusters of 64 KiB: read, written
    (split,) = found("ill/split-by-device", "requests-split")
    assert float(str(split.numbers["cut"])) > 6 * float(str(split.numbers["bios"]))  # 64 KiB of 512
    (pooled,) = found("ill/worker-threads", "worker-threads")
    assert pooled.numbers["worker_share"] == 1.0


def test_shares_are_those_of_the_report() -> None:
    result = reported("ill/slow-device")
    (slow,) = found("ill/slow-device", "device")
    assert slow.numbers["time_share"] == pytest.approx(
        sum(result.summary.share(part) for stage, part in result.summary.stages.items() if "device" in stage), abs=0.01
    )


def test_the_first_sentence_says_which_operation_is_slow_and_where() -> None:
    where = verdict_of("ill/inode-lock").where[0]
    assert (where.disk, where.op, where.numbers["place"]) == ("virtio1", "read", "fs down")
    assert where.sentence.startswith("reads of virtio1: p50 ")


def test_what_could_not_be_judged_is_said_and_why() -> None:
    silent = {one.rule: one.why for one in verdict_of("bench").not_judged}
    assert "the scheduler's tracepoints" in silent["thread-not-scheduled"]
    assert "thread-not-scheduled" not in verdict_of("bench").judged
    locks = {one.rule: one.why for one in verdict_of("cluster-lock").not_judged}
    assert "--open fs" in locks["cluster-lock"]


def test_the_verdict_is_the_same_in_json() -> None:
    verdict = verdict_of("ill/l2-cache")
    data = json.loads(json.dumps(to_json(reported("ill/l2-cache"))))
    assert data["is_healthy"] is False
    assert [one["sentence"] for one in data["verdict"]] == [one.sentence for one in (*verdict.where, *verdict.findings)]
    assert {one["rule"] for one in data["not_judged"]} == {one.rule for one in verdict.not_judged}
    assert data["verdict"][1]["command"].startswith("vio report ")


def test_only_the_chosen_ios_are_judged() -> None:
    options = ReportOptions(Filter((Op.WRITE,)), is_table_written=False)
    verdict = report(ILL / "flush-journal.vio", options).verdict
    assert {one.op for one in (*verdict.where, *verdict.findings)} == {"write"}


def test_text_has_the_verdict_before_all_figures() -> None:
    text = render_text(reported("ill/l2-cache"))
    assert text.index("problem    qcow2-l2-cache") < text.index("recording  ")
    assert max(len(line) for line in text.splitlines() if line.startswith(("problem", "note", "time", " " * 11))) <= 100
