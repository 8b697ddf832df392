"""Work in parts: by several threads, in order, and without a wait for itself."""

import pytest
import torch

from shapeopt.compiled import PARTS, each_part, in_parts


@pytest.fixture(params=[1, 2, 4])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_parts_cover_all_and_come_in_order():
    spans = in_parts(lambda part, start, stop, more: (part, start, stop, more), 1003, 10, "more")
    assert [span[0] for span in spans] == list(range(PARTS))
    assert [span[1] for span in spans] == [0, *(span[2] for span in spans[:-1])]
    assert spans[-1][2] == 1003
    assert in_parts(lambda *span: span, 10, 10) == [(0, 0, 10)]
    assert each_part(lambda part: part**2, 3, True) == [0, 1, 4]


@pytest.mark.usefixtures("threads")
def test_an_error_in_a_part_comes_through():
    def work(part: int) -> None:
        if part == 5:
            raise ValueError("part 5")

    for _ in range(20):
        with pytest.raises(ValueError, match="part 5"):
            each_part(work, PARTS, True)


@pytest.mark.usefixtures("threads")
def test_parts_of_parts_do_not_wait_for_each_other():
    inner = lambda part: each_part(lambda other: 10 * part + other, 3, True)  # noqa: E731
    assert each_part(inner, 4, True) == [[10 * i + j for j in range(3)] for i in range(4)]
