"""A run of a network as layers of ReLUs, each of which sees only the layer before it.

A group of ReLUs goes into the layer after the last one that it depends on. What a later layer needs
of an earlier one is passed on by linear neurons: either the earlier layer's numbers themselves, or
the sums that later layers will make of them, whichever are fewer.

    inputs  [layer 1]  [layer 2]  [layer 3]   output
      x ------ h1 ------- h2 ------- h3 -------- f       h3 and f need x, too: two linear layers
       \\_____ x ________ x ________ c.x ______/        pass x on, and one passes c.x on
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor

from shapeopt.errors import InputError
from shapeopt.networks.affine import AffineLayer
from shapeopt.networks.forms import INPUT, Form, Record


@dataclass
class _Consumer:
    """Rows that some layer computes: a group's pre-activations, or the outputs.

    Attributes:
        layer: that computes them, counted from 1.
        constant: one for each row.
        blocks: coefficients by the group that they are of.
    """

    layer: int
    constant: Float[Tensor, "rows"]
    blocks: dict[int, Float[Tensor, "size rows"]]

    @staticmethod
    def of(form: Form, layer: int) -> "_Consumer":
        """The form's values in a row."""
        constant = form.constant.flatten()
        blocks = {group: block.flatten(1) for group, block in form.blocks.items()}
        return _Consumer(layer, constant, blocks)


@dataclass
class _State:
    """What a layer gives to the next one, side by side.

    Attributes:
        raw: where the numbers of a group start.
        sums: where the sums of a consumer start, and the groups that they are over.
        width: how many numbers there are.
    """

    raw: dict[int, int] = field(default_factory=dict)
    sums: dict[int, tuple[int, set[int]]] = field(default_factory=dict)
    width: int = 0


def lower(record: Record, output: Form) -> list[AffineLayer]:
    """The run as layers, with graph.

    Raises:
        InputError: if the output does not depend on the inputs.
    """
    depths, used = _depths(record), _used(record, output)
    if INPUT not in used:
        raise InputError("the network's output does not depend on its inputs")
    count = max(depths[group] for group in used)
    consumers = {
        number: _Consumer.of(group.values, depths[number])
        for number, group in enumerate(record.groups)
        if number in used and group.values is not None
    }
    result = -1
    consumers[result] = _Consumer.of(output, count + 1)
    sizes = [group.size for group in record.groups]
    state = _State({INPUT: 0}, {}, sizes[INPUT])
    layers = []
    for layer in range(1, count + 1):
        here = [name for name, depth in depths.items() if depth == layer and name in used]
        layer_now, state = _layer(layer, here, state, consumers, sizes)
        layers.append(layer_now)
    weight = _rows(consumers[result], result, state, sizes)
    return [*layers, AffineLayer(weight, consumers[result].constant)]


def _depths(record: Record) -> dict[int, int]:
    """The layer of each group; 0 for the inputs."""
    depths = {INPUT: 0}
    for number, group in enumerate(record.groups):
        if group.values is not None:
            depths[number] = 1 + max((depths[other] for other in group.values.blocks), default=0)
    return depths


def _used(record: Record, output: Form) -> set[int]:
    """The groups that the output depends on."""
    used, waiting = set(), list(output.blocks)
    while waiting:
        number = waiting.pop()
        if number not in used:
            used.add(number)
            values = record.groups[number].values
            waiting += list(values.blocks) if values is not None else []
    return used


def _layer(
    layer: int,
    here: Sequence[int],
    before: _State,
    consumers: dict[int, _Consumer],
    sizes: Sequence[int],
) -> tuple[AffineLayer, _State]:
    """A layer with the ReLUs of these groups, and what it gives on."""
    after, parts, biases = _State(), [], []
    for group in here:
        after.raw[group] = after.width
        parts.append(_rows(consumers[group], group, before, sizes))
        biases.append(consumers[group].constant)
        after.width += sizes[group]
    folded = after.width
    later = {name: consumer for name, consumer in consumers.items() if consumer.layer > layer}
    raw, summed = _passed_on(before, later, sizes)
    for group in raw:
        after.raw[group] = after.width
        start, size = before.raw[group], sizes[group]
        unit = torch.eye(size, dtype=parts[0].dtype, device=parts[0].device)
        parts.append(_placed(unit, start, before.width))
        after.width += size
    for name in summed:
        rows = _rows(later[name], name, before, sizes)
        of_before = before.sums.get(name, (0, set()))[1]
        groups = of_before | (before.raw.keys() & later[name].blocks.keys())
        after.sums[name] = after.width, groups
        parts.append(rows)
        after.width += len(rows)
    weight = torch.cat(parts)
    bias = torch.cat([*biases, weight.new_zeros(after.width - folded)])
    if after.width == folded:
        return AffineLayer(weight, bias), after
    is_linear = torch.arange(after.width, device=weight.device) >= folded
    return AffineLayer(weight, bias, is_linear), after


def _passed_on(
    before: _State, later: dict[int, _Consumer], sizes: Sequence[int]
) -> tuple[list[int], list[int]]:
    """The groups whose numbers are passed on, and the consumers whose sums are.

    Sums that are there already are continued, and take in further groups at no cost.
    """
    needed = {
        group: [name for name, consumer in later.items() if group in consumer.blocks]
        for group in before.raw
    }
    needed = {group: names for group, names in needed.items() if names}
    takers = {name for names in needed.values() for name in names}
    extra = sum(len(later[name].constant) for name in takers if name not in before.sums)
    of_sums = [name for name in before.sums if name in later]
    if extra < sum(sizes[group] for group in needed):
        return [], sorted(takers | set(of_sums))
    return list(needed), of_sums


def _rows(
    consumer: _Consumer, name: int, before: _State, sizes: Sequence[int]
) -> Float[Tensor, "rows width"]:
    """The consumer's rows over what the layer before gives."""
    count = len(consumer.constant)
    start, summed = before.sums.get(name, (0, set()))
    parts = []
    if summed:
        unit = torch.eye(count, dtype=consumer.constant.dtype, device=consumer.constant.device)
        parts.append(_placed(unit, start, before.width))
    for group, block in consumer.blocks.items():
        if group in before.raw and group not in summed:
            parts.append(_placed(block.T, before.raw[group], before.width))
    if not parts:
        return consumer.constant.new_zeros(count, before.width)
    return reduce(torch.add, parts)


def _placed(block: Float[Tensor, "rows k"], start: int, width: int) -> Float[Tensor, "rows width"]:
    """The block with zeros on both sides."""
    if block.shape[1] == width:
        return block
    return torch.nn.functional.pad(block, (start, width - start - block.shape[1]))
