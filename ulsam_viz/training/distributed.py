"""Distributed training: ranks, communication, and layers that see the whole batch.

Under ``torchrun`` each process takes an equal part of every batch, and gradients are averaged. One process alone is a
team of one, so the training loop reads the same either way.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from ..models.network import Network
from .initialisation import TrainingError

_PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class Team:
    """The processes at one training.

    Attributes:
        rank: Number of this process; 0 leads: it alone writes files and shows progress.
        size: Number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def part(self, batch: int) -> slice:
        """Return this process's part of a batch of that size."""
        share = batch // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def told(self, value: Any) -> Any:
        """Return the first process's value in every process; all of them must call it."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a tensor over the processes; all of them must call it."""
        if self.size > 1:
            value = value.clone()
            dist.all_reduce(value)
            value /= self.size
        return value

    def wrap(self, model: Network, *, sync_batchnorm: bool) -> nn.Module:
        """Return the module to train with: averaged gradients, and layers that see the whole batch where they must."""
        if self.size == 1:
            return model
        model.dropout = WholeBatchDropout(model.dropout.p, self)
        if sync_batchnorm:
            self.share_norms(model)
        return nn.parallel.DistributedDataParallel(
            model, device_ids=[model.device] if model.device.type == "cuda" else None
        )

    def share_norms(self, model: nn.Module) -> None:
        """Let every BatchNorm of a network, in place, take its statistics over the batches of all processes."""
        if self.size == 1:
            return
        if any(parameter.is_cuda for parameter in model.parameters()):
            nn.SyncBatchNorm.convert_sync_batchnorm(model)
        else:
            synchronise_norms(model)

    def share_gradients(self, model: nn.Module) -> None:
        """Give every parameter the mean of its gradients over the processes, where no wrapper does.

        All of them must call it.
        """
        if self.size > 1:
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter.grad = self.mean(parameter.grad)


def check_batch(batch: int, team: Team) -> None:
    """Refuse a batch that cannot be split evenly.

    Raises:
        TrainingError: Unless each process gets the same number of rows, two or more.
    """
    if batch % team.size or batch < 2 * team.size:
        raise TrainingError(f"a batch of {batch} cannot be split evenly among {team.size} processes, two or more each")


@contextmanager
def joined_team(device: str) -> Iterator[tuple[Team, str]]:
    """Join the processes that ``torchrun`` started, if it did.

    Args:
        device: ``"cpu"`` (processes talk through gloo) or ``"cuda"`` (NCCL; each process takes the GPU of its local
            rank).

    Yields:
        The team, and this process's own device.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield Team(), device
        return
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    # While one process downloads data or computes features, the others wait for it: longer than the usual half an hour.
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=_PATIENCE)
    try:
        yield Team(dist.get_rank(), dist.get_world_size()), device
    finally:
        dist.destroy_process_group()


class WholeBatchDropout(nn.Dropout):
    """Dropout whose mask is this process's part of the mask that one process would draw for the whole batch."""

    def __init__(self, p: float, team: Team) -> None:
        super().__init__(p)
        self.team = team

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, features) with features set to zero at random; every process holds the same random state."""
        if not self.training or self.p == 0:
            return x
        size = len(x) * self.team.size
        whole = functional.dropout(x.new_ones(size, *x.shape[1:]), self.p, True)
        return x * whole[self.team.part(size)]


class _SumOverProcesses(torch.autograd.Function):
    """All-reduce, whose gradient is the all-reduce of the gradients."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        value = value.clone()
        dist.all_reduce(value)
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].clone()
        dist.all_reduce(gradient)
        return gradient


class SyncBatchNorm(nn.BatchNorm2d):
    """Batch normalisation over the whole batch on the CPU, where torch's own SyncBatchNorm is refused."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (N, C, H, W), this process's part of the batch; in float32, whatever the input is in."""
        if not self.training:
            return super().forward(input)
        x = input.float()
        count = x.numel() // x.shape[1] * dist.get_world_size()
        mean = _sum_over_processes(x.sum((0, 2, 3))) / count
        centred = x - mean[:, None, None]
        variance = _sum_over_processes(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr, operator]
            self.running_mean.lerp_(mean, self.momentum)  # type: ignore[union-attr, arg-type]
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)  # type: ignore[union-attr, arg-type]
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(input.dtype)


def _sum_over_processes(value: Tensor) -> Tensor:
    result: Tensor = _SumOverProcesses.apply(value)
    return result


def synchronise_norms(model: nn.Module) -> None:
    """Replace every BatchNorm of a network on the CPU, with its values; the names of its tensors stay the same."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                norm = SyncBatchNorm(child.num_features, child.eps, child.momentum)
                norm.load_state_dict(child.state_dict())
                setattr(parent, name, norm)
