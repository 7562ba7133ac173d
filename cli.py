"""The command line: ``lightning VERB ...``, the same as ``latentrig VERB ...`` and ``python cli.py VERB ...``."""

import importlib
import sys
from typing import NoReturn

from commands import COMMANDS, TRAINER_VERBS
from models.version import project_version


def main(args: list[str] | None = None) -> None:
    """Run a command line.

    Args:
        args: The words after the program's name; by default those it was started with.

    Raises:
        SystemExit: with code 2 after input that cannot be used, which one line on the error stream explains; with code
            130 after Ctrl-C.
    """
    args = sys.argv[1:] if args is None else args
    verb = args[0] if args else "--help"
    if verb in ("-h", "--help"):
        print(_overview())
        return
    if verb == "--version":
        print(f"latentrig {project_version()}")
        return
    if verb not in TRAINER_VERBS | COMMANDS:
        _stop(f"expected one of {', '.join(TRAINER_VERBS | COMMANDS)}, got {verb!r}; see lightning --help", 2)
    # Behind the lines above, because the imports take seconds.
    from renderers.errors import InputError

    try:
        _run(verb, args)
    except InputError as error:
        _stop(str(error), 2, error)
    except OSError as error:
        # Paths that are missing, closed, too long; disks that are full. Libraries raise it with a text alone as well.
        named = f"{str(error.filename)[:200]}: {error.strerror}; correct the path"
        _stop(named if error.filename is not None else f"{error.strerror or error}; mend that and start again", 2, error)
    except KeyboardInterrupt as error:
        _stop("interrupted; what was written before stays", 130, error)


def _run(verb: str, args: list[str]) -> None:
    if verb in TRAINER_VERBS:
        from commands.trainer import run_trainer

        run_trainer(args)
    elif verb == "check":
        from commands.check import check

        check(args[1:])
    else:
        from commands.arguments import run_command

        name = verb.replace("-", "_")
        run_command(verb, getattr(importlib.import_module(f"commands.{name}"), name), args[1:])


def _stop(message: str, code: int, error: BaseException | None = None) -> NoReturn:
    print(f"lightning: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(code) from error


def _overview() -> str:
    verbs = "\n".join(f"  {verb:<20}{text}" for verb, text in (TRAINER_VERBS | COMMANDS).items())
    return f"usage: lightning VERB [options]\n\n{verbs}\n\nlightning VERB --help lists the options of a verb."


if __name__ == "__main__":
    main()
