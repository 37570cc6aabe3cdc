"""Colours of the stages: hues that people with any colour vision tell apart (after Okabe and Ito), phases as shades."""

from vio.layer import Phase, Stage

_Colour = tuple[float, float, float]

_HUES = {
    Stage.QEMU_DEVICE: "#CC79A7",
    Stage.QEMU_BLOCK: "#D55E00",
    Stage.QEMU_AIO: "#E69F00",
    Stage.VFS: "#C4B000",
    Stage.FS: "#009E73",
    Stage.BLOCK: "#56B4E9",
    Stage.DEVICE: "#0072B2",
    Stage.LOOP_FS: "#006B4E",
    Stage.LOOP_BLOCK: "#7A8FA6",
    Stage.LOOP_DEVICE: "#1F3552",
}
UNATTRIBUTED = "#BBBBBB"
TOTAL = "#000000"
# Down lighter, up darker: towards white, towards black.
_SHADES = {Phase.DOWN: 0.45, Phase.BETWEEN: 0.0, Phase.UP: -0.25}


def hue(stage: Stage) -> str:
    """Return a stage's colour."""
    return _HUES[stage]


def shade(stage: Stage, phase: Phase) -> _Colour:
    """Return the colour of a phase of a stage."""
    text, amount = _HUES[stage], _SHADES[phase]
    red, green, blue = (int(text[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return _mixed(red, amount), _mixed(green, amount), _mixed(blue, amount)


def _mixed(part: float, amount: float) -> float:
    return part + (1 - part) * amount if amount > 0 else part * (1 + amount)
