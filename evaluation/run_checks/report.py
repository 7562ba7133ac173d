"""One line per check, and for each that failed what was expected, what came and what to do."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

Status = Literal["ok", "note", "fix", "skipped"]
_STYLES: dict[str, str] = {"ok": "green", "note": "yellow", "fix": "bold red", "skipped": "dim"}
# Width of the table where the output is a file or a pipe and has none of its own.
_PIPE_WIDTH = 140


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: What was looked at, for instance ``model.generator``.
        status: "ok"; "note" for what one should know; "fix" for what stops or spoils the run; "skipped" where it could not be looked at.
        text: What was found, in one sentence.
        expected: Of a failed check: what the run needs.
        got: What there is.
        advice: What to do.
    """

    name: str
    status: Status
    text: str
    expected: str | None = None
    got: str | None = None
    advice: str | None = None


def failed(name: str, expected: str, got: str, advice: str) -> Check:
    """A check that must be mended before the run."""
    return Check(name, "fix", f"expected {expected}, got {got}", expected, got, advice)


def failed_by(name: str, error: Exception) -> Check:
    """A failed check from an error of the form that this project raises: "expected this, got that; do so"."""
    message = " ".join(str(error).split()) or type(error).__name__
    rest, _, advice = message.rpartition("; ")
    parts = re.match(r"(?:.*?\b)?expected (?P<expected>.+?), (?=(?:got|found)\b)(?P<got>.+)$", rest) or re.match(
        r"(?:.*?\b)?expected (?P<expected>.+?), (?P<got>.+)$", rest
    )
    if parts is None:
        return Check(name, "fix", message, "a configuration that can be built", message, "correct it")
    return Check(name, "fix", rest, parts["expected"], parts["got"].removeprefix("got "), advice)


def passes(checks: Sequence[Check]) -> bool:
    """Whether nothing has to be mended."""
    return all(check.status != "fix" for check in checks)


def print_table(checks: Sequence[Check], title: str, console: Console | None = None) -> None:
    """Print a line per check, then what to fix."""
    console = console or Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=_PIPE_WIDTH)
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("check", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("found", overflow="fold")
    for check in checks:
        style = _STYLES[check.status]
        table.add_row(escape(check.name), f"[{style}]{check.status}[/]", escape(check.text))
    console.print(table)
    faults = [check for check in checks if check.status == "fix"]
    if not faults:
        console.print("Nothing to fix.")
    for number, check in enumerate(faults, start=1):
        console.print(f"[bold red]To fix, {number} of {len(faults)}: {escape(check.name)}[/]", highlight=False)
        for word, text in (("expected", check.expected), ("got", check.got), ("do", check.advice)):
            console.print(f"  {word:<9}{escape(text or '')}", highlight=False)


def as_json(checks: Sequence[Check], estimate: dict[str, Any] | None, words: Sequence[str]) -> dict[str, Any]:
    """All of it as plain JSON values.

    Args:
        checks: The lines of the table.
        estimate: What the measured steps say, null where none were run.
        words: The command line that was checked.
    """
    return {
        "passed": passes(checks),
        "command": list(words),
        "checks": [asdict(check) for check in checks],
        "estimate": estimate,
    }
