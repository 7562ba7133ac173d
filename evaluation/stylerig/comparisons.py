"""What the StyleRig paper claims of its method against its baselines (section 8.4) and of all-in-one networks (supplement 2)."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from evaluation.claims import Claim, unmeasured
from evaluation.run_records import differing_keys
from evaluation.stylerig.runs import Kind, RigRun, nearest
from renderers.errors import InputError

_STEERING = "Steering, which does not see the code, cannot deform the faces as asked: the full method can."
_RECONSTRUCTION = "Without the reconstruction loss codes drift from those of the generator, and image quality degrades."
_CONSISTENCY = "Without the consistency loss an edit changes other properties as well."
_GRADUAL = "All losses are lower for smaller edits."
_ROTATION = "For large rotations the all-in-one network is worse at reaching the pose than the single one."
_EXPRESSION = "For expressions the single network preserves other properties better than the all-in-one one."
_FIG_8, _SUPPLEMENT = "section 8.4, Fig. 8", "supplement 2, Fig. 2"


def comparison_claims(runs: Sequence[RigRun]) -> list[Claim]:
    """All of them, for each component and baseline that the runs have."""
    full = [run for run in runs if run.kind == "full"]
    return [
        *_against_baseline(runs, "steering", _STEERING, steering_claim),
        *_against_baseline(runs, "without reconstruction", _RECONSTRUCTION, quality_claim),
        *_against_baseline(runs, "without consistency", _CONSISTENCY, consistency_claim),
        *_gradual(full),
        *_single_against_all(full, "rotation", _ROTATION, "edit_loss"),
        *_single_against_all(full, "expression", _EXPRESSION, "consistency_loss"),
    ]


Labels = tuple[str, str]
Edits = Mapping[str, Any]


def steering_claim(component: str, labels: Labels, full: Edits, baseline: Edits) -> Claim:
    """Whether the full method leaves less of the error that an edit is to remove.

    Args:
        component: That was edited.
        labels: Of the full method's run and the baseline's.
        full, baseline: Measurements of their edits: `evaluation.stylerig.edits.EditMeasurement.as_dict`.
    """
    return _lower(
        _STEERING, f"{component}: error left by an edit over that of none", labels, _of(full, "error_ratio"), _of(baseline, "error_ratio")
    )


def quality_claim(component: str, labels: Labels, full: Edits, baseline: Edits) -> Claim:
    """Whether pictures edited by the full method are nearer to unedited ones; arguments as of `steering_claim`."""
    measure = f"{component}: Fréchet distance of edited to unedited pictures in the judge's features"
    return _lower(_RECONSTRUCTION, measure, labels, _of(full, "frechet_to_unedited"), _of(baseline, "frechet_to_unedited"))


def consistency_claim(component: str, labels: Labels, full: Edits, baseline: Edits) -> Claim:
    """Whether the full method changes less of the rest: the geometric mean over all that should stay of the ratio of both methods'
    changes, which weighs degrees and spreads alike; arguments as of `steering_claim`."""
    changes, others = (edits.get("edited", {}).get("changes", {}) for edits in (full, baseline))
    names = [name for name in changes if changes[name] and others.get(name)]
    if not names:
        return unmeasured(_CONSISTENCY, _FIG_8, f"readings by the judge of what edits of the {component} should leave alone")
    ratio = math.exp(sum(math.log(others[name] / changes[name]) for name in names) / len(names))
    values = {f"{name}, {label}": float(each[name]) for name in names for label, each in zip(labels, (changes, others), strict=True)}
    measure = (
        f"{component}: changes of the rest by {labels[1]} over those by {labels[0]}, geometric mean; must be above 1. Errors left "
        f"beside: {_of(full, 'error_ratio'):.2g} and {_of(baseline, 'error_ratio'):.2g}"
    )
    return Claim(_CONSISTENCY, _FIG_8, measure, {"ratio": ratio, **values}, ratio > 1)


def _of(edits: Edits, name: str) -> float:
    value = edits.get(name)
    return float(value) if isinstance(value, int | float) else math.nan


def _lower(text: str, measure: str, labels: Labels, full: float, baseline: float, source: str = _FIG_8) -> Claim:
    if math.isnan(full) or math.isnan(baseline):
        return unmeasured(text, source, f"{measure}, of {labels[0]} and {labels[1]}")
    values = dict(zip(labels, (full, baseline), strict=True))
    return Claim(text, source, f"{measure}; must be lower for {labels[0]}", values, full < baseline)


def _against_baseline(
    runs: Sequence[RigRun], kind: Kind, text: str, claim: Callable[[str, Labels, Edits, Edits], Claim]
) -> list[Claim]:
    """The claim for each run of the baseline and each component, against the full method under the settings nearest to its own."""
    found = []
    for run in runs:
        full = nearest(run, [other for other in runs if other.kind == "full"]) if run.kind == kind else None
        for component in run.components if full is not None else ():
            assert full is not None
            if component in run.edits and component in full.edits:
                try:
                    edits = full.edits[component], run.edits[component]
                    found.append(_of_equals(claim(component, (full.label, run.label), *edits), full, run, *edits))
                except (TypeError, AttributeError, ValueError) as error:
                    raise InputError(
                        f"expected measured edits of the {component} in {full.label} and {run.label}, they cannot be read ({error}); "
                        "test these runs again"
                    ) from error
    needs = f"a run of the baseline ({kind}) and one of the full method with the same generator and controls, both with measured edits"
    return found or [unmeasured(text, _FIG_8, needs)]


# What makes a run one of the paper's baselines.
_OF_KINDS = tuple(f"model.settings.{name}" for name in ("network", "reconstruction", "consistency"))


def _of_equals(claim: Claim, full: RigRun, baseline: RigRun, full_edits: Edits, baseline_edits: Edits) -> Claim:
    """A claim about two runs, without a verdict where their edits were not measured alike, and with what else their trainings differ
    in."""
    readers = [edits.get("reader") for edits in (full_edits, baseline_edits)]
    if readers[0] != readers[1]:
        return unmeasured(
            claim.text, claim.source, f"edits by {full.label} and {baseline.label} read by one reader, not by {readers[0]} and {readers[1]}"
        )
    others = [key for key in differing_keys([full.settings, baseline.settings]) if key not in _OF_KINDS]
    return claim if not others else replace(claim, measure=f"{claim.measure}. Their trainings differ in {', '.join(others)} as well")


def _gradual(runs: Sequence[RigRun]) -> list[Claim]:
    found = []
    for run in runs:
        for component in run.components:
            losses = {
                f"{loss.replace('_', ' ')}, {end} edits": run.number("losses_by_edit_size", component, f"{loss}_{end}")
                for loss in ("edit_loss", "consistency_loss")
                for end in ("smallest", "largest")
            }
            known = {name: value for name, value in losses.items() if value is not None}
            if len(known) == len(losses):
                found.append(gradual_claim(component, run.label, known))
    return found or [unmeasured(_GRADUAL, _SUPPLEMENT, "a run of the full method with the figure losses_by_edit_size")]


def gradual_claim(component: str, label: str, losses: Mapping[str, float]) -> Claim:
    """Whether both losses are lower in the bin of the smallest edits than in that of the largest.

    Args:
        component: That was edited.
        label: Of the run.
        losses: Edit loss of the smallest and the largest edits, then consistency loss of the same.
    """
    edit_small, edit_large, kept_small, kept_large = losses.values()
    if not all(math.isfinite(loss) for loss in losses.values()):
        return unmeasured(_GRADUAL, _SUPPLEMENT, f"finite losses of edits of the {component} by {label}")
    measure = f"{label}, {component}: mean losses of the smallest and the largest edits"
    return Claim(_GRADUAL, _SUPPLEMENT, measure, losses, edit_small < edit_large and kept_small < kept_large)


def _single_against_all(runs: Sequence[RigRun], component: str, text: str, loss: str) -> list[Claim]:
    found = []
    for several in (run for run in runs if not run.is_single and component in run.components):
        for single in (run for run in runs if run.components == (component,) and run.generator == several.generator):
            numbers = [run.number("losses_by_edit_size", component, f"{loss}_largest") for run in (single, several)]
            if None not in numbers:
                first, second = (math.nan if value is None else value for value in numbers)
                measure = f"{component}: {loss.replace('_', ' ')}, mean over the largest edits"
                found.append(_lower(text, measure, (single.label, several.label), first, second, _SUPPLEMENT))
    needs = f"a single network for {component} and an all-in-one one for the same generator, both with the figure losses_by_edit_size"
    return found or [unmeasured(text, _SUPPLEMENT, needs)]
