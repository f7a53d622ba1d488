import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from kdmm.data.marks import UNLABELLED, Marks, joint, on_canvas


def drawn(height=20, width=30):
    """A picture with two rectangles of pure colour, and marks that say exactly where they are."""
    image = Image.new("RGB", (width, height))
    masks = torch.zeros(2, height, width, dtype=torch.bool)
    masks[0, 4:10, 6:12] = True
    masks[1, 12:18, 18:28] = True
    pixels = torch.zeros(height, width, 3, dtype=torch.uint8)
    pixels[masks[0]] = torch.tensor([255, 0, 0], dtype=torch.uint8)
    pixels[masks[1]] = torch.tensor([0, 255, 0], dtype=torch.uint8)
    image = Image.fromarray(pixels.numpy())
    label_map = torch.full((height, width), UNLABELLED)
    label_map[masks[0]], label_map[masks[1]] = 0, 7
    marks = Marks.of_masks(masks, torch.tensor([3, 5]))
    return image, Marks(marks.boxes, marks.box_classes, masks, label_map)


def where(image, channel):
    return v2.functional.pil_to_tensor(image)[channel] > 127


def test_boxes_hold_just_their_masks_and_an_unseen_object_is_left_out():
    masks = torch.zeros(3, 8, 9, dtype=torch.bool)
    masks[0, 2, 3] = True
    masks[2, 0:8, 0:9] = True
    marks = Marks.of_masks(masks, torch.tensor([1, 2, 3]))
    assert marks.boxes.tolist() == [[3, 2, 4, 3], [0, 0, 9, 8]]
    assert marks.box_classes.tolist() == [1, 3]
    assert Marks.of_masks(masks[:0], torch.zeros(0, dtype=torch.long)).boxes.shape == (0, 4)


@pytest.mark.parametrize(
    "transform",
    [
        v2.RandomHorizontalFlip(p=1.0),
        v2.RandomVerticalFlip(p=1.0),
        v2.CenterCrop((16, 26)),
        v2.Pad([3, 1, 4, 2]),
        v2.Resize((40, 60), interpolation=v2.InterpolationMode.NEAREST),
        v2.RandomCrop((15, 22)),
        v2.RandomAffine(degrees=0, translate=(0.2, 0.2)),
    ],
    ids=lambda each: type(each).__name__,
)
def test_marks_stay_on_what_they_mark(transform):
    torch.manual_seed(3)
    image, marks = joint(transform, *drawn())
    seen = {3: where(image, 0), 5: where(image, 1)}
    assert marks.box_classes.tolist() == [number for number, mask in seen.items() if mask.any()]
    for number, mask, box in zip(marks.box_classes.tolist(), marks.masks, marks.boxes.tolist(), strict=True):
        assert torch.equal(mask, seen[number])
        rows, columns = mask.nonzero().T
        assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    expected = torch.full(seen[3].shape, UNLABELLED)
    expected[seen[3]], expected[seen[5]] = 0, 7
    assert torch.equal(marks.label_map, expected)  # also where a transform moved nothing in


def test_boxes_alone_are_cut_at_the_edge_and_dropped_beyond_it():
    image = Image.new("RGB", (30, 20))
    boxes = torch.tensor([[0.0, 0.0, 4.0, 20.0], [2.0, 3.0, 12.0, 9.0], [25.0, 5.0, 30.0, 6.0]])
    image, marks = joint(v2.CenterCrop((20, 20)), image, Marks(boxes, torch.tensor([1, 2, 3])))
    assert image.size == (20, 20)
    assert marks.boxes.tolist() == [[0, 3, 7, 9]]  # five pixels are cut off on each side
    assert marks.box_classes.tolist() == [2]


def test_the_same_draw_moves_a_picture_alike_with_and_without_marks():
    transform = v2.RandomAffine(degrees=20, translate=(0.1, 0.1))
    image, marks = drawn()
    torch.manual_seed(5)
    alone = transform(image)
    torch.manual_seed(5)
    assert joint(transform, image, marks)[0].tobytes() == alone.tobytes()


def test_on_a_canvas_boxes_are_scaled_and_pictures_without_marks_only_resized():
    image = Image.new("RGB", (30, 20))
    marks = Marks(torch.tensor([[3.0, 5.0, 6.0, 10.0]]), torch.tensor([1]))
    resized, moved = on_canvas(image, marks, (40, 15))
    assert resized.size == (15, 40)
    assert moved.boxes.tolist() == [[1.5, 10, 3, 20]]
    alone, nothing = on_canvas(image, None, (40, 15))
    assert (alone.size, nothing) == ((15, 40), None)
