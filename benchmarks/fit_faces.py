"""How fast faces are fitted in batches and one at a time, and how near the fits come to the truth of synthetic portraits.

Both runs do the same optimisation on the same pictures. Errors are of the batched run, beside those of the mean face in its place.
"""

import argparse
import time

import torch
from torch import Tensor

from datamodules.face_fits import FaceFits, FaceFitSettings, FitScene, fit_faces
from datamodules.portraits.corpus import CorpusSpec, draw_samples
from datamodules.portraits.sampler import PortraitSampler
from models.morphable import FaceParameters, MorphableModel
from models.observers import load_landmark_detector
from renderers.face_renderer import FaceRenderer
from renderers.rotation import rotation_distance

# People that no shipped network was trained on.
_FIRST_PERSON = 200_000
_MM = 100.0


def portraits(count: int, size: int) -> tuple[Tensor, FaceParameters, Tensor]:
    """Pictures in [-1, 1], their true parameters, and their true landmarks in pixels."""
    spec = CorpusSpec(size, count, 1, 123, _FIRST_PERSON, "coarse", 2)
    samples = draw_samples(PortraitSampler("coarse"), spec, torch.arange(count))
    return samples["image"].float() / 127.5 - 1, FaceParameters.unpack(samples["parameters"]), samples["landmarks"]


def timed_fit(
    images: Tensor,
    landmarks: Tensor,
    renderer: FaceRenderer,
    drawn: MorphableModel,
    settings: FaceFitSettings,
    batch_size: int,
) -> tuple[FaceFits, float]:
    """Fits, and seconds they took."""
    started = time.perf_counter()
    fits = fit_faces(images, landmarks, renderer, drawn, settings, batch_size)
    if images.is_cuda:
        torch.cuda.synchronize(images.device)
    return fits, time.perf_counter() - started


def errors_of(
    found: FaceParameters, truth: FaceParameters, landmarks: Tensor, renderer: FaceRenderer, drawn: MorphableModel
) -> dict[str, float]:
    """Means over faces: rotation, yaw, landmarks against the true ones, and shape in the face's own frame."""
    neutral = torch.zeros_like(truth.expression)
    shapes = [drawn.vertices(each.identity, neutral) for each in (found, truth)]
    whole = [drawn.vertices(each.identity, each.expression) for each in (found, truth)]
    yaw = (found.rotation - truth.rotation)[:, 1].rad2deg().abs()
    landmark = (renderer.project_landmarks(found) - landmarks).norm(dim=2) / renderer.image_size[0]
    return {
        "rotation, degrees": float(rotation_distance(found.rotation, truth.rotation).rad2deg().mean()),
        "yaw, degrees": float(yaw.mean()),
        "true landmarks, % of the side": float(100 * landmark.mean()),
        "shape, mm": float(_MM * (whole[0] - whole[1]).norm(dim=2).mean()),
        "neutral shape, mm": float(_MM * (shapes[0] - shapes[1]).norm(dim=2).mean()),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=64, help="portraits that are fitted in batches")
    parser.add_argument(
        "--alone", type=int, default=4, help="of them, those that are fitted one at a time as well; 0 for none"
    )
    parser.add_argument("--batch", type=int, default=64, help="faces that are fitted together")
    parser.add_argument("--size", type=int, default=64, help="pixels")
    parser.add_argument("--preset", choices=("demo", "published"), default="demo")
    parser.add_argument("--landmarker", default="assets/demo_landmarks.safetensors")
    parser.add_argument("--face_model", default=FitScene().face_model)
    parser.add_argument("--threads", type=int, help="of PyTorch on the CPU; by default its own choice")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    options = parser.parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    scene, settings = FitScene(options.face_model), FaceFitSettings.preset(options.preset)
    face_model = scene.load_face_model().to(device)
    drawn = face_model.region(scene.region)
    renderer = scene.renderer(face_model, drawn, options.size).to(device)
    images, truth, true_landmarks = portraits(options.count, options.size)
    images, truth = images.to(device), truth.to(device)
    with torch.no_grad():
        landmarks = torch.cat(
            [load_landmark_detector(options.landmarker).to(device)(part) for part in images.split(options.batch)]
        )
    # What is compiled or set up on first use is not counted.
    timed_fit(images[:1], landmarks[:1], renderer, drawn, FaceFitSettings(rigid_steps=2, steps=2), 1)
    fits, seconds = timed_fit(images, landmarks, renderer, drawn, settings, options.batch)
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{options.count} portraits of {options.size} px, preset {options.preset}; {where}")
    steps = f"{float(fits.rigid_steps.float().mean()):.0f} rigid and {float(fits.steps.float().mean()):.0f} steps on average"
    speed = options.count / seconds
    print(f"in batches of {options.batch}: {speed:.3f} a second, {steps}; {int((fits.failure > 0).sum())} left out")
    if options.alone:
        few = slice(0, options.alone)
        alone, seconds = timed_fit(images[few], landmarks[few], renderer, drawn, settings, 1)
        moved = float((alone.parameters.rotation - fits.parameters[few].rotation).rad2deg().abs().max())
        own = float((alone.rigid_steps + alone.steps).float().mean())
        print(
            f"one at a time, {own:.0f} steps on average: {options.alone / seconds:.3f} a second; "
            f"in batches {speed * seconds / options.alone:.1f} times as many"
        )
        print(f"largest difference of an angle between both: {moved:.2f} degrees")
    kept = (fits.failure == 0).nonzero()[:, 0]
    found, wanted = fits.parameters[kept], truth[kept]
    mean = FaceParameters.zeros(len(kept), truth.sizes, device)
    compared = (wanted, true_landmarks.to(device)[kept], renderer, drawn)
    mine, baseline = errors_of(found, *compared), errors_of(mean, *compared)
    for name, value in mine.items():
        print(f"{name:32}{value:8.3f}{baseline[name]:12.3f} of the mean face")


if __name__ == "__main__":
    main()
