"""Photos per second of `lightning align` beside MTCNN alone: python benchmarks/align.py PHOTOS [--landmarks FOLDER] [--size 256].

One process; seconds of the clock, so let nothing else run. MTCNN alone is facenet-pytorch's detector on decoded photos: as it
comes, on the whole photo, and on photos shrunk as `align` shrinks them. Align is measured whole, and by its parts.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from facenet_pytorch import MTCNN

from datamodules.photos.aligner import Aligner, AlignSettings, Task
from datamodules.photos.alignment import crop_quad
from datamodules.photos.decoding import decode_photo, list_photos
from datamodules.photos.detection import FaceDetector, read_landmarks
from models.face_crops import quads_from_landmarks
from renderers.errors import InputError


def best_seconds(action: Callable[[], object], repeats: int) -> float:
    """The shortest of several times, by the clock on the wall: the one that other work on the machine disturbs least."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def readable(named: dict[str, Path]) -> tuple[dict[str, Path], list[Image.Image]]:
    """The photos that can be decoded, and their pictures; the others are named and left out of every figure."""
    kept, images = {}, []
    for name, path in named.items():
        try:
            images.append(decode_photo(path).image)
        except InputError as error:
            print(f"left out: {error}")
        else:
            kept[name] = path
    return kept, images


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="folder of photos")
    parser.add_argument("--landmarks", help="68-landmark network; without one the detector's five points")
    parser.add_argument("--size", type=int, default=256, help="of the crops")
    parser.add_argument("--batch", type=int, default=8, help="photos looked at together by align")
    parser.add_argument("--repeats", type=int, default=3, help="runs, of which the fastest counts")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    try:
        named, images = readable(list_photos(options.photos))
        settings = AlignSettings(size=options.size, landmarks=options.landmarks)
    except InputError as error:
        parser.error(str(error))
    detector = FaceDetector(device=options.device)
    found = detector.detect(images)
    owners = [image for image, faces in zip(images, found, strict=True) for _ in faces]
    faces = [face for several in found for face in several]
    if not faces:
        parser.error(f"expected a face in at least one photo that can be read, found none in {options.photos}")

    def align() -> None:
        tasks = [Task(name, path, path.name) for name, path in named.items()]
        for start in range(0, len(tasks), options.batch):
            for outcome in aligner.align(tasks[start : start + options.batch]):
                if outcome.failure:
                    print(f"{outcome.photo}: {outcome.failure}")

    whole_times = []
    for _ in range(options.repeats):
        # A new folder each time, since what is done is not done again.
        with tempfile.TemporaryDirectory() as folder:
            aligner = Aligner(settings, Path(folder), options.device)
            whole_times.append(best_seconds(align, 1))
    whole = min(whole_times)

    mtcnn = MTCNN(keep_all=True, device=torch.device(options.device))
    arrays = [np.asarray(image) for image in images]
    plain = best_seconds(lambda: [mtcnn.detect(array, landmarks=True) for array in arrays], options.repeats)
    shrunk = best_seconds(lambda: [detector.detect([image]) for image in images], options.repeats)
    decode = best_seconds(lambda: [decode_photo(path) for path in named.values()], options.repeats)
    quads = quads_from_landmarks(torch.stack([face.points for face in faces]).double())
    crop = best_seconds(
        lambda: [crop_quad(image, quad, options.size) for image, quad in zip(owners, quads, strict=True)],
        options.repeats,
    )
    rows = [
        ("align, whole", whole),
        ("  decoding", decode),
        ("  finding faces, photo by photo", shrunk),
        ("  cropping", crop),
    ]
    if aligner.network is not None:
        network = aligner.network
        points = best_seconds(lambda: read_landmarks(network, owners, faces, options.device), options.repeats)
        rows.append(("  landmarks", points))
    rows += [
        ("MTCNN alone, whole photos, decoded before", plain),
        ("MTCNN alone, whole photos, with decoding", plain + decode),
        ("MTCNN alone, shrunk photos, decoded before", shrunk),
        ("MTCNN alone, shrunk photos, with decoding", shrunk + decode),
    ]
    print(
        f"{len(images)} photos, {sum(i.width * i.height for i in images) / 1e6:.1f} million pixels, {len(faces)} faces, {options.size} px"
    )
    for name, seconds in rows:
        print(f"{name:44}{len(images) / seconds:8.2f} photos per second, {1000 * seconds / len(images):7.1f} ms each")
    print(f"align over MTCNN alone on whole photos, both with decoding: {(plain + decode) / whole:.2f} times its speed")
    print(
        f"align over MTCNN alone on shrunk photos, both with decoding: {(shrunk + decode) / whole:.2f} times its speed"
    )


if __name__ == "__main__":
    main()
