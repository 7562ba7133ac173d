"""Cut the faces of photos out, upright and of one size, as the networks of portraits want them."""

from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from datamodules.photos.aligner import AlignSettings, Faces, Outcome
from datamodules.photos.contact_sheet import CONTACT_SHEET, write_contact_sheet
from datamodules.photos.decoding import DEFAULT_MAX_PIXELS, SUFFIXES, UNREADABLE_SUFFIXES, list_photos
from datamodules.photos.pipeline import align_photos
from datamodules.photos.records import write_json
from renderers.errors import InputError

FAILURES = "failures.json"


def align(
    photos: Path,
    output: Path,
    *,
    size: int = 256,
    faces: Faces = "all",
    landmarks: str | None = None,
    smallest_face: int = 40,
    min_confidence: float = 0.9,
    detection_size: int = 640,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    batch_size: int = 8,
    processes: int = 1,
    device: str = "cpu",
    sheet: int = 400,
) -> None:
    """Cut out the faces of photos as FFHQ does it: `lightning align PHOTOS OUTPUT`.

    For every face OUTPUT holds NAME_0.png, NAME_1.png, ... (largest first; subfolders are kept), for every photo NAME.faces.json
    with the places of its crops and their landmarks, from which `datamodules.photos.paste_back` pastes an edit back. A run
    that was interrupted continues where it stood. contact_sheet.jpg shows the crops, failures.json lists photos without one.

    Args:
        photos: a folder, with its subfolders, or one photo.
        output: folder to write to.
        size: side of the crops in pixels, 8 to 4096.
        faces: every face of a photo, or the largest.
        landmarks: a 68-landmark network to align by (a folder with face-api weights, or a file of this project). Without one
            the detector's five points serve: eyes, nose and corners of the mouth.
        smallest_face: leave out faces whose box is smaller, in pixels of the photo.
        min_confidence: leave out faces that the detector is less sure of (0 to 1).
        detection_size: longer side to which photos are shrunk to look for faces; raise it for small faces in large photos.
        max_pixels: refuse photos with more pixels.
        batch_size: photos that are looked at together.
        processes: that work side by side.
        device: of the networks, cpu or cuda.
        sheet: crops on the contact sheet at most, spread over all; 0 for no sheet.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"expected a folder to write crops to, {output} is a file; name another")
    if output.suffix.lower() in SUFFIXES | UNREADABLE_SUFFIXES and not output.exists():
        raise InputError(f"expected a folder to write crops to, got the picture {output}; give a name without a suffix")
    if output.resolve() == (photos.parent if photos.is_file() else photos).resolve():
        raise InputError(f"expected another folder than that of the photos, got {output} for both; name another output")
    settings = AlignSettings(size, faces, landmarks, smallest_face, min_confidence, detection_size, max_pixels)
    found = list_photos(photos, output)
    output.mkdir(parents=True, exist_ok=True)
    if landmarks is None:
        print("no 68-landmark network is given (--landmarks): aligning by the detector's five points")
    outcomes = _with_progress(found, photos, output, settings, batch_size, processes, device)
    failures = [{"photo": outcome.photo, "reason": outcome.failure} for outcome in outcomes if outcome.failure]
    write_json(output / FAILURES, failures)
    crops = [
        (f"{outcome.name}_{k}", output / f"{outcome.name}_{k}.png")
        for outcome in outcomes
        for k in range(outcome.faces)
    ]
    if not crops:
        raise InputError(
            f"expected a face in at least one of {len(outcomes)} photos, found none ({failures[0]['reason']}); see {output / FAILURES}"
        )
    if sheet > 0:
        step = max(1, -(-len(crops) // sheet))
        write_contact_sheet(output / CONTACT_SHEET, crops[::step])
    counts = Counter("earlier" if outcome.earlier else "now" for outcome in outcomes if not outcome.failure)
    print(
        f"{len(crops)} crops of {counts['now'] + counts['earlier']} photos in {output} ({counts['earlier']} photos were done before, "
        f"{len(failures)} without a crop)"
    )


def _with_progress(
    found: dict[str, Path],
    photos: Path,
    output: Path,
    settings: AlignSettings,
    batch_size: int,
    processes: int,
    device: str,
) -> list[Outcome]:
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    columns = (TextColumn("photos"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("photos", total=len(found))

        def report(outcome: Outcome) -> None:
            if outcome.failure:
                progress.console.print(f"{outcome.photo}: {outcome.failure}")
            progress.advance(bar)

        return align_photos(
            found, photos, output, settings, batch_size, processes, device, report, progress.console.print
        )
