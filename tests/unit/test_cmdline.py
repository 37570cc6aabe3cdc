"""Command lines as libvirt, Debian users and the tools' manuals write them."""

import shlex
import time
from random import Random

import pytest

from vio.printable import printable
from vio.recorder.candidates import parse_command
from vio.recorder.cmdline import CommandLine, TargetKind, parse_storage_daemon, parse_system
from vio.recorder.diskplan import DiskPlan, plan_disks
from vio.recorder.nodes import split_protocol
from vio.recorder.optstring import nest, parse_json, parse_options, split_pairs
from vio.recorder.toolargs import parse_tool

# libvirt 9 on Debian 12, shortened where nothing is about disks or monitors
LIBVIRT_9 = r"""
/usr/bin/qemu-system-x86_64 -name guest=web-1,debug-threads=on -S
-object '{"qom-type":"secret","id":"masterKey0","format":"raw","file":"/var/lib/libvirt/qemu/master-key.aes"}'
-blockdev '{"driver":"file","filename":"/usr/share/OVMF/OVMF_CODE_4M.fd","node-name":"libvirt-pflash0-storage","read-only":true}'
-blockdev '{"node-name":"libvirt-pflash0-format","read-only":true,"driver":"raw","file":"libvirt-pflash0-storage"}'
-machine pc-q35-7.2,usb=off,pflash0=libvirt-pflash0-format,memory-backend=pc.ram
-accel kvm -cpu host -m 4096 -object '{"qom-type":"iothread","id":"iothread1"}'
-no-user-config -nodefaults -chardev socket,id=charmonitor,fd=38,server=on,wait=off
-mon chardev=charmonitor,id=monitor,mode=control -rtc base=utc,driftfix=slew -no-shutdown
-device '{"driver":"virtio-scsi-pci","id":"scsi0","bus":"pci.3","addr":"0x0"}'
-blockdev '{"driver":"file","filename":"/var/lib/libvirt/images/base.qcow2","node-name":"libvirt-3-storage","auto-read-only":true,"discard":"unmap"}'
-blockdev '{"node-name":"libvirt-3-format","read-only":true,"driver":"qcow2","file":"libvirt-3-storage","backing":null}'
-blockdev '{"driver":"file","filename":"/var/lib/libvirt/images/web-1.qcow2","aio":"native","node-name":"libvirt-2-storage","cache":{"direct":true,"no-flush":false},"auto-read-only":true}'
-blockdev '{"node-name":"libvirt-2-format","read-only":false,"cache":{"direct":true,"no-flush":false},"driver":"qcow2","file":"libvirt-2-storage","backing":"libvirt-3-format"}'
-device '{"driver":"virtio-blk-pci","bus":"pci.4","addr":"0x0","drive":"libvirt-2-format","id":"virtio-disk0","bootindex":1,"write-cache":"on","iothread":"iothread1"}'
-blockdev '{"driver":"host_device","filename":"/dev/vg0/data","node-name":"libvirt-1-storage","auto-read-only":true}'
-blockdev '{"node-name":"libvirt-1-format","read-only":false,"driver":"raw","file":"libvirt-1-storage"}'
-device '{"driver":"scsi-hd","bus":"scsi0.0","channel":0,"scsi-id":0,"lun":1,"drive":"libvirt-1-format","id":"scsi0-0-0-1"}'
-device ide-cd,bus=ide.0,id=sata0-0-0
-msg timestamp=on
"""  # noqa: E501


def plans_of(text: str, kind: TargetKind = TargetKind.SYSTEM) -> list[DiskPlan]:
    return plan_disks(parsed(text, kind), kind)


def parsed(text: str, kind: TargetKind = TargetKind.SYSTEM) -> CommandLine:
    argv = shlex.split(text)
    if kind is TargetKind.SYSTEM:
        return parse_system(argv)
    if kind is TargetKind.STORAGE_DAEMON:
        return parse_storage_daemon(argv)
    return parse_tool(kind, argv)


def test_libvirt_disks_are_found_through_their_nodes() -> None:
    disk, scsi = plans_of(LIBVIRT_9)
    assert (disk.name, disk.device, disk.chain.format) == ("virtio-disk0", "virtio-blk", "qcow2")
    assert disk.chain.filename == "/var/lib/libvirt/images/web-1.qcow2"
    assert (disk.chain.is_direct, disk.chain.aio, disk.chain.is_read_only) == (True, "native", False)
    assert disk.chain.is_writeback is True
    assert disk.names == ("virtio-disk0", "libvirt-2-format", "libvirt-2-storage")
    assert (scsi.name, scsi.device, scsi.chain.format) == ("scsi0-0-0-1", "virtio-scsi: scsi-hd", "raw")
    assert (scsi.chain.filename, scsi.chain.protocol) == ("/dev/vg0/data", "host_device")


def test_libvirt_name_iothreads_and_monitor() -> None:
    command = parsed(LIBVIRT_9)
    assert command.guest_name == "web-1"
    assert command.iothreads == ["iothread1"]
    assert command.monitor_chardevs == ["charmonitor"]
    assert command.firmware_nodes == ["libvirt-pflash0-format"]


def test_older_libvirt_with_drives() -> None:
    (disk,) = plans_of(
        "qemu-kvm -name guest=db,debug-threads=on -drive "
        "file=/images/db.qcow2,format=qcow2,if=none,id=drive-virtio-disk0,cache=none,aio=native "
        "-device virtio-blk-pci,scsi=off,bus=pci.0,addr=0x5,drive=drive-virtio-disk0,id=virtio-disk0,write-cache=on"
    )
    assert disk.names == ("virtio-disk0", "drive-virtio-disk0")
    assert (disk.chain.filename, disk.chain.is_direct, disk.chain.aio) == ("/images/db.qcow2", True, "native")


@pytest.mark.parametrize(
    ("text", "names", "devices", "files"),
    [
        ("qemu -hda a.img -hdb b.img", ["ide0-hd0", "ide0-hd1"], ["ide", "ide"], ["a.img", "b.img"]),
        ("qemu -m 512 a.img", ["ide0-hd0"], ["ide"], ["a.img"]),
        (
            "qemu -enable-kvm a.img -nographic b.img",
            ["ide0-hd0", "ide0-hd1"],
            ["ide"] * 2,
            ["a.img", "b.img"],
        ),
        ("qemu -cdrom /iso/x.iso", ["ide1-cd0"], ["ide"], ["/iso/x.iso"]),
        ("qemu -drive file=a.img,if=virtio", ["virtio0"], ["virtio-blk"], ["a.img"]),
        ("qemu -drive a.img", [], [], []),
        (
            "qemu --drive if=virtio,file=a --drive if=virtio,file=b",
            ["virtio0", "virtio1"],
            ["virtio-blk"] * 2,
            ["a", "b"],
        ),
        ("qemu -drive file=a,if=none,id=d", ["d"], [""], ["a"]),
        (
            "qemu -drive if=pflash,file=OVMF.fd,format=raw -drive file=a,if=virtio",
            ["virtio0"],
            ["virtio-blk"],
            ["a"],
        ),
        ("qemu -drive if=ide,index=2,media=cdrom", [], [], []),
        ("qemu -drive file=a,if=none,id=d -device nvme,drive=d,serial=x", ["d"], ["nvme"], ["a"]),
        ("qemu -drive file=a,if=none,id=d -device ide-hd,drive=d", ["d"], ["ide"], ["a"]),
        (
            "qemu -device virtio-scsi-pci,id=s -drive file=a,if=none,id=d -device scsi-hd,drive=d,bus=s.0",
            ["d"],
            ["virtio-scsi: scsi-hd"],
            ["a"],
        ),
        (
            "qemu -device lsi,id=l -drive file=a,if=none,id=d -device scsi-hd,drive=d,bus=l.0",
            ["d"],
            ["lsi: scsi-hd"],
            ["a"],
        ),
    ],
)
def test_names_and_devices(text: str, names: list[str], devices: list[str], files: list[str]) -> None:
    plans = plans_of(text)
    assert [plan.name for plan in plans] == names
    assert [plan.device for plan in plans] == devices
    assert [plan.chain.filename for plan in plans] == files


@pytest.mark.parametrize(
    ("mode", "direct", "no_flush", "writeback"),
    [
        ("none", True, False, True),
        ("directsync", True, False, False),
        ("writeback", False, False, True),
        ("writethrough", False, False, False),
        ("unsafe", False, True, True),
    ],
)
def test_cache_modes(mode: str, direct: bool, no_flush: bool, writeback: bool) -> None:
    (plan,) = plans_of(f"qemu -drive file=a,if=virtio,cache={mode}")
    assert (plan.chain.is_direct, plan.chain.is_no_flush, plan.chain.is_writeback) == (
        direct,
        no_flush,
        writeback,
    )


def test_a_single_cache_flag_wins_over_the_mode_it_is_not_in() -> None:
    (plan,) = plans_of("qemu -drive file=a,if=virtio,cache.direct=on,aio=io_uring")
    assert (plan.chain.is_direct, plan.chain.is_writeback, plan.chain.aio) == (True, None, "io_uring")


def test_blockdev_keys_inline_child_filter_and_raw_offset() -> None:
    (plan,) = plans_of(
        "qemu -blockdev driver=throttle,node-name=t,throttle-group=g,file.driver=raw,file.offset=1048576,"
        "file.file.driver=file,file.file.filename=/a,,b.img,file.file.aio=native,file.file.node-name=f "
        "-device virtio-blk-pci,drive=t"
    )
    assert (plan.chain.format, plan.chain.filename, plan.chain.aio) == ("raw", "/a,b.img", "native")
    assert (plan.chain.filters, plan.chain.raw_offset_bytes) == (["throttle"], 1048576)
    assert plan.names == ("t", "f")


def test_json_filename() -> None:
    (plan,) = plans_of(
        """qemu -drive 'if=virtio,file=json:{"driver":"qcow2",,"file":{"driver":"file",,"filename":"/x/y.qcow2"}}'"""
    )
    assert (plan.chain.format, plan.chain.filename, plan.chain.protocol) == ("qcow2", "/x/y.qcow2", "file")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("qemu -drive file=nbd://srv/x,if=virtio", "network (nbd)"),
        ("qemu -drive file=rbd:pool/img:id=me,if=virtio,format=raw", "network (rbd)"),
        ("qemu -drive file=iscsi://10.0.0.1/iqn.x/1,if=virtio", "network (iscsi)"),
        ("qemu -drive file=gluster+tcp://h/v/i,if=virtio", "network (gluster)"),
        ("qemu -drive file=nvme://0000:01:00.0/1,if=virtio", "VFIO"),
        ("qemu -drive file=fat:rw:/dir,if=virtio", "vvfat"),
        ("qemu -drive driver=null-co,size=1G,if=virtio", "null-co"),
        (
            "qemu -blockdev driver=nbd,node-name=n,server.type=inet,server.host=h,server.port=1 -device virtio-blk,drive=n",  # noqa: E501
            "nbd",
        ),
        ("qemu -chardev socket,id=c,path=/s -device vhost-user-blk-pci,chardev=c", "vhost-user-blk"),
        ("qemu -device vhost-scsi-pci,id=v,wwpn=naa.5001405bc4b6a1c8", "the host's kernel serves it (vhost-scsi"),
        ('qemu -device \'{"driver":"vhost-scsi-pci","wwpn":"naa.5","id":"v"}\'', "configfs"),
        ("qemu -chardev socket,id=c,path=/s -device vhost-user-scsi-pci,chardev=c", "vhost-user-scsi"),
        ("qemu -device vfio-pci,host=01:00.0", "vfio-pci"),
        (
            "qemu -blockdev driver=quorum,node-name=q,children.0=a,children.1=b,vote-threshold=1 -device virtio-blk,drive=q",  # noqa: E501
            "several",
        ),
        (
            "qemu -blockdev driver=raw,node-name=a,file=b -blockdev driver=raw,node-name=b,file=a -device virtio-blk,drive=a",  # noqa: E501
            "circle",
        ),
    ],
)
def test_what_cannot_be_followed_says_why(text: str, why: str) -> None:
    (plan,) = plans_of(text)
    assert why in plan.chain.why_not


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("/a:b/c.img", ("file", "/a:b/c.img")),
        ("./a:b.img", ("file", "./a:b.img")),
        ("file:/x", ("file", "/x")),
        ("host_device:/dev/sda", ("host_device", "/dev/sda")),
        ("ssh://u@h/x", ("ssh", "ssh://u@h/x")),
    ],
)
def test_protocols_end_at_a_colon_before_the_first_slash(filename: str, expected: tuple[str, str]) -> None:
    assert split_protocol(filename) == expected


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("a=1,b=2", [("a", "1"), ("b", "2")]),
        ("file=a,,b,,,if=x", [("file", "a,b,"), ("if", "x")]),
        ("file=a,,", [("file", "a,")]),
        ("file=a=b", [("file", "a=b")]),
        ("server,nowait", [("server", "on"), ("wait", "off")]),
        ("", []),
        (",,", []),
        ("=x", []),
    ],
)
def test_escaping(text: str, pairs: list[tuple[str, str]]) -> None:
    assert split_pairs(text) == pairs


def test_implied_first_key() -> None:
    assert split_pairs("virtio-blk,drive=d", "driver") == [("driver", "virtio-blk"), ("drive", "d")]


def test_a_key_that_is_value_and_parent() -> None:
    assert nest([("file", "x"), ("file.locking", "off")]) == {"file": {"": "x", "locking": "off"}}
    assert nest([("file.locking", "off"), ("file", "x")]) == {"file": {"locking": "off", "": "x"}}


@pytest.mark.parametrize("text", ["{", '{"a":', "[" * 100_000, "{}x", "null", "[1]"])
def test_damaged_json_is_no_options(text: str) -> None:
    assert parse_json(text) == {}


def test_options_that_are_json() -> None:
    assert parse_options('{"driver":"x","file.driver":"file"}') == {"driver": "x", "file": {"driver": "file"}}


@pytest.mark.parametrize(
    ("option", "name"),
    [("guest=a,,b,debug-threads=on", "a,b"), ("plain", "plain"), ("plain,process=qemu", "plain")],
)
def test_guest_names(option: str, name: str) -> None:
    assert parse_system(["qemu", "-name", option]).guest_name == name


def test_qmp_sockets() -> None:
    command = parsed(
        "qemu -qmp unix:/run/a,,b.sock,server=on,wait=off -chardev socket,id=m,path=/run/m.sock,server=on "
        "-mon chardev=m,mode=control -mon chardev=hmp,mode=readline -qmp tcp:localhost:4444"
    )
    paths = {str(chardev["id"]): chardev["path"] for chardev in command.chardevs}
    assert [paths[name] for name in command.monitor_chardevs] == ["/run/a,b.sock", "/run/m.sock"]
    assert "tcp" in command.notes[0]


def test_fd_sets() -> None:
    assert parsed("qemu -add-fd set=2,fd=28 -add-fd fd=29,set=2").fd_sets == {2: [28, 29]}


def test_storage_daemon() -> None:
    kind = TargetKind.STORAGE_DAEMON
    plans = plans_of(
        "qemu-storage-daemon --blockdev driver=file,node-name=f,filename=/i.qcow2,cache.direct=on,aio=io_uring "
        "--blockdev=driver=qcow2,node-name=q,file=f --nbd-server addr.type=unix,addr.path=/n.sock "
        "--export type=nbd,id=e,node-name=q,writable=on --chardev socket,path=/q,id=c --monitor chardev=c",
        kind,
    )
    assert [(plan.name, plan.device, plan.chain.format) for plan in plans] == [("e", "nbd export", "qcow2")]
    assert (plans[0].chain.filename, plans[0].chain.aio) == ("/i.qcow2", "io_uring")
    assert parsed("qemu-storage-daemon --monitor c --chardev socket,path=/q,id=c", kind).monitor_chardevs == ["c"]


@pytest.mark.parametrize(
    ("text", "file", "form", "aio", "direct"),
    [
        ("qemu-img bench -c 100 -d 32 -f qcow2 -n -t none -w /a.qcow2", "/a.qcow2", "qcow2", "native", True),
        ("qemu-img bench -i io_uring -tnone -fraw a", "a", "raw", "io_uring", True),
        ("qemu-img -T x bench --flush-interval 5 --pattern=1 a", "a", "", "", None),
        ("qemu-img bench --image-opts -n driver=qcow2,file.filename=a,,b", "a,b", "qcow2", "native", None),
        ("qemu-io -f raw -n -k -c 'read 0 4k' a", "a", "raw", "native", True),
        ("qemu-io --format=raw --aio native --cache=none a", "a", "raw", "native", True),
        ("qemu-nbd -t -k /s -f qcow2 --cache=none --aio=native a", "a", "qcow2", "native", True),
        ("qemu-nbd -c /dev/nbd0 -r a", "a", "", "", None),
        ("qemu-nbd -n -x name -- -a", "-a", "", "", True),
    ],
)
def test_tools(text: str, file: str, form: str, aio: str, direct: bool | None) -> None:
    kind = TargetKind(text.split()[0].removeprefix("qemu-"))
    (plan,) = plans_of(text, kind)
    chain = plan.chain
    assert (chain.filename, chain.format, chain.aio, chain.is_direct) == (file, form, aio, direct)


def test_convert_reads_some_and_writes_the_last() -> None:
    source, output = plans_of("qemu-img convert -p -O qcow2 -t none -T directsync -f raw a b", TargetKind.IMG)
    assert (source.chain.filename, source.chain.is_read_only, source.chain.is_writeback) == ("a", True, False)
    assert (output.chain.filename, output.chain.format, output.chain.is_direct) == ("b", "qcow2", True)


def test_dd_names_its_images() -> None:
    plans = plans_of("qemu-img dd -f raw -O raw bs=1M if=a of=b", TargetKind.IMG)
    assert [plan.chain.filename for plan in plans] == ["a", "b"]


@pytest.mark.parametrize(
    "argv", [["qemu"], ["qemu", "-drive"], ["qemu", "-blockdev", "{"], ["qemu", "-qmp", ""], ["qemu", "-"]]
)
def test_a_cut_or_senseless_command_line_is_no_error(argv: list[str]) -> None:
    plan_disks(parse_system(argv), TargetKind.SYSTEM)


@pytest.mark.parametrize("kind", [TargetKind.IMG, TargetKind.IO, TargetKind.NBD])
def test_a_tool_without_arguments(kind: TargetKind) -> None:
    assert plans_of("qemu-x", kind) == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("vm ä", "vm ä"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\nb", "a\\nb"),
        ("\udcff", "\\xff"),
        ("\u202e", "\\u202e"),
    ],
)
def test_untrusted_text_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_hostile_command_line_costs_no_time_and_no_crash() -> None:
    deep = ".".join(["file"] * 20_000)
    argv = [
        *("qemu", "-blockdev", f"driver=raw,node-name=x,{deep}=y", "-blockdev", f"{'[' * 900}"),
        *(
            "-drive",
            "file=" + "a,,=" * 30_000,
            "-drive",
            f"file=a,index={'9' * 6000}",
            "-drive",
            "," * 100_000,
        ),
        *("-add-fd", f"fd={'9' * 6000},set=1", "-device", "virtio-blk,drive=x", "-drive", "a=b," * 30_000),
        *("-blockdev", '{"file":' * 900 + "{}" + "}" * 900, "-name", "\udcff\x1b"),
    ]
    begin = time.monotonic()
    plan_disks(parse_system(argv), TargetKind.SYSTEM)
    assert time.monotonic() - begin < 2


@pytest.mark.parametrize("seed", range(200))
def test_any_words_make_a_command_line(seed: int) -> None:
    random = Random(seed)
    pieces = [
        *"=,,.:{}[]",
        '"',
        "file",
        "driver",
        "node-name",
        "json:",
        "nbd:",
        "raw",
        "qcow2",
        "x",
        "-",
        "\udc80",
    ]
    options = [
        "-drive",
        "-blockdev",
        "-device",
        "-qmp",
        "-hda",
        "--export",
        "-f",
        "bench",
        "convert",
        "-t",
        "--",
    ]
    words = ["".join(random.choices(pieces, k=random.randrange(12))) for _ in range(6)]
    argv = [
        "qemu",
        *(word for pair in zip(random.choices(options, k=6), words, strict=True) for word in pair),
    ]
    for kind in TargetKind:
        plan_disks(parse_command(kind, argv), kind)
