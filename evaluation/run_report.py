"""A page that shows runs side by side, made of what they left in their folders."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.claims import add_claims
from evaluation.lifted_gan.claims import lifted_gan_claims
from evaluation.pie.claims import SURE, pie_claims
from evaluation.report import Report
from evaluation.run_comparison import add_figures, add_metrics, add_overview, metrics_csv, number_table
from evaluation.run_records import RunRecord
from evaluation.stylefaceuv.claims import stylefaceuv_claims
from evaluation.stylerig.claims import stylerig_claims
from evaluation.stylerig.runs import edits_of, rig_runs

# Numbers of a measurement of edits in the order of the table; changes of the rest follow.
_EDIT_NUMBERS = {
    "pairs": "pairs of codes",
    "error_ratio": "error left, over that of none",
    "slope": "achieved per asked",
    "yaw_slope": "yaw achieved per yaw asked",
    "frechet_to_unedited": "Fréchet distance to unedited pictures",
    "frechet_between_codes": "Fréchet distance between codes",
    "code_change": "change of the codes, deviations of W",
}

Numbers = dict[str, list[float | None]]


def compare_runs(runs: Sequence[RunRecord], labels: Sequence[str], title: str) -> tuple[Report, str]:
    """The page, and its metrics and measurements as CSV with a row per number and a column per run.

    Args:
        runs: What to show, in this order.
        labels: A name for each.
        title: Of the page.
    """
    report = Report(title, wide=True)
    add_overview(report, runs, labels)
    of_rigs = rig_runs(runs, labels)
    if of_rigs:
        report.heading("What the paper claims")
        report.paragraph(
            "Claims of StyleRig (Tewari et al., CVPR 2020), which shows most of them in pictures; the measures are ours. Verdicts compare "
            "plain numbers of these runs: one training run of each kind cannot tell small differences from chance."
        )
        add_claims(report, stylerig_claims(of_rigs))
    of_embeddings = pie_claims(runs, labels)
    if of_embeddings:
        report.heading("What PIE claims of its settings")
        report.paragraph(
            "Claims of PIE (Tewari et al., SIGGRAPH Asia 2020). Two settings are told apart where their difference over the same portraits "
            f"is above {SURE:g} standard errors."
        )
        add_claims(report, of_embeddings)
    of_faces = stylefaceuv_claims(runs, labels)
    if of_faces:
        report.heading("What StyleFaceUV claims")
        report.paragraph(
            "Claims of StyleFaceUV (Chung et al., BMVC 2022), which shows most of them in pictures; the measures are ours. Faces are told "
            f"apart where their difference over the same codes is above {SURE:g} standard errors; Fréchet distances, and what moving along "
            "d loses, compare plain numbers. One training run of each kind cannot tell small differences from chance."
        )
        add_claims(report, of_faces)
    of_lifted = lifted_gan_claims(runs, labels)
    if of_lifted:
        report.heading("What LiftedGAN claims")
        report.paragraph(
            "Claims of LiftedGAN (Shi et al., CVPR 2021); the measures are ours where its tables have none. Ways of turning faces are told "
            f"apart where their difference over the same faces is above {SURE:g} standard errors; other verdicts compare plain numbers of "
            "these runs: one training run of each kind cannot tell small differences from chance."
        )
        add_claims(report, of_lifted)
    edits = edit_numbers(runs)
    if edits:
        report.heading("Measured edits")
        report.paragraph(
            "A component of one code is asked of another, over unseen pairs; medians. Errors and changes are in degrees for the rotation, "
            "else root mean squares in spreads of each coefficient."
        )
        for reader in _readers(runs, labels):
            report.paragraph(reader)
        number_table(report, "edits", edits, labels)
    add_metrics(report, runs, labels)
    others = other_numbers(runs)
    if others:
        report.heading("Other measurements")
        number_table(report, "file: number", others, labels)
    add_figures(report, runs, labels)
    return report, metrics_csv(runs, labels, edits | others)


def edit_numbers(runs: Sequence[RunRecord]) -> Numbers:
    """Numbers of measured edits, "component: number", one for each run; None where a run has none."""
    each = [
        {f"{component}: {name}": value for component, values in edits_of(run).items() for name, value in _of_edits(values).items()}
        for run in runs
    ]
    return _joined(each)


def other_numbers(runs: Sequence[RunRecord]) -> Numbers:
    """Numbers in JSON files of the runs other than measured edits, "file: key.key"."""
    return _joined(
        [
            {
                f"{stem}: {name}": value
                for stem, values in run.measurements.items()
                if not stem.endswith("_edits")
                for name, value in _scalars(values)
            }
            for run in runs
        ]
    )


def _of_edits(values: Mapping[str, Any]) -> dict[str, float]:
    numbers = {text: values.get(name) for name, text in _EDIT_NUMBERS.items()}
    for stage in ("unedited", "edited"):
        numbers |= {f"{stage}, {name.replace('.', ' of ').replace('_', ' ')}": value for name, value in _scalars(values.get(stage))}
    numbers |= {f"change of {name} over style mixing's": value for name, value in _scalars(values.get("change_ratio"))}
    numbers |= {f"known people, {name.replace('_', ' ')}": value for name, value in _scalars(values.get("known_people"))}
    return {name: float(value) for name, value in numbers.items() if isinstance(value, int | float)}


def _scalars(value: Any, prefix: str = "") -> list[tuple[str, float]]:
    """Numbers of nested mappings by their keys joined with dots; lists hold curves and are left to figures."""
    if isinstance(value, Mapping):
        return [pair for key, item in value.items() for pair in _scalars(item, f"{prefix}.{key}" if prefix else str(key))]
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return [(prefix, float(value))] if is_number else []


def _joined(each: Sequence[Mapping[str, float]]) -> Numbers:
    names = dict.fromkeys(name for numbers in each for name in numbers)
    # In the order of the fullest run; what it lacks comes after.
    fullest = max(each, key=len)
    ordered = sorted(names, key=lambda name: list(fullest).index(name) if name in fullest else len(fullest))
    return {name: [numbers.get(name) for numbers in each] for name in ordered}


def _readers(runs: Sequence[RunRecord], labels: Sequence[str]) -> list[str]:
    """Who read the edits of which runs: numbers of different readers are not comparable."""
    read: dict[str, list[str]] = {}
    for run, label in zip(runs, labels, strict=True):
        for reader in dict.fromkeys(str(values["reader"]) for values in edits_of(run).values() if "reader" in values):
            read.setdefault(reader, []).append(label)
    return [f"Read by {reader}: {', '.join(of_runs)}." for reader, of_runs in read.items()]
