"""What the LiftedGAN paper claims, against the tables of runs: each claim with its measure and whether it holds here.

Where faces are compared one by one, two ways are told apart if their difference is above `SURE` standard errors; nearer ones, and claims
whose tables are not there, get no verdict. Other verdicts compare plain numbers.
"""

import math
from collections.abc import Sequence

from evaluation.claims import Claim, unmeasured
from evaluation.figures import Cell, Figure
from evaluation.lifted_gan import ablation, frechet, identities, interpolated_figure, relit_figure, style_figure
from evaluation.lifted_gan.published import NO_ALBEDO, NO_FLIP, NO_IDENTITY, NO_PERTURBATION, PROPOSED
from evaluation.lifted_gan.shape_errors import JUDGED
from evaluation.lifted_gan.turned_figures import TURNS
from evaluation.lifted_gan.turning import MANIPULATED, RENDERED
from evaluation.pie.claims import SURE
from evaluation.run_records import RunRecord
from evaluation.stylefaceuv.claims import judged_identity_claims
from evaluation.stylefaceuv.identity_against_yaw import LARGE, LARGE_TURN_DEG, TRUE_TURNS
from evaluation.stylefaceuv.published import FID

# Said of each ablation in section 5.3, and with it Table 2.
_TERMS = {
    NO_FLIP: "Without the symmetric reconstruction the model is not able to output a reasonable shape.",
    NO_PERTURBATION: "The perturbation loss is helpful for learning detailed and realistic shapes.",
    NO_IDENTITY: "The identity loss regularises the output shape.",
    NO_ALBEDO: "The albedo consistency loss regularises the output shape.",
}
# A step of an interpolation that takes more than this part of the way, over an even one's, is a jump: ours.
_JUMP = 3.0
_FIG_7 = "Fig. 7, section 5.2"


def lifted_gan_claims(runs: Sequence[RunRecord], labels: Sequence[str]) -> list[Claim]:
    """All claims that the tables of runs can tell about; none where no run has such tables."""
    claims: list[Claim] = []
    for run, label in zip(runs, labels, strict=True):
        figures = run.figures
        if TURNS["yaw"] in figures:
            claims += rotation_claims(label, figures[TURNS["yaw"]])
        if relit_figure.NAME in figures:
            claims += lighting_claims(label, figures[relit_figure.NAME])
        if interpolated_figure.NAME in figures:
            claims += interpolation_claims(label, figures[interpolated_figure.NAME])
        if identities.SUMMARY in figures:
            claims += identity_claims(label, figures[identities.SUMMARY])
        if style_figure.NAME in figures:
            claims += style_claims(label, figures[style_figure.NAME])
        if ablation.TABLE in figures:
            claims += ablation_claims(label, figures[ablation.TABLE])
        if frechet.TABLE in figures:
            claims += frechet_claims(label, figures[frechet.TABLE])
    return claims


def rotation_claims(label: str, table: Figure) -> list[Claim]:
    """That the mesh reaches large poses which M does not."""
    text = "Latent manipulation fails to generalise to larger poses; the 3D generator reaches them."
    errors = {
        name: [
            _number(table, row, "error_deg")
            for row in table.rows
            if row[0] == name and abs(_number(table, row, "asked_deg")) >= LARGE_TURN_DEG
        ]
        for name in (MANIPULATED, RENDERED)
    }
    values = {name: sum(found) / len(found) for name, found in errors.items() if found}
    if len(values) < 2 or any(math.isnan(value) for value in values.values()):
        return [unmeasured(text, "Fig. 4, section 5.1", f"a judge that reads the yaw in {label}")]
    measure = f"{label}: mean error of the judge's yaw over yaws of {LARGE}, degrees"
    return [Claim(text, "Fig. 4, section 5.1", measure, values, values[RENDERED] < values[MANIPULATED])]


def lighting_claims(label: str, table: Figure) -> list[Claim]:
    """That faces are lit from where the light is."""
    text = "Faces can be lit from any side, also as never seen in training."
    values = {str(row[0]): _number(table, row, "share_brighter") for row in table.rows}
    measure = f"{label}: share of faces that are brighter towards the light than in their own; all above one half"
    return [Claim(text, "Fig. 5, section 5.1", measure, values, min(values.values()) > 0.5)]


def interpolation_claims(label: str, table: Figure) -> list[Claim]:
    """That no step between two codes is a jump."""
    text = "Faces between two codes change smoothly."
    even = 1 / len(table.rows)
    worst = max(_number(table, row, "largest_render_share") for row in table.rows)
    values = {"largest part of the way in a step": worst, "an even step's": even}
    measure = f"{label}: of all pairs and steps; below {_JUMP:g} even steps"
    return [Claim(text, "Fig. 6, section 5.1", measure, values, worst < _JUMP * even)]


def identity_claims(label: str, table: Figure) -> list[Claim]:
    """That lifted faces keep their identity under large turns better than each other way."""
    column, difference = "similarity_to_front", "front_less_than_first"
    rows = {str(row[0]): row for row in table.rows if _cell(table, row, "turns") == LARGE and row[0] != TRUE_TURNS}
    first = rows.pop(RENDERED, None)
    claims = []
    for name, row in rows.items() if first is not None else ():
        assert first is not None
        text = f"The lifted face keeps its identity under rotation better than {name}."
        values = {RENDERED: _number(table, first, column), name: _number(table, row, column)}
        gap, error = _number(table, row, difference), _number(table, row, f"{difference}_se")
        reached = {each: _number(table, found, "yaw_error_deg") for each, found in ((RENDERED, first), (name, row))}
        errors = ", ".join(f"{each} {value:.0f}" for each, value in reached.items() if not math.isnan(value))
        measure = f"{label}: {column} over yaws of {LARGE}; difference {gap:+.2g} ± {error:.1g}" + (
            f"; mean error of the yaw, degrees: {errors}" if errors else ""
        )
        # NaN where one face alone was turned: no verdict either.
        sure = abs(gap) > SURE * error
        missing = "" if sure else f"more faces to tell it from {name}"
        claims.append(Claim(text, _FIG_7, measure, values, gap < 0 if sure else None, missing))
        claims += judged_identity_claims(text, _FIG_7, label, table, first, row)
    return claims


def style_claims(label: str, table: Figure) -> list[Claim]:
    """That a style changes colours and leaves geometry, which style mixing in 2D does not."""
    text = "Style transfer affects colour and local structures, while the overall structure stays."
    moved = {str(row[0]): _number(table, row, "landmark_percent") for row in table.rows}
    row = next(row for row in table.rows if row[0] == style_figure.LIFTED)
    after, before = (_number(table, row, name) for name in ("colour_to_style", "colour_to_style_before"))
    measure = (
        f"{label}: way of the landmarks in per cent of the side; {style_figure.LIFTED}'s mean colour is {after:.2g} from the style's, and "
        f"was {before:.2g}"
    )
    # What leaves a face as it is moves no landmark either.
    holds = moved[style_figure.LIFTED] < moved[style_figure.MIXED] and after < before
    return [Claim(text, "Fig. 10, section 5.4", measure, moved, holds)]


def ablation_claims(label: str, table: Figure) -> list[Claim]:
    """That depth is worse without each term, and that the perturbation loss costs Fréchet distance."""
    claims: list[Claim] = []
    rows = {(str(row[0]), str(row[1])): row for row in table.rows if row[0] != ablation.PUBLISHED}
    source = "Table 2, section 5.3"
    for against in dict.fromkeys(place for place, _ in rows):
        if against == JUDGED:
            # It reads poses alone.
            continue
        whole = rows[against, PROPOSED]
        for name, text in _TERMS.items():
            row = rows.get((against, name))
            if row is None:
                claims.append(
                    unmeasured(text, source, f"a lifted generator trained with {name} (ablations) in {label}")
                )
                continue
            values = {PROPOSED: _number(table, whole, "depth"), name: _number(table, row, "depth")}
            measure = f"{label}, against {against}: error of normalised depth"
            claims.append(Claim(text, source, measure, values, values[PROPOSED] < values[name]))
        constant = rows[against, ablation.CONSTANT]
        values = {PROPOSED: _number(table, whole, "depth"), ablation.CONSTANT: _number(table, constant, "depth")}
        text = "The model learns the shape of faces without any 3D supervision."
        measure = f"{label}, against {against}: error of normalised depth"
        claims.append(Claim(text, source, measure, values, values[PROPOSED] < values[ablation.CONSTANT]))
    column = table.columns[-1]
    for name, row in ((name, row) for (_, name), row in list(rows.items()) if name == NO_PERTURBATION):
        whole = next(found for (_, other), found in rows.items() if other == PROPOSED)
        values = {PROPOSED: _number(table, whole, column), name: _number(table, row, column)}
        if not any(math.isnan(value) for value in values.values()):
            text = "The perturbation loss causes a higher Fréchet distance."
            claims.append(Claim(text, source, f"{label}: {column}", values, values[name] < values[PROPOSED]))
        break
    return claims


def frechet_claims(label: str, table: Figure) -> list[Claim]:
    """That lifted faces come close to the 2D generator in quality."""
    published = {name: FID[name].fid for name in ("LiftedGAN", "StyleGAN2")}
    said = " against ".join(f"{value:g}" for value in published.values())
    text = f"Rendered images are of a quality close to that of 2D generative models (in the paper FID {said})."
    column = table.columns[-1]
    distances = {
        (str(row[0]), str(row[1])): _number(table, row, column)
        for row in table.rows
        if not str(row[1]).startswith(frechet.PUBLISHED)
    }
    values = {name: distances[name, frechet.OWN] for name in (frechet.PICTURES, RENDERED)}
    values[f"{RENDERED}, random poses"] = distances[RENDERED, frechet.RANDOM]
    holds = values[RENDERED] * published["StyleGAN2"] <= values[frechet.PICTURES] * published["LiftedGAN"]
    measure = f"{label}: {column}; at most as much larger as in the paper"
    return [Claim(text, "Tables 2 and 5", measure, values, holds)]


def _cell(table: Figure, row: tuple[Cell, ...], column: str) -> Cell:
    return row[table.columns.index(column)]


def _number(table: Figure, row: tuple[Cell, ...], column: str) -> float:
    value = _cell(table, row, column)
    return float(value) if isinstance(value, int | float) else math.nan
