"""What the PIE paper claims of its settings, against the tables of runs: each claim with its measure and whether it holds here.

Two settings, or edits with and without feedback, are told apart where their difference over the same portraits is above `SURE` standard
errors; nearer ones, and claims whose settings were not measured, get no verdict.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluation.claims import Claim, unmeasured
from evaluation.figures import Cell, Figure
from evaluation.pie.edit_sizes import BINNED
from evaluation.pie.feedback import TABLE as FEEDBACK
from evaluation.pie.pose_edits import DIFFERENCES, TABLE
from evaluation.pie.published import ALL_TERMS, DIRECT, IMAGE2STYLEGAN, MODIFICATION, RECOGNITION, SYNTHESIS, TABLE_2
from evaluation.run_records import RunRecord

# Chosen by us: about 95 % of a normal distribution.
SURE = 2.0

_TABLE_2 = "Table 2, section 5.2"
_ERRORS = {"editing_error_rad": "by MoFA", "editing_error_judge_rad": "by the judge"}
_RECOGNITION = {"recognition_error": "by Psi", "recognition_error_judge_spreads": "by the judge"}


@dataclass(frozen=True)
class _Ranked:
    """That one setting has the lowest or the highest number of a column.

    Attributes:
        text: The claim.
        best: The setting.
        others: Those that it is compared with.
        columns: Of Table 2, to who measured.
        lowest: Whether its number is the lowest, else the highest.
    """

    text: str
    best: str
    others: tuple[str, ...]
    columns: Mapping[str, str]
    lowest: bool


_ALL = tuple(TABLE_2)
_RANKED = (
    _Ranked(
        "Image2StyleGAN has the highest quality of fit.",
        IMAGE2STYLEGAN,
        _ALL,
        {"psnr_db": "PSNR, dB", "ssim": "SSIM"},
        False,
    ),
    _Ranked("Image2StyleGAN preserves identity worst under edits.", IMAGE2STYLEGAN, _ALL, _RECOGNITION, False),
    _Ranked("All terms together preserve identity best under edits.", ALL_TERMS, _ALL, _RECOGNITION, True),
    _Ranked("Synthesis with the modification terms edits most exactly.", MODIFICATION, _ALL, _ERRORS, True),
    _Ranked(
        "Without the recognition terms the identity changes during editing.",
        ALL_TERMS,
        (MODIFICATION, SYNTHESIS),
        _RECOGNITION,
        True,
    ),
    _Ranked("Without the modification terms the editing error is higher.", ALL_TERMS, (RECOGNITION,), _ERRORS, True),
    _Ranked(
        "Without the modification terms the recognition error is higher.", ALL_TERMS, (RECOGNITION,), _RECOGNITION, True
    ),
    _Ranked(
        "Hierarchical optimisation preserves identity better than direct optimisation.",
        ALL_TERMS,
        (DIRECT,),
        _RECOGNITION,
        True,
    ),
)


def pie_claims(runs: Sequence[RunRecord], labels: Sequence[str]) -> list[Claim]:
    """All claims that the tables of runs can tell about; none where no run has such tables."""
    claims: list[Claim] = []
    for run, label in zip(runs, labels, strict=True):
        if TABLE in run.figures and DIFFERENCES in run.figures:
            claims += ranking_claims(label, run.figures[TABLE], run.figures[DIFFERENCES])
        if BINNED in run.figures:
            claims += edit_size_claims(label, run.figures[BINNED])
        if FEEDBACK in run.figures:
            claims += feedback_claims(label, run.figures[FEEDBACK])
    return claims


def ranking_claims(label: str, table: Figure, differences: Figure) -> list[Claim]:
    """The order of settings in Table 2, by every reader.

    Args:
        label: Of the run.
        table, differences: From `pose_edit_figures`.
    """
    # The main group's rows come first.
    over = _cell(table, table.rows[0], "over")
    rows = {str(row[0]): row for row in table.rows if _cell(table, row, "over") == over}
    claims = []
    for claim in _RANKED:
        for column, who in claim.columns.items():
            others = [other for other in claim.others if other != claim.best and other in rows]
            missing = [name for name in dict.fromkeys((claim.best, *claim.others)) if name not in rows]
            if claim.best not in rows or not others:
                claims.append(
                    unmeasured(claim.text, _TABLE_2, f"the settings {', '.join(missing)} in the tables of {label}")
                )
                continue
            values = {name: _number(table, rows[name], column) for name in (claim.best, *others)}
            gaps = {other: _difference(differences, claim.best, other, column) for other in others}
            if any(math.isnan(value) for value in values.values()):
                claims.append(unmeasured(claim.text, _TABLE_2, f"a judge in the tables of {label}"))
                continue
            claims.append(_ranked(claim, f"{label}, {over}, {column} {who}", values, gaps, missing))
    return claims


def edit_size_claims(label: str, binned: Figure) -> list[Claim]:
    """Whether larger edits have larger errors (Fig. 13): the first and the last bin of the method's edits."""
    text, source = "Larger edits lead to both higher editing and recognition errors.", "Fig. 13"
    rows = [row for row in binned.rows if row[0] == ALL_TERMS]
    if len(rows) < 2:
        return [unmeasured(text, source, f"edits of {ALL_TERMS} in several bins in {label}")]
    claims = []
    for columns in zip(_ERRORS, _RECOGNITION, strict=True):
        values = {
            f"{column}, {end} edits": _number(binned, row, column) for column in columns for end, row in _ends(rows)
        }
        if any(math.isnan(value) for value in values.values()):
            claims.append(unmeasured(text, source, f"a judge in the tables of {label}"))
            continue
        edit_small, edit_large, kept_small, kept_large = values.values()
        measure = f"{label}: means over the smallest and the largest edits"
        claims.append(Claim(text, source, measure, values, edit_small < edit_large and kept_small < kept_large))
    return claims


def feedback_claims(label: str, table: Figure) -> list[Claim]:
    """Whether one round of feedback makes edits by the method more accurate, for each component and reader."""
    text, source = "A simple feedback loop makes edits more accurate.", "section 5, supplement"
    claims = []
    for component in dict.fromkeys(str(_cell(table, row, "component")) for row in table.rows):
        by_rounds = {
            _number(table, row, "rounds"): row
            for row in table.rows
            if row[0] == ALL_TERMS and _cell(table, row, "component") == component
        }
        for column, change in (
            ("editing_error", "change_by_feedback"),
            ("editing_error_judge", "change_by_feedback_judge"),
        ):
            values = {
                f"{rounds:.0f} rounds": _number(table, row, column)
                for rounds, row in by_rounds.items()
                if rounds in (0.0, 1.0)
            }
            if len(values) < 2 or any(math.isnan(value) for value in values.values()):
                claims.append(
                    unmeasured(
                        text, source, f"edits of the {component} of {ALL_TERMS} with and without feedback in {label}"
                    )
                )
                continue
            gap, error = (_number(table, by_rounds[1.0], name) for name in (change, f"{change}_se"))
            measure = f"{label}, {component}: {column}, mean; change by feedback {gap:+.2g} ± {error:.1g}"
            # NaN where one portrait alone was edited: no verdict either.
            sure = abs(gap) > SURE * error
            missing = "" if sure else "more portraits to tell feedback from none"
            claims.append(Claim(text, source, measure, values, gap < 0 if sure else None, missing))
    return claims


def _ranked(
    claim: _Ranked,
    measure: str,
    values: Mapping[str, float],
    gaps: Mapping[str, tuple[float, float]],
    missing: Sequence[str],
) -> Claim:
    sign = 1 if claim.lowest else -1
    # How many standard errors each other setting is on the wrong side of the best.
    wrong = {other: sign * gap / error if error > 0 else math.nan for other, (gap, error) in gaps.items()}
    nearest = ", ".join(f"{other} {gap:+.2g} ± {error:.1g}" for other, (gap, error) in gaps.items())
    measure = (
        f"{measure}; must be {'lowest' if claim.lowest else 'highest'} for {claim.best}; differences from it: {nearest}"
    )
    if any(value > SURE for value in wrong.values()):
        return Claim(claim.text, _TABLE_2, measure, values, False)
    unsure = [other for other, value in wrong.items() if not value < -SURE]
    if unsure:
        needs = f"more portraits to tell {claim.best} from {', '.join(unsure)}"
        return Claim(claim.text, _TABLE_2, measure, values, None, needs)
    if missing:
        return Claim(
            claim.text,
            _TABLE_2,
            measure,
            values,
            None,
            f"the settings {', '.join(missing)}, too; it holds among the rest",
        )
    return Claim(claim.text, _TABLE_2, measure, values, True)


def _difference(differences: Figure, first: str, second: str, column: str) -> tuple[float, float]:
    """The first setting's number less the second's, with its standard error; NaN where the table has no such pair."""
    for row in differences.rows:
        if {row[0], row[1]} == {first, second}:
            gap, error = _number(differences, row, column), _number(differences, row, f"{column}_se")
            return (gap if row[0] == first else -gap), error
    return math.nan, math.nan


def _ends(rows: Sequence[tuple[Cell, ...]]) -> tuple[tuple[str, tuple[Cell, ...]], ...]:
    return ("smallest", rows[0]), ("largest", rows[-1])


def _cell(table: Figure, row: tuple[Cell, ...], column: str) -> Cell:
    return row[table.columns.index(column)]


def _number(table: Figure, row: tuple[Cell, ...], column: str) -> float:
    value = _cell(table, row, column)
    return float(value) if isinstance(value, int | float) else math.nan
