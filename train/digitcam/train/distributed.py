"""Several processes that train one network, as torchrun starts them; alone, every function here is the identity."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from digitcam.core.errors import DigitcamError

T = TypeVar("T")


@contextmanager
def joined() -> Iterator[None]:
    """Join the processes that torchrun started, as $WORLD_SIZE says."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(device())
        dist.init_process_group("cpu:gloo,cuda:nccl")
    else:
        dist.init_process_group("gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """Return this process's number among all; the first, 0, is the one that writes and speaks."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """Return how many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def device() -> torch.device:
    """Return where this process computes: its GPU if there is one."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def from_first(make: Callable[[], T]) -> T:
    """Call a function in the first process alone; all return what it returned, or raise the error it raised."""
    if world() == 1:
        return make()
    carried: list[Any] = [None]
    if rank() == 0:
        try:
            carried = [make()]
        except DigitcamError as error:
            carried = [error]
    dist.broadcast_object_list(carried)
    if isinstance(carried[0], DigitcamError):
        raise carried[0]
    result: T = carried[0]
    return result


def any_process(flag: bool) -> bool:
    """Say whether the flag is set in any process."""
    if world() == 1:
        return flag
    flags = torch.tensor(int(flag))
    dist.all_reduce(flags, op=dist.ReduceOp.MAX)
    return bool(flags.item())


class _Mean(torch.autograd.Function):
    """Mean over the processes; what each process makes of it flows back as the mean over them."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        shared = value.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        dist.all_reduce(shared)
        return shared / world()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Mean.forward(ctx, gradient)


def mean(value: Tensor) -> Tensor:
    """Return the mean of a float or count over the processes, differentiable; alone, the value itself."""
    if world() == 1:
        return value
    result: Tensor = _Mean.apply(value)  # type: ignore[no-untyped-call]
    return result


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation by the statistics of all processes' equally large batches.

    torch's SyncBatchNorm does the same on GPUs only. This one runs on both, so that what the tests see is what a
    GPU computes.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the same, float32 in training."""
        if not self.training:
            return super().forward(x)
        x = x.to(torch.float32)
        centre = mean(x.mean(dim=(0, 2, 3)))
        x = x - centre[:, None, None]
        variance = mean(x.square().mean(dim=(0, 2, 3)))
        count = world() * x.numel() / x.shape[1]
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        assert self.num_batches_tracked is not None
        with torch.no_grad():
            self.running_mean.lerp_(centre, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * (variance + self.eps).rsqrt()
        return x * scale[:, None, None] + self.bias[:, None, None]


def shared(network: nn.Module) -> nn.Module:
    """Return a network whose gradients and batch statistics are those of all processes' batches together.

    The given network is the one that learns, and keeps its names. Alone, it is returned as it is.
    """
    if world() == 1:
        return network
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.__class__ = SharedBatchNorm2d
    # Every process updates the running statistics alike: nothing to send.
    return nn.parallel.DistributedDataParallel(network, forward_sync_buffers=False)
