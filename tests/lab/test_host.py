"""A lab host has what the real ones have, runs scripts, and says how they ended."""

import time

import pytest
from lab.host import Host, LabError

pytestmark = pytest.mark.lab


def test_what_a_script_prints_and_its_exit_code_come_back(host: Host) -> None:
    ran = host.run("echo out; echo err >&2; exit 7", check=False)
    assert (ran.status, ran.stdout, ran.stderr) == (7, "out\n", "err\n")


def test_a_script_that_fails_is_an_error_that_shows_what_it_said(host: Host) -> None:
    with pytest.raises(LabError, match=r"exit code 3:\nhalf a story\nits end"):
        host.run("echo half a story; echo its end >&2; exit 3")


def test_a_script_that_takes_too_long_is_ended_with_its_children(host: Host) -> None:
    with pytest.raises(LabError, match="ended after 2 s"):
        host.run("sleep 4321 & sleep 4321", 2)
    assert host.run("pgrep --full 'sleep 4321'", check=False).stdout == ""


def test_scripts_run_at_the_same_time(host: Host) -> None:
    began_s = time.monotonic()
    jobs = [host.start(f"sleep 4; echo {number}") for number in range(3)]
    assert [job.wait().stdout for job in jobs] == ["0\n", "1\n", "2\n"]
    assert time.monotonic() - began_s < 11


def test_the_shared_directory_is_the_same_inside_and_outside(host: Host) -> None:
    (host.directory / "from-outside").write_text("hello")
    host.run(f"cp {host.directory}/from-outside {host.directory}/from-inside")
    assert (host.directory / "from-inside").read_text() == "hello"


def test_the_outer_machine_cannot_be_written_to(host: Host) -> None:
    assert "Read-only" in host.run("touch /usr/x", check=False).stderr
    assert "Read-only" in host.run("touch lab/x", check=False).stderr
    host.run("echo own > /etc/vio-lab-test; echo own > /tmp/x")


@pytest.mark.parametrize(
    "test",
    [
        "modprobe --all kvm_amd && test -c /dev/kvm",
        "modprobe --all nvme && test -b /dev/nvme0n1 && test -b /dev/nvme1n1",
        "modprobe --all ocfs2 ocfs2_stack_o2cb && grep -w ocfs2 /proc/filesystems",
        "modprobe --all dm_mod dm_delay dm_crypt raid0 raid1 loop xfs btrfs ext4",
        "test -s /sys/kernel/btf/vmlinux && grep ocfs2_file_write_iter /sys/kernel/tracing/available_filter_functions",
        'bpftrace -e \'kprobe:vfs_write { printf("hit\\n"); exit() } interval:s:1 { printf("tick\\n") }\' | grep hit',
    ],
    ids=["kvm", "nvme", "ocfs2", "stacks", "functions", "kprobe"],
)
def test_it_has_what_a_kvm_host_has(host: Host, test: str) -> None:
    host.run(test, 60)
