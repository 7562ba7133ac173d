"""Parsing of the command line, with errors of one line that say what to do."""

import argparse
import difflib
import importlib
import inspect
import json
import re
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, get_origin

from jsonargparse import ActionConfigFile, ArgumentParser

from models.weights import PROJECT_ROOT
from renderers.errors import InputError

# What jsonargparse says about the alternatives it tried besides the one the user meant.
_NOISE = re.compile(
    r"(Does not validate against any of the Union subtypes|Subtypes: |Errors:$|Given value( type)?: |"
    r"Expected an? <class '(NoneType|list)'>$|Expected a path but |Not a valid subclass of |"
    r"Subclass types expect one of:|a class path \(str\)|a dict with|tip: )"
)

_SWITCH_VALUES = ("true", "false", "yes", "no")


class OneLineErrors:
    """Mix-in of a parser whose errors are an `InputError` of one line in place of a usage text and an exit."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the error, with the nearest known option where one is unknown."""
        if not self.exit_on_error:  # type: ignore[attr-defined]
            # A parser inside a parser: the outer one adds which key it was about.
            super().error(message, ex)  # type: ignore[misc]
        text = one_line(message)
        raise InputError(f"{text}; {_advice(text, self)}") from ex  # type: ignore[arg-type]


class CommandParser(OneLineErrors, ArgumentParser):
    """Parser of the verbs that are plain functions."""


def run_command(verb: str, function: Callable[..., Any], args: list[str]) -> None:
    """Parse `args` by the signature of a function and call it.

    Parameters are options. Where the signature has some that are given by keyword alone, those before them are plain words on the
    command line; these must be all that have no default.
    """
    positional = any(p.kind is p.KEYWORD_ONLY for p in inspect.signature(function).parameters.values())
    # The arguments have their own place in the help, so the description ends before them.
    description = (inspect.getdoc(function) or "").partition("\nArgs:")[0].strip()
    parser = CommandParser(prog=f"lightning {verb}", description=description)
    parser.add_argument(
        "--config", action=ActionConfigFile, help="YAML file with any of the options below; may be repeated"
    )
    parser.add_function_arguments(function, as_group=False, as_positional=positional)
    words = _spelled(find_configs(args), function)
    listed = next(iter(inspect.signature(function).parameters)) if positional else None
    if listed is not None and get_origin(inspect.signature(function).parameters[listed].annotation) is list:
        words = _as_one_list(words)
        for action in parser._actions:
            if action.dest == listed:
                action.metavar = f"{listed.upper()} ..."
    parsed = parser.parse_args(words)
    with unwrapped_errors():
        options = parser.instantiate_classes(parsed).as_dict()
    options.pop("config")
    function(**options)


def _spelled(args: list[str], function: Callable[..., Any]) -> list[str]:
    """Options as jsonargparse reads them: with underscores for dashes, a value also where a switch stands alone, and the values of a
    list, which may follow one option or several of its name, as one JSON list."""
    parameters = inspect.signature(function).parameters
    words: list[str] = []
    lists: dict[str, list[str]] = {}
    remaining = deque(args)
    while remaining:
        word = remaining.popleft()
        name, equals, value = word.partition("=")
        option = name.removeprefix("--").replace("-", "_")
        if not name.startswith("--") or option not in parameters:
            words.append(word)
            continue
        following = remaining[0] if remaining else ""
        if get_origin(parameters[option].annotation) in (list, tuple):
            given = [value] if equals else []
            while not equals and remaining and not remaining[0].startswith("--"):
                given.append(remaining.popleft())
            # A list as YAML or JSON, and an option without values, are jsonargparse's to read or refuse.
            if not given or given[0].startswith("["):
                words += [f"--{option}", *given]
            else:
                lists.setdefault(option, []).extend(given)
            continue
        words.append(f"--{option}{equals}{value}")
        if parameters[option].annotation is bool and not equals and following.lower() not in _SWITCH_VALUES:
            words.append("true")
    return words + [f"--{option}={json.dumps(values)}" for option, values in lists.items()]


def _as_one_list(words: list[str]) -> list[str]:
    """The plain words of a command line as one JSON list, which is how jsonargparse reads a list that is no option."""
    plain: list[str] = []
    options: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        is_value = before.startswith("--") and "=" not in before
        (options if word.startswith("-") or is_value else plain).append(word)
    return [json.dumps(plain), *options] if plain else words


@contextmanager
def unwrapped_errors() -> Iterator[None]:
    """Raise what a constructor raised.

    jsonargparse wraps it, as though the class had been one guess of several at a type.
    """
    try:
        yield
    except ValueError as error:
        cause: BaseException = error
        while (
            str(cause).startswith("Does not validate against any of the Union subtypes") and cause.__cause__ is not None
        ):
            cause = cause.__cause__
        if cause is error:
            raise
        raise cause from None


def find_configs(args: list[str]) -> list[str]:
    """Let ``--config configs/...`` name a shipped file from any folder.

    What the current folder lacks is looked up in the project.
    """
    found = list(args)
    for position, argument in enumerate(args):
        option, _, value = argument.partition("=")
        if option not in ("--config", "-c"):
            continue
        if not value and position + 1 < len(args):
            found[position + 1] = _find_config(args[position + 1])
        elif value:
            found[position] = f"{option}={_find_config(value)}"
    return found


def _find_config(path: str) -> str:
    shipped = PROJECT_ROOT / path
    return str(shipped) if not Path(path).exists() and shipped.is_file() else path


def one_line(message: str) -> str:
    """Reduce an error of jsonargparse to the part that the user meant; it lists every alternative over many lines."""
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    kept = [line for line in lines if line and not _NOISE.match(line)] or [line for line in lines if line]
    text = ""
    for line in kept:
        text += ("" if not text else " " if text.endswith(":") else "; ") + line
    text = re.sub(r"<class '(?:builtins\.)?([\w.]+)'>", r"\1", text).replace("typing.", "")
    text = re.sub(r"Expected an? ", "expected ", text).replace(". Got value: ", ", got ")
    text = re.sub(r'Parser key "([^"]+)":', r"\1:", text)
    return re.sub(r"Problem with given class_path '([^']+)':", r"\1:", text).rstrip(".")


def _advice(text: str, parser: argparse.ArgumentParser) -> str:
    """What to do about an error: the option that was probably meant, or where the options are listed."""
    unknown = re.search(r"(?:option|Option) '([^']+)'|unrecognized arguments: -*([\w.]+)", text)
    if unknown is None:
        return f"see {parser.prog} --help"
    name = unknown.group(1) or unknown.group(2)
    class_path = re.search(r"([A-Za-z_]\w*(?:\.\w+)+): ", text)
    known = list(_parameters(class_path.group(1)) if class_path else _option_names(parser))
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean '{near[0]}'?"
    if class_path:
        return f"it takes {', '.join(known) or 'no options'}"
    return f"see {parser.prog} --help"


def _parameters(class_path: str) -> Iterator[str]:
    module, _, name = class_path.rpartition(".")
    try:
        signature = inspect.signature(getattr(importlib.import_module(module), name))
    except (ImportError, AttributeError, TypeError, ValueError):
        return  # only the hint is lost: the error itself is reported all the same
    yield from signature.parameters


def _option_names(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for nested in action.choices.values():
                yield from _option_names(nested)
        else:
            yield action.dest
