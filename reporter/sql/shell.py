"""`vio shell`: lines in, results out. A query ends with a semicolon, a command begins with a dot."""

from collections.abc import Callable
from dataclasses import dataclass

from vio.errors import VioError
from vio.reporter.sql.database import VIEWS, Database
from vio.reporter.sql.rows import Form, written

PROMPT, MORE = "vio> ", "...> "
HELP = """\
Type a query and a semicolon: select stage, avg(own_ns) from spans group by stage;
.views          the views; .views ios: the columns of one
.mode FORM      how results are shown: table, csv or json
.help           this
.quit           end, as Ctrl-D does; Ctrl-C drops what was typed, or stops a query"""


@dataclass(slots=True)
class Shell:
    """`read_line` takes a prompt and returns a line (EOFError: no more); `show` and `complain` print a text."""

    database: Database
    read_line: Callable[[str], str]
    show: Callable[[str], None]
    complain: Callable[[str], None]
    form: Form = Form.TABLE
    is_ended: bool = False

    def run(self) -> int:
        """Answer until the end; return how many queries or commands failed."""
        failed = 0
        while not self.is_ended:
            try:
                text = self._read()
                if text:
                    self._answer(text)
            except EOFError:
                break
            except KeyboardInterrupt:
                self.show("")
            except VioError as error:
                failed += 1
                self.complain(str(error))
        return failed

    def _read(self) -> str:
        """Return a query without its semicolon, or a command; at the end of the input a query needs none."""
        lines: list[str] = []
        while True:
            try:
                line = self.read_line(MORE if lines else PROMPT).rstrip()
            except EOFError:
                if not lines:
                    raise
                self.is_ended = True
                return "\n".join(lines)
            if not lines and (not line or line.startswith(".")):
                return line
            lines.append(line)
            if line.endswith(";"):
                return "\n".join(lines).rstrip(";")

    def _answer(self, text: str) -> None:
        if text.startswith("."):
            self._command(text.split())
            return
        for piece in written(self.database.run(text), self.form):
            self.show(piece)

    def _command(self, words: list[str]) -> None:
        match words:
            case [".help"]:
                self.show(HELP)
            case [".quit" | ".exit"]:
                self.is_ended = True
            case [".views"]:
                self.show("  ".join(VIEWS))
            case [".views", view] if view in VIEWS:
                rows = self.database.columns(view)
                width = max((len(name) for name, _ in rows), default=0)
                self.show("\n".join(f"{name.ljust(width)}  {kind}" for name, kind in rows))
            case [".mode", form] if form in set(Form):
                self.form = Form(form)
            case _:
                self.complain(f"{' '.join(words)} is not known: .help shows what there is")
