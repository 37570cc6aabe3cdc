"""What an export has written."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True)
class Exported:
    """Files, and what is in them; `spans` is 0 for a table of IOs."""

    files: list[Path]
    ios: int = 0
    spans: int = 0
    bytes: int = 0

    def sentence(self) -> str:
        """Say it in a line."""
        names = str(self.files[0]) if len(self.files) == 1 else f"{self.files[0]} to {self.files[-1].name}"
        spans = f", {self.spans:,} spans" if self.spans else ""
        return f"{names}: {self.ios:,} IOs{spans}, {self.bytes / 1e6:,.1f} MB"
