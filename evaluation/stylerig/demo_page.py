"""The demo's page about a pose rig: what `evaluation.stylerig.demo_results` measured, in words, tables and pictures."""

from typing import Any

from evaluation.report import Report
from evaluation.stylerig.demo_results import DemoResults


def write_report(results: DemoResults, settings: dict[str, Any]) -> Report:
    """The demo's page.

    Args:
        results: Figures and pictures.
        settings: Seeds, versions and times, shown at the end.
    """
    generator, reconstruction, edits = results.generator, results.reconstruction, results.edits
    layers = max(edits.mixing)
    report = Report("Pose control of a StyleGAN2 by StyleRig")
    report.paragraph(
        "A RigNet was trained on a frozen generator of synthetic portraits, without labels: a face reconstruction reads 3D face "
        "parameters from latent codes, and rerendering losses teach the RigNet to change the rotation alone. A judge that no "
        "loss has seen measures the result on unseen pairs of codes."
    )
    report.heading("Figures")
    rows: list[list[str | float | bool]] = [
        [t.name, "none" if t.value is None else t.value, f"{t.sense} {t.bound:.3g}", t.outcome if t.value is None else t.reached]
        for t in results.targets
    ]
    report.table(["figure", "value", "wanted", ""], rows)
    missed = [target.sentence for target in results.targets if not target.reached]
    report.paragraph(" ".join(["Not every figure is as wanted.", *(f"{sentence}." for sentence in missed)]) if missed else "All reached.")
    if results.rasterizer.note:
        report.paragraph(f"The rasterizer was not compared with PyTorch3D: {results.rasterizer.note}.")
    report.heading("Pose edits")
    report.paragraph(
        f"The pose of v is asked of w, for {edits.pairs} unseen pairs. Changes of what should stay are root mean squares in units "
        f"of each coefficient's spread over portraits; all values are medians. Yaw achieved per yaw asked: {edits.yaw_slope:.2f}. "
        "The last rows are perfect edits of portraits: what the judge reads there is its own error, the least that any method can "
        "show at such turns."
    )
    steps = [("unedited", edits.unedited), ("StyleRig", edits.edited)]
    steps += [(f"style mixing, {count} coarse layers", value) for count, value in edits.mixing.items()]
    steps += [
        ("portraits turned as far as StyleRig's", results.true_turns.as_asked),
        ("portraits drawn again in another's pose", results.true_turns.full),
    ]
    kept = list(edits.edited.changes)
    table: list[list[str | float | bool]] = [
        [
            name,
            step.moved,
            step.error,
            *(step.axis_error_deg[axis] for axis in ("pitch", "yaw", "roll")),
            *(step.changes[key] for key in kept),
        ]
        for name, step in steps
    ]
    report.table(
        ["transfer", "turned by, deg", "rotation error, deg", "pitch", "yaw", "roll", *(f"change of {key}" for key in kept)], table
    )
    report.picture(
        results.pictures["yaw sweep"], "Absolute yaw asked of six portraits; positive turns the nose to the right."
    )
    report.picture(results.pictures["pose mixing"], "Targets (top) with the pose of sources (left), by StyleRig.")
    report.picture(
        results.pictures["style mixing"],
        f"The same by style mixing with {layers} coarse layers, which turns heads about as far and changes the person with them.",
    )
    report.heading("Face reconstruction")
    report.paragraph(
        f"Mean landmark error against the landmark network over {reconstruction.codes} unseen codes: {reconstruction.mean_px:.2f} px "
        f"(median {reconstruction.median_px:.2f}, worst tenth above {reconstruction.worst_tenth_px:.2f}; without reading the code "
        f"{reconstruction.constant_px:.2f})."
    )
    report.picture(
        results.pictures["reconstructions"],
        "Picture, reconstruction drawn over it, and landmarks: observed (green) and reconstructed (red).",
    )
    report.heading("Generator")
    report.paragraph(
        f"Fréchet distance in the judge's features to portraits: {generator.frechet_to_portraits:.3g}; between two halves of the "
        f"portraits, {generator.samples} pictures each: {generator.frechet_between_halves:.3g}."
    )
    report.table(
        ["spread over that of portraits", "ratio"], [[name, ratio] for name, ratio in generator.spread_ratio.items()]
    )
    report.picture(results.pictures["samples"], "64 samples without truncation.")
    report.heading("Settings")
    report.table(["setting", "value"], [[name, str(value)] for name, value in settings.items()])
    return report
