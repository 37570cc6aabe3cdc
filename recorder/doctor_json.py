"""The diagnosis of `vio doctor --json`: plain objects; text is as found, JSON escapes it."""

from vio.recorder.doctor import Diagnosis, PointCheck, dotted, lack_sentence
from vio.recorder.host import HostFeatures, Trial
from vio.recorder.subject import Subject


def diagnosis_json(diagnosis: Diagnosis) -> dict[str, object]:
    """Return the diagnosis as plain objects for `--json`."""
    host, bpftrace = diagnosis.host, diagnosis.host.bpftrace
    return {
        "can_record": diagnosis.can_record,
        "fatal": [lack_sentence(lack) for lack in diagnosis.fatal],
        "lacks": [
            {"what": lack.what, "without": lack.without, "todo": lack.todo, "is_fatal": lack.is_fatal}
            for lack in diagnosis.lacks
        ],
        "bpftrace": {
            "path": str(bpftrace.path),
            "version": dotted(bpftrace.version),
            "text": bpftrace.text,
            "bpf": _trial_object(diagnosis.trials.bpf),
            "fentry": _trial_object(diagnosis.trials.fentry),
            "maps": _trial_object(diagnosis.trials.maps),
        }
        if bpftrace
        else None,
        "kernel": _kernel_object(host),
        "qemu": _subject_object(diagnosis.subject),
        "points": [_point_object(point) for point in diagnosis.points],
    }


def _trial_object(trial: Trial | None) -> dict[str, object] | None:
    return {"is_ok": trial.is_ok, "why": trial.why} if trial else None


def _kernel_object(host: HostFeatures) -> dict[str, object]:
    return {
        "release": host.kernel_release,
        "machine": host.machine,
        "is_root": host.is_root,
        "capabilities": sorted(host.capabilities),
        "tracefs": str(host.tracefs) if host.tracefs else None,
        "tracepoint_count": len(host.tracepoints),
        "has_btf": host.has_btf,
        "has_uprobes": host.has_uprobes,
        "has_kprobes": host.has_kprobes,
        "has_fast_nops": host.has_fast_nops,
        "lockdown": host.lockdown,
        "clock_source": host.clock_source,
        "cpu_count": host.cpu_count,
    }


def _subject_object(subject: Subject | None) -> dict[str, object] | None:
    if not subject:
        return None
    return {
        "path": subject.path,
        "kind": str(subject.kind),
        "version": subject.version,
        "build_id": subject.binary.build_id if subject.binary else "",
        "name": subject.name,
        "pid": subject.pid,
        "why": subject.why,
        "disks": [
            {"name": disk.name, "model": disk.model, "seen_layers": [str(layer) for layer in disk.seen_layers]}
            for disk in subject.disks
        ],
        "notes": list(subject.notes),
    }


def _point_object(point: PointCheck) -> dict[str, object]:
    return {
        "name": point.name,
        "layer": str(point.layer),
        "meaning": point.meaning,
        "attach": point.attach,
        "is_attachable": point.is_attachable,
        "is_wanted": point.is_wanted,
        "is_dear": point.is_dear,
        "cost_ns": point.cost_ns,
        "why": point.why,
        "without": point.without,
        "todo": point.todo,
    }
