"""What training minimises, for each head."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from digitcam.core.card import GridHead, SlotsHead
from digitcam.train.distributed import mean, world

NOBODY = -1
"""Label of the padding where an image has fewer digits than the batch's most."""
INNER, OUTER = 0.25, 0.36
"""Cells closer to a digit's centre than INNER of its box speak of it; between INNER and OUTER they may or not."""

TAUGHT = 0.5
"""What the teacher's answer counts of the class loss; the truth counts the rest."""

Weight = Annotated[float, msgspec.Meta(ge=0)]


class LossConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is summed up; what the box counts is the schedule's `box_weight`.

    class_weight
        What the class loss counts.
    none_weight
        What a position without a digit counts in it; for slots.
    box
        For slots, of centre x, centre y, height and width: `smooth_l1`, see `slots_loss`; `mean_square` or
        `sum_square`, the mean or sum over the four of the squared difference in px².
    l2
        What half the sum of the convolutions' squared weights counts.
    """

    class_weight: Weight = 1.0
    none_weight: Weight = 1.0
    box: Literal["smooth_l1", "mean_square", "sum_square"] = "smooth_l1"
    l2: Weight = 0.0


DEFAULT = LossConfig()


def grid_targets(labels: Tensor, boxes: Tensor, rows: int, columns: int, stride: int) -> tuple[Tensor, Tensor, Tensor]:
    """Say for every cell what it ought to answer.

    Parameters
    ----------
    labels
        int64 [B, N], class of each digit, `NOBODY` where there is none.
    boxes
        float32 [B, N, 4] x, y, width, height in input pixels.

    Returns
    -------
    owner
        int64 [B, rows, columns]: which digit the cell speaks of, or `NOBODY`. The cell nearest to a digit's
        centre always speaks of it, however small the digit, and those above and below as far as it is tall.
    free
        bool [B, rows, columns]: the cell's class does not count.
    target
        float32 [B, N, rows, columns, 4]: what the box output must be for each digit, see `core.decode.cell_box`.
    """
    steps = [torch.arange(n, device=boxes.device) for n in (rows, columns)]
    y, x = torch.meshgrid(*steps, indexing="ij")
    cells = (torch.stack([x, y], dim=-1) + 0.5) * stride  # [rows, columns, 2]
    size = boxes[:, :, None, None, 2:].clamp(min=1)
    away = boxes[:, :, None, None, :2] + size / 2 - cells  # [B, N, rows, columns, 2]
    target = torch.cat([away / stride, (size / stride).log().expand_as(away)], dim=-1)

    # In boxes. Of a digit narrower than two cells the column of cells nearest to it speaks, or a tall 1 would have one.
    distance = (away / size.clamp(min=2 * stride)).abs().amax(dim=-1)
    distance = distance.masked_fill((labels == NOBODY)[:, :, None, None], torch.inf)
    nearest = away.square().sum(dim=-1).flatten(2).argmin(dim=-1)  # [B, N]
    at_centre = F.one_hot(nearest, rows * columns).bool().reshape(distance.shape) & distance.isfinite()
    closest, owner = distance.masked_fill(at_centre, 0.0).min(dim=1)
    free = (closest > INNER) & (closest < OUTER)
    return owner.masked_fill(closest > INNER, NOBODY), free, target


def grid_loss(
    output: tuple[Tensor, Tensor],
    labels: Tensor,
    boxes: Tensor,
    head: GridHead,
    box_weight: float,
    taught: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the class loss and the weighted box loss, each a mean over the cells that speak of digits.

    Of several processes' losses the mean is that of their batches together: the cells of all are counted.

    Class: cross entropy over digits and "none". Box: smooth L1 (Girshick 2015, beta 0.05) on `cell_box`'s form.

    Parameters
    ----------
    taught
        A teacher's probabilities [B, rows, columns, classes]. The class loss is then a mean of the cross entropies
        with the truth and with these (Hinton et al. 2015, arXiv:1503.02531, at temperature 1), see `TAUGHT`.
    """
    logits, places = output
    none = len(head.alphabet)
    owner, free, target = grid_targets(labels, boxes, logits.shape[1], logits.shape[2], head.stride)
    digit = owner != NOBODY
    index = owner.clamp(min=0)
    wanted = labels.gather(1, index.flatten(1)).reshape(owner.shape)
    wanted = torch.where(digit, wanted, none)
    # An image without digits has no such cell but learns too: a batch counts at least one cell an image.
    count = mean(digit.sum()).clamp(min=len(labels))

    entropy = F.cross_entropy(logits.flatten(0, 2), wanted.flatten(), reduction="none").reshape(owner.shape)
    class_loss = entropy.masked_fill(free, 0.0).sum() / count
    if taught is not None:
        theirs = F.cross_entropy(logits.flatten(0, 2), taught.flatten(0, 2), reduction="sum") / count
        class_loss = torch.lerp(class_loss, theirs, TAUGHT)

    aim = target.gather(1, index[:, None, :, :, None].expand(-1, -1, -1, -1, 4))[:, 0]
    box_loss = F.smooth_l1_loss(places[digit], aim[digit], beta=0.05, reduction="sum") / count
    return class_loss, box_weight * box_loss


def slots_loss(
    output: tuple[Tensor, Tensor],
    labels: Tensor,
    boxes: Tensor,
    head: SlotsHead,
    box_weight: float,
    config: LossConfig = DEFAULT,
) -> tuple[Tensor, Tensor]:
    """Return the class loss, a mean over positions with missing digits as "none", and the weighted box loss.

    Of a number longer than the positions the first digits are learned; its box is that of all.

    The box loss is, by default, smooth L1 (beta 1 px) on centre x, centre y, height and width of the digits' common
    box, in strides of 16 px, so that it is of the size of the cross entropy.
    """
    logits, place = output
    none = len(head.alphabet)
    wanted = F.pad(labels, (0, head.positions - labels.shape[1]), value=NOBODY)
    wanted = wanted.masked_fill(wanted == NOBODY, none)
    entropy = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none")
    class_loss = torch.where(wanted.flatten() == none, config.none_weight * entropy, entropy).mean()

    missing = (labels == NOBODY)[..., None]
    low = boxes[..., :2].masked_fill(missing, torch.inf).amin(dim=1)
    high = (boxes[..., :2] + boxes[..., 2:]).masked_fill(missing, -torch.inf).amax(dim=1)
    size = high - low
    aim = torch.cat([low + size / 2, size.flip(-1)], dim=-1)
    some = ~missing.all(dim=1)[:, 0]
    if config.box == "smooth_l1":
        box_loss = F.smooth_l1_loss(place[some] / 16, aim[some] / 16, beta=1 / 16, reduction="sum")
    else:
        numbers = 4 if config.box == "mean_square" else 1
        box_loss = F.mse_loss(place[some], aim[some], reduction="sum") / numbers
    box_loss = box_loss / mean(some.sum()).clamp(min=1 / world())
    return class_loss, box_weight * box_loss


def loss(
    output: tuple[Tensor, Tensor],
    labels: Tensor,
    boxes: Tensor,
    head: GridHead | SlotsHead,
    box_weight: float,
    config: LossConfig = DEFAULT,
    taught: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return (weighted class loss, weighted box loss) of a batch for either head; training minimises their sum.

    `taught`, for a grid, see `grid_loss`.
    """
    if isinstance(head, GridHead):
        class_loss, box_loss = grid_loss(output, labels, boxes, head, box_weight, taught)
    else:
        class_loss, box_loss = slots_loss(output, labels, boxes, head, box_weight, config)
    return config.class_weight * class_loss, box_loss


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    """Return the convolutions of a network."""
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


def l2_loss(network: nn.Module) -> Tensor:
    """Return half the sum of the convolutions' squared weights, as tf.nn.l2_loss; their biases do not count."""
    return torch.stack([layer.weight.square().sum() for layer in convolutions(network)]).sum() / 2
