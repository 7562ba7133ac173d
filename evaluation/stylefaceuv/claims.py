"""What the StyleFaceUV paper claims, against the tables of runs: each claim with its measure and whether it holds here.

Where faces are compared one by one, two ways are told apart if their difference is above `SURE` standard errors; nearer ones, and claims
whose tables are not there, get no verdict.
"""

import math
from collections.abc import Sequence

from evaluation.claims import Claim, unmeasured
from evaluation.figures import Cell, Figure
from evaluation.pie.claims import SURE
from evaluation.run_records import RunRecord
from evaluation.stylefaceuv import frechet, image_measures, turning, under_test, view_consistency
from evaluation.stylefaceuv.identity_against_yaw import CUT_OUT, LARGE, SMALL, SUMMARY

_FIG_1, _FIG_3, _FIG_4 = "Fig. 1, section 3.3", "Fig. 3, section 3.3", "Fig. 4, section 4.2"
_SIZES = (SMALL, LARGE)
# Columns of the image measures, and whether more is better.
_MEASURES = {
    "psnr_db": True,
    "ssim": True,
    "perceptual": False,
    "identity_cosine": True,
    "judged_identity_claims_spreads": False,
}


def stylefaceuv_claims(runs: Sequence[RunRecord], labels: Sequence[str]) -> list[Claim]:
    """All claims that the tables of runs can tell about; none where no run has such tables."""
    claims: list[Claim] = []
    for run, label in zip(runs, labels, strict=True):
        figures = run.figures
        if image_measures.TABLE in figures:
            claims += detail_claims(label, figures[image_measures.TABLE])
        if view_consistency.TABLE in figures:
            claims += view_claims(label, figures[view_consistency.TABLE])
        for name, what in ((CUT_OUT, "faces alone"), ("", "whole pictures")):
            if SUMMARY + name in figures:
                claims += turn_claims(f"{label}, {what}", figures[SUMMARY + name])
        if frechet.TABLE in figures:
            claims += frechet_claims(label, figures[frechet.TABLE])
    return claims


def detail_claims(label: str, table: Figure) -> list[Claim]:
    """That the maps bring renders nearer to the pictures than the coefficients alone, in each view and by each measure that was taken."""
    text = "Faces from the coefficients alone lack details that the two maps recover."
    rows = {(_text(table, row, "view"), _text(table, row, "face")): row for row in table.rows}
    claims = []
    for view in dict.fromkeys(view for view, _ in rows):
        coarse, detailed = rows.get((view, under_test.COARSE)), rows.get((view, under_test.DETAILED))
        for column, more in _MEASURES.items():
            if coarse is None or detailed is None or column not in table.columns:
                continue
            values = {"coarse": _number(table, coarse, column), "detailed": _number(table, detailed, column)}
            if any(math.isnan(value) for value in values.values()):
                continue
            gap = values["detailed"] - values["coarse"]
            error = _number(table, detailed, column + image_measures.ERROR)
            sure = abs(gap) > SURE * error
            measure = (
                f"{label}, {view} view: {column}, {'higher' if more else 'lower'} is nearer to the picture; "
                f"difference {gap:+.2g} ± {error:.1g}"
            )
            missing = "" if sure else "more codes to tell the two apart"
            claims.append(Claim(text, _FIG_1, measure, values, (gap > 0) == more if sure else None, missing))
    return claims or [unmeasured(text, _FIG_1, f"coarse and detailed faces in {image_measures.TABLE} of {label}")]


def view_claims(label: str, table: Figure) -> list[Claim]:
    """That training on two views is better on the side that the original view does not see than training on one."""
    text = "A single view leaves artifacts on the other side of the face, which the symmetric view removes."
    column = "rmse"
    rows = {tuple(_text(table, row, name) for name in ("against", "side", "face")): row for row in table.rows}
    claims = []
    for against in dict.fromkeys(place[0] for place in rows):
        found = {
            name: rows.get((against, view_consistency.HIDDEN, name))
            for name in (under_test.ONE_VIEW, under_test.DETAILED)
        }
        values = {name: _number(table, row, column) for name, row in found.items() if row is not None}
        if len(values) < len(found) or any(math.isnan(value) for value in values.values()):
            claims.append(unmeasured(text, _FIG_3, f"a UV generator trained on one view (one_view) in {label}"))
            continue
        one_view = rows[against, view_consistency.HIDDEN, under_test.ONE_VIEW]
        gap, error = (_number(table, one_view, name) for name in view_consistency.DIFFERENCE)
        sure = abs(gap) > SURE * error
        trained = " (two views were trained towards such pictures)" if against == view_consistency.MOVED else ""
        measure = f"{label}, against the {against}{trained}: {column} of colours on the hidden side; difference {gap:+.2g} ± {error:.1g}"
        missing = "" if sure else "more faces to tell the two apart"
        claims.append(Claim(text, _FIG_3, measure, values, gap > 0 if sure else None, missing))
    return claims


def turn_claims(label: str, table: Figure) -> list[Claim]:
    """That identity survives large turns of the detailed face better than those of 2D edits, and that moving along d loses it."""
    # The detailed face is the first way: differences are from it.
    first = table.rows[0][0]
    column = "similarity_to_picture"
    rows = {(str(row[0]), str(_cell(table, row, "turns"))): row for row in table.rows}
    claims = []
    for way in (turning.MOVED, turning.RIGGED):
        text = f"The detailed face keeps its identity under large turns better than {way}."
        names = [name for name, turns in rows if turns == LARGE and name.removesuffix(turning.ALONE) == way]
        if not names or (first, LARGE) not in rows:
            claims.append(unmeasured(text, _FIG_4, f"{way} turned by {LARGE} in {label}"))
            continue
        row = rows[names[0], LARGE]
        values = {str(first): _number(table, rows[str(first), LARGE], column), way: _number(table, row, column)}
        reached = {name: _number(table, rows[name, LARGE], "yaw_error_deg") for name in (str(first), names[0])}
        gap, error = _number(table, row, "picture_less_than_first"), _number(table, row, "picture_less_than_first_se")
        errors = ", ".join(f"{name} {value:.0f}" for name, value in reached.items() if not math.isnan(value))
        measure = f"{label}: {column} over yaws of {LARGE}; difference {gap:+.2g} ± {error:.1g}" + (
            f"; mean error of the yaw, degrees: {errors}" if errors else ""
        )
        # NaN where one face alone was turned: no verdict either.
        sure = abs(gap) > SURE * error
        missing = "" if sure else f"more faces to tell it from {way}"
        claims.append(Claim(text, _FIG_4, measure, values, gap < 0 if sure else None, missing))
        claims += judged_identity_claims(text, _FIG_4, label, table, rows[str(first), LARGE], row)
    moved = [name for name, _ in rows if name.removesuffix(turning.ALONE) == turning.MOVED]
    if moved:
        values = {turns: _number(table, rows[moved[0], turns], column) for turns in _SIZES if (moved[0], turns) in rows}
        if len(values) == len(_SIZES):
            small, large = values.values()
            text = "Moving along d loses the content of the picture as the yaw grows."
            claims.append(Claim(text, _FIG_4, f"{label}: {column} by size of the turn", values, large < small))
    return claims


def judged_identity_claims(
    text: str, source: str, label: str, table: Figure, first: tuple[Cell, ...], row: tuple[Cell, ...]
) -> list[Claim]:
    """That identity survives large turns, by what no training looked through; nothing where nobody judged, as of faces on black."""
    column = "identity_change_by_judge_spreads"
    values = {str(each[0]): _number(table, each, column) for each in (first, row)}
    gap, error = _number(table, row, "judge_less_than_first"), _number(table, row, "judge_less_than_first_se")
    if math.isnan(gap):
        return []
    sure = abs(gap) > SURE * error
    measure = f"{label}: {column} over yaws of {LARGE}, less is better; difference {gap:+.2g} ± {error:.1g}"
    missing = "" if sure else f"more faces to tell it from {row[0]}"
    return [Claim(text, source, measure, values, gap > 0 if sure else None, missing)]


def frechet_claims(label: str, table: Figure) -> list[Claim]:
    """That pictures with the detailed face pasted in are nearer to real ones than those with the coarse face, as the same kind of paste."""
    text, source = "With the maps, pictures with the render pasted in are closer to real ones.", "section 4.3"
    column = next(name for name in table.columns if name.endswith("_to_real"))
    own = {
        str(row[0]): _number(table, row, column)
        for row in table.rows
        if (row[1], row[2]) == (frechet.OWN_POSE, frechet.HARD)
    }
    values = {name: own[name] for name in (turning.COARSE, turning.DETAILED) if name in own}
    if len(values) < 2:
        return [unmeasured(text, source, f"coarse and detailed faces in {frechet.TABLE} of {label}")]
    holds = values[turning.DETAILED] < values[turning.COARSE]
    return [Claim(text, source, f"{label}: {column}, own pose, hard edge", values, holds)]


def _cell(table: Figure, row: tuple[Cell, ...], column: str) -> Cell:
    return row[table.columns.index(column)]


def _text(table: Figure, row: tuple[Cell, ...], column: str) -> str:
    return str(_cell(table, row, column))


def _number(table: Figure, row: tuple[Cell, ...], column: str) -> float:
    value = _cell(table, row, column)
    return float(value) if isinstance(value, int | float) else math.nan
