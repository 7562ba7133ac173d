"""Frozen networks inside a LightningModule: they follow it between devices but stay out of its checkpoints."""

from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

Network = TypeVar("Network", bound=nn.Module)


def freeze(network: Network) -> Network:
    """Switch a network to evaluation, without gradients for its parameters, and keep it out of checkpoints.

    Its entries are left out of the `state_dict` of whatever holds it; when that is loaded, they are filled in from the network
    itself, so that strict loading still finds every key.
    """
    network.eval().requires_grad_(False)
    network.register_state_dict_post_hook(_drop_entries)
    network.register_load_state_dict_pre_hook(_fill_in_entries)
    return network


def leave_unsynchronised(module: nn.Module, *networks: nn.Module) -> None:
    """Tell distributed training that parts of a module are the same on all ranks, as files make them, and stay so.

    It would broadcast their buffers before every step: hundreds of megabytes for a face model of 53,000 vertices.

    Args:
        module: What is trained, before it is handed to the trainer's strategy.
        networks: Its frozen parts.
    """
    tensors = {id(tensor) for network in networks for tensor in (*network.parameters(), *network.buffers())}
    named = (*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False))
    names = [name for name, tensor in named if id(tensor) in tensors]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, names)


def _drop_entries(network: nn.Module, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any]) -> None:
    for key in [key for key in state_dict if key.startswith(prefix)]:
        del state_dict[key]


def _fill_in_entries(network: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    def collect(module: nn.Module, path: str) -> dict[str, Tensor]:
        # Not module.state_dict(): that is what the other hook empties. Non-persistent buffers are no entries.
        own = {
            **module._parameters,
            **{k: v for k, v in module._buffers.items() if k not in module._non_persistent_buffers_set},
        }
        entries = {path + name: value for name, value in own.items() if value is not None}
        for name, child in module.named_children():
            entries.update(collect(child, f"{path}{name}."))
        return entries

    state_dict.update(collect(network, prefix))
