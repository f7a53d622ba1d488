import pytest
import torch

from kdmm.metrics.functional.boundary import inner_boundary


def slow(mask, distance):
    """Every pixel of the mask with a pixel outside, or an edge of the picture, within so many steps."""
    height, width = mask.shape
    found = torch.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            around = [
                (i, j) for i in range(y - distance, y + distance + 1) for j in range(x - distance, x + distance + 1)
            ]
            outside = any(not (0 <= i < height and 0 <= j < width and bool(mask[i, j])) for i, j in around)
            found[y, x] = bool(mask[y, x]) and outside
    return found


@pytest.mark.parametrize("distance", [1, 2, 4])
def test_it_is_what_lies_within_so_many_steps_of_the_outside(distance):
    generator = torch.Generator().manual_seed(distance)
    masks = torch.rand(3, 9, 11, generator=generator) < torch.tensor([0.5, 0.9, 0.98])[:, None, None]
    assert torch.equal(inner_boundary(masks, distance), torch.stack([slow(mask, distance) for mask in masks]))


def test_of_a_rectangle_it_is_the_frame():
    mask = torch.zeros(1, 12, 14, dtype=torch.bool)
    mask[0, 2:10, 3:12] = True
    frame = mask.clone()
    frame[0, 4:8, 5:10] = False
    assert torch.equal(inner_boundary(mask, 2), frame)
