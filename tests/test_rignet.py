"""RigNet and what it is normalised and checked by."""

from pathlib import Path

import pytest
import torch

from models.stylegan2 import Generator
from models.stylegan2.digest import generator_digest
from models.stylerig import (
    FaceReconstruction,
    ParameterStatistics,
    Provenance,
    RigNet,
    RigSources,
    face_model_signature,
    preserved_components,
    sources_of,
)
from models.weights import load_weights, save_weights
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from tests.tiny_stylerig import as_written
from tests.toy_face import SIZES, toy_face_model, toy_parameters

SOURCES = RigSources("generator.pkl", "runs/f.safetensors", "procedural:coarse")


def random_rignet(components: tuple[str, ...] = ("rotation",), layers: int = 5, w_dim: int = 7) -> RigNet:
    torch.manual_seed(0)
    network = RigNet(layers, w_dim, components, SIZES, latent=4)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_()
    network.normalise_by(ParameterStatistics(torch.randn(SIZES.total), torch.rand(SIZES.total) + 0.5))
    return network


def provenance(**changes: object) -> Provenance:
    values = {
        "generator": "a" * 64,
        "face_model": (1.0, 2.0),
        "focal_length": 4.0,
        "camera_distance": 10.0,
        "principal_point": (0.0, 0.1),
    }
    return Provenance(**{**values, **changes})  # type: ignore[arg-type]


def test_untrained_network_changes_nothing() -> None:
    codes = torch.randn(3, 18, 512)
    assert torch.equal(RigNet(18, 512)(codes, torch.randn(3, 257)), codes)


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("components", [("rotation",), ("expression", "rotation"), ("illumination",), ("identity",)])
def test_forward_is_the_papers_layers_one_by_one(batch: int, components: tuple[str, ...]) -> None:
    network = random_rignet(components)
    codes, parameters = torch.randn(batch, 5, 7), toy_parameters(batch)
    vector = (parameters.pack() - network.parameter_mean) / network.parameter_std
    control = torch.cat([vector[:, SIZES.slice(name)] for name in components], dim=1)
    edited = network(codes, parameters.pack())
    for layer in range(5):
        encoded = codes[:, layer] @ network.encoder_weight[layer] + network.encoder_bias[layer]
        change = torch.cat([encoded, control], dim=1) @ network.decoder_weight[layer] + network.decoder_bias[layer]
        torch.testing.assert_close(edited[:, layer], codes[:, layer] + change)


def test_only_the_controlled_component_matters() -> None:
    network, codes = random_rignet(("rotation",)), torch.randn(2, 5, 7)
    first, second = toy_parameters(2, seed=1), toy_parameters(2, seed=2)
    assert torch.equal(
        network(codes, first.pack()), network(codes, second.with_components_from(first, ("rotation",)).pack())
    )
    assert not torch.allclose(network(codes, first.pack()), network(codes, second.pack()))


def test_layers_are_independent() -> None:
    network, codes = random_rignet(), torch.randn(1, 5, 7)
    changed = codes.clone()
    changed[:, 2] += 1
    difference = network(changed, torch.zeros(1, SIZES.total)) - network(codes, torch.zeros(1, SIZES.total))
    assert difference[:, 2].abs().min() > 0 and difference[:, [0, 1, 3, 4]].abs().max() == 0


def test_gradients() -> None:
    network = random_rignet().double()
    codes = torch.randn(2, 5, 7, dtype=torch.float64, requires_grad=True)
    parameters = toy_parameters(2).pack().double().requires_grad_(True)
    assert torch.autograd.gradcheck(network, (codes, parameters))
    network(codes, parameters).sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())


def test_centred_encoder_maps_the_mean_code_to_zero() -> None:
    network, mean = random_rignet(), torch.randn(7)
    network.centre_encoder(mean)
    encoded = torch.einsum("w,lwe->le", mean, network.encoder_weight) + network.encoder_bias
    torch.testing.assert_close(encoded, torch.zeros_like(encoded), atol=1e-5, rtol=0)


def test_linear_network_reaches_a_known_edit() -> None:
    """Codes whose rotation is a linear function of them: the edit that sets it exists, and plain training finds it."""
    torch.manual_seed(1)
    layers, w_dim, batch = 3, 8, 256
    reading = torch.linalg.qr(torch.randn(layers * w_dim, 3))[0]
    codes = torch.randn(batch, layers, w_dim)
    network = RigNet(layers, w_dim, ("rotation",), SIZES)
    rotation = SIZES.slice("rotation")
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0.0)
    errors = []
    for _ in range(300):
        read = codes.flatten(1) @ reading
        wanted = read[torch.randperm(batch)]
        parameters = torch.zeros(batch, SIZES.total)
        parameters[:, rotation] = wanted
        own = torch.zeros(batch, SIZES.total)
        own[:, rotation] = read
        error = (network(codes, parameters).flatten(1) @ reading - wanted).square().mean()
        loss = error + (network(codes, own) - codes).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        errors.append(error.item())
    assert errors[0] > 1 and errors[-1] < 0.05


def test_statistics() -> None:
    rows = torch.randn(50, 6) * torch.tensor([1.0, 2, 3, 4, 5, 0]) + 7
    statistics = ParameterStatistics.over([rows[:20], rows[20:]])
    torch.testing.assert_close(statistics.mean, rows.mean(dim=0))
    torch.testing.assert_close(statistics.std[:5], rows.std(dim=0)[:5])
    assert statistics.std[5] == 1
    with pytest.raises(InputError, match="at least 2"):
        ParameterStatistics.over([rows[:1]])


def test_preserved_components() -> None:
    assert preserved_components("rotation") == ("identity", "expression", "reflectance", "illumination")
    assert preserved_components("identity") == ("expression", "reflectance", "rotation", "illumination")
    for component in ("translation", "reflectance", "smile"):
        with pytest.raises(InputError, match="components to control"):
            preserved_components(component)


@pytest.mark.parametrize("components", [(), ("translation",), ("rotation", "rotation")])
def test_bad_components_are_refused(components: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="components to control"):
        RigNet(3, 4, components)


def test_wrong_shapes_are_refused() -> None:
    network = random_rignet()
    for codes, parameters, expected in (
        (torch.zeros(1, 4, 7), SIZES.total, r"codes \(batch, 5, 7\)"),
        (torch.zeros(1, 5, 8), SIZES.total, r"codes \(batch, 5, 7\)"),
        (torch.zeros(1, 5, 7), 9, rf"parameters \(batch, {SIZES.total}\)"),
    ):
        with pytest.raises(InputError, match=f"expected {expected}"):
            network(codes, torch.zeros(1, parameters))


def test_weights_round_trip(tmp_path: Path) -> None:
    network, codes, parameters = (
        random_rignet(("rotation", "expression")),
        torch.randn(2, 5, 7),
        toy_parameters(2).pack(),
    )
    path = network.save(tmp_path / "rignet.safetensors", provenance(), SOURCES)
    loaded = RigNet.load(path, provenance(face_model=(1.001, 2.0)))
    assert loaded.components == ("rotation", "expression") and not loaded.training
    as_written(network)
    assert torch.equal(loaded(codes, parameters), network(codes, parameters))


def test_weights_say_where_their_networks_are(tmp_path: Path) -> None:
    path = random_rignet().save(tmp_path / "rignet.safetensors", provenance(), SOURCES)
    assert sources_of(path) == SOURCES


@pytest.mark.parametrize("sources", [None, {}, {"generator": "g", "face_reconstruction": "f"}, {**SOURCES.to_config(), "generator": 3}])
def test_weights_without_whole_sources_load_but_open_nothing_by_themselves(tmp_path: Path, sources: object) -> None:
    """Files of versions before there were any."""
    path = random_rignet().save(tmp_path / "rignet.safetensors", provenance(), SOURCES)
    state, config = load_weights(path, "rignet")
    config.pop("sources")
    save_weights(path, state, "rignet", config if sources is None else {**config, "sources": sources})
    assert RigNet.load(path, provenance()).is_trained
    with pytest.raises(InputError, match="configuration that fits") as error:
        sources_of(path)
    assert "\n" not in str(error.value)


def test_an_edit_asks_for_its_target_alone() -> None:
    """RigNet reads from the code itself what it shows now."""
    network, codes = random_rignet(), torch.randn(2, 5, 7)
    own, target = toy_parameters(2).pack(), toy_parameters(2, seed=1).pack()
    assert torch.equal(network.edit(codes, own, target), network(codes, target))
    assert torch.equal(network.edit(codes, target, target), network(codes, target))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generator": "b" * 64}, "generator that"),
        ({"face_model": (1.0, 2.5)}, "face model that"),
        ({"face_model": (1.0,)}, "face model that"),
        ({"focal_length": 5.0}, "camera that"),
        ({"principal_point": (0.0, 0.0)}, "camera that"),
    ],
)
def test_weights_for_something_else_are_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    path = random_rignet().save(tmp_path / "rignet.safetensors", provenance(), SOURCES)
    with pytest.raises(InputError, match=message):
        RigNet.load(path, provenance(**changes))


def test_weights_with_other_tensors_are_refused(tmp_path: Path) -> None:
    path = random_rignet().save(tmp_path / "rignet.safetensors", provenance(), SOURCES)
    state, config = load_weights(path, "rignet")
    state.pop("encoder_bias")
    with pytest.raises(InputError, match="misses encoder_bias"):
        RigNet.load(save_weights(path, state, "rignet", config), provenance())


def test_signature_and_digest_tell_models_apart() -> None:
    signature = face_model_signature(toy_face_model())
    assert signature == face_model_signature(toy_face_model())
    other = face_model_signature(toy_face_model(seed=1))
    assert len(other) == len(signature) and max(abs(a - b) for a, b in zip(signature, other, strict=True)) > 0.01
    assert Provenance.of(tiny_generator(), toy_face_model(), PerspectiveCamera()).camera_distance == 10.0


def tiny_generator(**options: object) -> Generator:
    torch.manual_seed(0)
    return Generator([4, 4], z_dim=3, w_dim=5, mapping_layers=2, **options)  # type: ignore[arg-type]


def test_digest_covers_what_makes_images() -> None:
    generator = tiny_generator()
    digest = generator_digest(generator)
    assert len(digest) == 64 and generator_digest(tiny_generator()) == digest
    generator.std_w.add_(1)
    assert generator_digest(generator) == digest, "statistics of W enter no image of a code"
    for name in ("const", "convolutions.0.bias", "convolutions.1.noise_const"):
        changed = tiny_generator()
        with torch.no_grad():
            changed.state_dict()[name].add_(1e-3)
        assert generator_digest(changed) != digest, name
    for options in ({"conv_clamp": 256.0}, {"blur_kernel": (1.0, 1.0)}, {"mapping_lr_multiplier": 1.0}):
        assert generator_digest(tiny_generator(**options)) != digest, options


def test_digest_outlives_new_names_and_options() -> None:
    generator, digest = tiny_generator(), generator_digest(tiny_generator())
    generator.constant_input = generator.const
    del generator.const
    assert generator_digest(generator) == digest


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"provenance": 3},
        {"provenance": {"generator": "a"}},
        {"provenance": {"face_model": [1.0], "principal_point": [0.0], "generator": "a"}},
        {"provenance": {**provenance().to_config(), "more": 1}},
        {"provenance": provenance().to_config()},
        {"provenance": provenance().to_config(), "num_layers": 5, "w_dim": 7, "components": ["rotation"], "sizes": {"a": 1}},
    ],
)
@pytest.mark.parametrize("network", [RigNet, FaceReconstruction])
def test_incomplete_configurations_are_refused(
    tmp_path: Path, network: type[RigNet] | type[FaceReconstruction], config: dict[str, object]
) -> None:
    kind = "rignet" if network is RigNet else "face-reconstruction"
    path = save_weights(tmp_path / "w.safetensors", {}, kind, config)
    with pytest.raises(InputError, match="configuration that fits") as error:
        network.load(path, provenance())
    assert "\n" not in str(error.value)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    rignet, faces = random_rignet(), FaceReconstruction(5, 7, SIZES, hidden=4)
    with torch.no_grad():
        rignet.decoder_bias[0, 0] = torch.nan
        faces.net[0].weight[0, 0] = torch.inf
    paths = rignet.save(tmp_path / "r.safetensors", provenance(), SOURCES), faces.save(tmp_path / "f.safetensors", provenance())
    for network, path in zip((rignet, faces), paths, strict=True):
        with pytest.raises(InputError, match="finite weights"):
            type(network).load(path, provenance())
