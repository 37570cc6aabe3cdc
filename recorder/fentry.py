"""Whether this kernel takes fentry programs, asked with an empty one: nothing else tells for sure."""

import ctypes
import os
import struct

from vio.recorder.bpfcall import bpf

_PROG_LOAD, _RAW_TRACEPOINT_OPEN = 5, 17
_TRACING, _TRACE_FENTRY = 26, 24
_RETURN_0 = struct.pack("<BBhi", 0xB7, 0, 0, 0) + struct.pack("<BBhi", 0x95, 0, 0, 0)


class _Load(ctypes.Structure):
    _fields_ = (
        ("prog_type", ctypes.c_uint32),
        ("insn_cnt", ctypes.c_uint32),
        ("insns", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_uint64),
        ("kern_version", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
        ("prog_name", ctypes.c_char * 16),
        ("prog_ifindex", ctypes.c_uint32),
        ("expected_attach_type", ctypes.c_uint32),
        ("prog_btf_fd", ctypes.c_uint32),
        ("func_info_rec_size", ctypes.c_uint32),
        ("func_info", ctypes.c_uint64),
        ("func_info_cnt", ctypes.c_uint32),
        ("line_info_rec_size", ctypes.c_uint32),
        ("line_info", ctypes.c_uint64),
        ("line_info_cnt", ctypes.c_uint32),
        ("attach_btf_id", ctypes.c_uint32),
        ("attach_prog_fd", ctypes.c_uint32),
        ("pad", ctypes.c_uint32),
    )


class _Open(ctypes.Structure):
    _fields_ = (("name", ctypes.c_uint64), ("prog_fd", ctypes.c_uint32), ("pad", ctypes.c_uint32))


def why_no_fentry(type_id: int) -> str:
    """Say why no fentry program can be put on the function of vmlinux with this BTF number; "" if one can."""
    code, licence = ctypes.create_string_buffer(_RETURN_0, len(_RETURN_0)), ctypes.create_string_buffer(b"GPL")
    load = _Load(
        prog_type=_TRACING,
        insn_cnt=2,
        insns=ctypes.addressof(code),
        license=ctypes.addressof(licence),
        prog_name=b"vio_trial",
        expected_attach_type=_TRACE_FENTRY,
        attach_btf_id=type_id,
    )
    try:
        program = bpf(_PROG_LOAD, load)
    except OSError as error:
        return f"the kernel does not load its program: {error.strerror}"
    try:
        os.close(bpf(_RAW_TRACEPOINT_OPEN, _Open(prog_fd=program)))
    except OSError as error:
        return f"the kernel does not attach its program: {error.strerror}"
    finally:
        os.close(program)
    return ""
