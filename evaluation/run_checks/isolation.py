"""Calls in a process of their own: its memory is its own to measure, and its end, even by force, is not ours."""

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


class ProcessEnded(RuntimeError):
    """A process that ended without a result.

    Attributes:
        code: Its exit code; the negative number of the signal that ended it.
        last_line: What it wrote last.
    """

    def __init__(self, code: int | None, last_line: str) -> None:
        super().__init__(f"ended with code {code}: {last_line}")
        self.code = code
        self.last_line = last_line


def call_in_process(function: Callable[..., Any], *arguments: Any, log: Path) -> Any:
    """What a function returns, called in a fresh process.

    Args:
        function: At the top of a module, as it is found there again by its name.
        arguments: What it is given; they are pickled.
        log: File for what the process prints.

    Raises:
        ProcessEnded: if it ends without returning.
    """
    # Not forked: locks of this process's threads, and a GPU in use, would be copied in the state they are in.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(sender, str(log), function, arguments))
    process.start()
    sender.close()
    try:
        result = receiver.recv()
    except EOFError:
        process.join()
        lines = log.read_text(errors="replace").split("\n") if log.is_file() else []
        raise ProcessEnded(process.exitcode, next((line for line in reversed(lines) if line.strip()), "")) from None
    finally:
        if process.is_alive():
            process.join()
        receiver.close()
    return result


def _serve(sender: Connection, log: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    # By the numbers of the streams, so that libraries that know nothing of Python's are quiet as well.
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sender.send(function(*arguments))
    sender.close()
