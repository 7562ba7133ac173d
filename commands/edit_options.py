"""What ``lightning edit`` is asked for in words such as ``smile=0.8``, as sliders."""

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from evaluation.edit_sweep import DirectionSweep, Sweep
from models.latent_directions import LatentDirection, LatentDirections, LatentMove, load_directions
from models.stylerig.sliders import FIXED_SLIDERS, Slider, component_of, unit_of
from renderers.errors import InputError

# What is transferred, as the paper's figures call it, and the component of the face parameters that it is.
TRANSFERS: dict[str, str] = {
    "pose": "rotation",
    "expression": "expression",
    "light": "illumination",
    "geometry": "identity",
}
_LIGHT = "light_"
_DEGREES = "_deg"
_BY = "_by"


def sliders_of(
    angles: Sequence[tuple[str, float | None, bool]],
    expression: Sequence[str] = (),
    expression_by: Sequence[str] = (),
    light: Sequence[str] = (),
    light_by: Sequence[str] = (),
    identity: Sequence[str] = (),
    identity_by: Sequence[str] = (),
) -> list[Slider]:
    """Sliders of all options together.

    Args:
        angles: (yaw, pitch or roll; degrees, None where not asked for; whether relative).
        expression, expression_by: NAME=STRENGTH.
        light, light_by: azimuth-deg=, elevation-deg=, strength=, brightness=, warmth=.
        identity, identity_by: NUMBER=STANDARD_DEVIATIONS.

    Raises:
        InputError: for words of another form, names of another option, or one thing asked for twice.
    """
    sliders = [Slider(name, float(value), relative) for name, value, relative in angles if value is not None]
    for words, by, relative in ((expression, "", False), (expression_by, "-by", True)):
        for name, value in _assignments(f"--expression{by}", words, "smile=0.8"):
            if component_of(name) != "expression":
                raise InputError(
                    f"expected the name of an expression for --expression{by}, got {name}; give it to its own option"
                )
            sliders.append(Slider(name, value, relative))
    for words, by, relative in ((light, "", False), (light_by, "-by", True)):
        for name, value in _assignments(f"--light{by}", words, "azimuth-deg=40"):
            sliders.append(Slider(_light_slider(name, f"--light{by}"), value, relative))
    for words, by, relative in ((identity, "", False), (identity_by, "-by", True)):
        for name, value in _assignments(f"--identity{by}", words, "0=1.5"):
            number = name.removeprefix("id")
            if not re.fullmatch(r"[0-9]{1,6}", number):
                raise InputError(
                    f"expected the number of an identity coefficient for --identity{by}, got {name!r}; such as 0=1.5"
                )
            sliders.append(Slider(f"id{int(number)}", value, relative))
    _check_once([slider.name for slider in sliders])
    return sliders


def direction_files(words: Sequence[str], sweeps: Sequence[str]) -> dict[str, LatentDirections]:
    """The files that --direction and --sweep name, each read once.

    Args:
        words: FILE:NAME=AMOUNT.
        sweeps: NAME=FROM:TO:FRAMES, of which those of FILE:NAME are looked at.

    Raises:
        InputError: for words of another form, or files that hold no directions.
    """
    for word in words:
        _spelled_direction(word)
    named = [_spelled_direction(word) for word in (*words, *sweeps) if ":" in word.rpartition("=")[0]]
    return {file: load_directions(file) for file in dict.fromkeys(file for file, _ in named)}


def moves_of(words: Sequence[str], files: Mapping[str, LatentDirections]) -> list[LatentMove]:
    """Moves of words such as ``directions.safetensors:yaw=1.5``.

    Raises:
        InputError: for amounts that are not finite, names that a file does not have, or one direction asked for twice.
    """
    _check_once([word.rpartition("=")[0] for word in words])
    return [
        LatentMove(_direction(word, files), _number(word.rpartition("=")[2], "--direction", word)) for word in words
    ]


def sweeps_of(
    words: Sequence[str],
    fixed: Sequence[Slider],
    directions: Sequence[str] = (),
    files: Mapping[str, LatentDirections] = MappingProxyType({}),
) -> list[Sweep | DirectionSweep]:
    """Sweeps of words such as ``yaw-deg=-30:30:25``.

    NAME is yaw-deg, yaw-by-deg (so for pitch and roll), light-azimuth-deg, light-azimuth-by-deg (and the other words of --light), id0,
    id0-by, or an expression, with -by for a relative one; or FILE:NAME of a direction.

    Args:
        words: NAME=FROM:TO:FRAMES.
        fixed: What is asked for in all frames.
        directions: Likewise, as `moves_of` takes it.
        files: Of `direction_files`.

    Raises:
        InputError: for words of another form, sweeps of different lengths, or a slider that is fixed or swept already.
    """
    sweeps: list[Sweep | DirectionSweep] = []
    for word in words:
        name, equals, values = word.rpartition("=")
        parts = values.split(":")
        if not name or not equals or len(parts) != 3:
            raise InputError(
                f"expected --sweep NAME=FROM:TO:FRAMES such as yaw-deg=-30:30:25, got {word!r}; correct it"
            )
        start, end = (_number(part, "--sweep", word) for part in parts[:2])
        if not re.fullmatch(r"[0-9]{1,9}", parts[2]):
            raise InputError(f"expected a number of frames, got {parts[2]!r} in {word!r}; such as yaw-deg=-30:30:25")
        if ":" in name:
            sweeps.append(DirectionSweep(_direction(word, files), name, start, end, int(parts[2])))
        else:
            slider, relative = _swept(name)
            sweeps.append(Sweep(slider, start, end, int(parts[2]), relative))
    if len({sweep.frames for sweep in sweeps}) > 1:
        counts = " and ".join(str(sweep.frames) for sweep in sweeps)
        raise InputError(f"expected sweeps that run together to have as many frames, got {counts}; give one number")
    fixed_names = [*(slider.name for slider in fixed), *(word.rpartition("=")[0] for word in directions)]
    _check_once([*fixed_names, *(each.name for each in sweeps)])
    return sweeps


def slider_sweeps(words: Sequence[str], fixed: Sequence[Slider], of_what: str) -> list[Sweep]:
    """Sweeps of sliders alone, for faces in three dimensions, which have no directions of codes; as `sweeps_of`.

    Args:
        words: NAME=FROM:TO:FRAMES.
        fixed: What is asked for in all frames.
        of_what: Can be swept, for the message.

    Raises:
        InputError: as `sweeps_of`, and for a direction.
    """
    for word in words:
        if ":" in word.rpartition("=")[0]:
            raise InputError(
                f"expected --sweep NAME=FROM:TO:FRAMES of {of_what}, got {word!r}; 'lightning edit' moves codes along directions"
            )
    return [each for each in sweeps_of(words, fixed) if isinstance(each, Sweep)]


def said(name: str) -> str:
    """A slider's name as the command line and its tables spell it, with its unit where that is degrees."""
    return f"{name}{_DEGREES}" if unit_of(name) == "degrees" else name


def _spelled_direction(word: str) -> tuple[str, str]:
    """File and name of FILE:NAME=..."""
    place, equals, _ = word.rpartition("=")
    file, colon, name = place.rpartition(":")
    if not (equals and colon and file and name):
        raise InputError(
            f"expected --direction FILE:NAME=AMOUNT such as directions.safetensors:yaw=1.5, got {word!r}; correct it"
        )
    return file, name


def _direction(word: str, files: Mapping[str, LatentDirections]) -> LatentDirection:
    file, name = _spelled_direction(word)
    return files[file].named(name)


def _swept(name: str) -> tuple[str, bool]:
    """Slider and whether it is relative, of a name such as yaw-by-deg, light-strength-by or smile."""
    spelled = name.replace("-", "_")
    degrees = spelled.endswith(_DEGREES)
    bare = spelled.removesuffix(_DEGREES)
    relative = bare.endswith(_BY)
    bare = bare.removesuffix(_BY)
    if not degrees and bare in FIXED_SLIDERS and unit_of(bare) == "degrees":
        raise InputError(
            f"expected an angle in degrees to be named so, got {name}; write {bare.replace('_', '-')}-deg=FROM:TO:FRAMES"
        )
    if bare.startswith(_LIGHT):
        bare = _light_slider(bare.removeprefix(_LIGHT) + (_DEGREES if degrees else ""), "--sweep light-")
    elif degrees and (bare not in FIXED_SLIDERS or unit_of(bare) != "degrees"):
        raise InputError(
            f"expected yaw-deg, pitch-deg, roll-deg or an angle of the light in degrees, got {name}; leave out -deg"
        )
    return bare, relative


def _light_slider(name: str, option: str) -> str:
    """The slider of azimuth_deg, elevation_deg, strength, brightness or warmth."""
    sliders = {said(slider).removeprefix(_LIGHT): slider for slider in FIXED_SLIDERS if slider.startswith(_LIGHT)}
    if name in sliders:
        return sliders[name]
    known = ", ".join(each.replace("_", "-") for each in sliders)
    near = difflib.get_close_matches(name, sliders, n=1, cutoff=0.5)
    raise InputError(
        f"expected one of {known} for {option}, got {name!r}; "
        + (f"did you mean {near[0].replace('_', '-')}?" if near else "correct the name")
    )


def _assignments(option: str, words: Sequence[str], example: str) -> list[tuple[str, float]]:
    """(name with underscores, number) of each NAME=VALUE."""
    pairs = []
    for word in words:
        name, equals, value = word.partition("=")
        if not name.strip() or not equals:
            raise InputError(f"expected {option} NAME=VALUE such as {example}, got {word!r}; correct it")
        pairs.append((name.strip().replace("-", "_"), _number(value, option, word)))
    return pairs


def _number(text: str, option: str, word: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"expected a finite number for {option}, got {text!r} in {word!r}; correct it")
    return value


def _check_once(names: Sequence[str]) -> None:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(
            f"expected {said(twice[0])} once, whether absolute, by, or swept, got it {names.count(twice[0])} times; keep one"
        )
