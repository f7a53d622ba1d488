"""From the shape of a student's tensor to that of the teacher's."""

from abc import ABC, abstractmethod

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.losses.precision import full_precision

__all__ = ["Adapter", "AttentionPool", "Conv", "Fit", "Tokens", "Width"]

linear = full_precision(F.linear)
conv2d = full_precision(F.conv2d)
attention = full_precision(F.scaled_dot_product_attention)
interpolate = full_precision(F.interpolate)


class Adapter(nn.Module, ABC):
    """Maps a student's tensor to the shape of a teacher's; its layers are made from the shapes of one dry batch.

    Layers compute in float32 or better, whatever precision the models run in.

    Args:
        always: make the linear map also where the widths are equal, as methods whose regressor is part of the loss do.
    """

    def __init__(self, always: bool = False) -> None:
        super().__init__()
        self.always = always
        self.is_built = False

    def build(self, student: Tensor, teacher: Tensor) -> None:
        """Make the layers for tensors of these shapes; the first dimension is the samples.

        Raises:
            InputError: this adapter cannot map the one to the other.
        """
        self.make(student, teacher)
        self.to(student.device)
        self.is_built = True

    @abstractmethod
    def make(self, student: Tensor, teacher: Tensor) -> None:
        """Make the layers."""

    @abstractmethod
    def mapped(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the student's tensor in the teacher's shape."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the student's tensor in the teacher's shape.

        Raises:
            InputError: the layers are not made.
        """
        if not self.is_built and not self.always and student.shape[1:] == teacher.shape[1:]:
            self.build(student, teacher)  # of equal shapes no layer is made
        if not self.is_built:
            raise InputError(
                f"{type(self).__name__}: its layers are not made. Show the objective one batch before training: "
                "`objective.build(student_outputs, teacher_outputs, batch)`; kdmm's own training does it by itself."
            )
        return self.mapped(student, teacher)

    def refuse(self, student: Tensor, teacher: Tensor, wanted: str) -> InputError:
        """Return the error that this adapter does not fit."""
        return InputError(
            f"{type(self).__name__} cannot map the student's {tuple(student.shape)} to the teacher's "
            f"{tuple(teacher.shape)}; it maps {wanted}. Name another adapter, or tap other layers."
        )


class Width(Adapter):
    """A linear map of the last dimension where the widths differ, else nothing: (B, D) or (B, T, D) to width E.

    The regressor of FitNets (Romero et al. 2015, arXiv:1412.6550) for vectors and tokens.
    """

    def __init__(self, always: bool = False) -> None:
        super().__init__(always)
        self.map: nn.Linear | None = None

    def make(self, student: Tensor, teacher: Tensor) -> None:
        """Make the map."""
        if student.ndim not in (2, 3) or student.ndim != teacher.ndim:
            raise self.refuse(student, teacher, "(B, D) to (B, E) and (B, T, D) to (B, T, E)")
        if self.always or student.shape[-1] != teacher.shape[-1]:
            self.map = nn.Linear(student.shape[-1], teacher.shape[-1])

    def mapped(self, student: Float[Tensor, "*B D"], teacher: Float[Tensor, "... E"]) -> Float[Tensor, "*B E"]:
        """Return the student's vectors in the teacher's width."""
        return student if self.map is None else linear(student, self.map.weight, self.map.bias)


class Tokens(Adapter):
    """Vectors of tokens to another width and number: `Width`, then linear interpolation along the tokens."""

    def __init__(self, always: bool = False) -> None:
        super().__init__(always)
        self.width = Width(always)

    def make(self, student: Tensor, teacher: Tensor) -> None:
        """Make the map of the width."""
        if student.ndim != 3 or teacher.ndim != 3:
            raise self.refuse(student, teacher, "(B, T, D) to (B, S, E)")
        self.width.build(student, teacher)

    def mapped(self, student: Float[Tensor, "B T D"], teacher: Float[Tensor, "B S E"]) -> Float[Tensor, "B S E"]:
        """Return the student's tokens in the teacher's shape."""
        student = self.width(student, teacher)
        if student.shape[1] == teacher.shape[1]:
            return student
        return interpolate(student.mT, size=teacher.shape[1], mode="linear", align_corners=False).mT


class Conv(Adapter):
    """Maps to other channels by a 1 x 1 convolution, and to another size by bilinear interpolation.

    The convolutional regressor of FitNets (Romero et al. 2015, arXiv:1412.6550); each is left out where nothing
    differs. The student's map is resized, not the teacher's.
    """

    def __init__(self, always: bool = False) -> None:
        super().__init__(always)
        self.map: nn.Conv2d | None = None

    def make(self, student: Tensor, teacher: Tensor) -> None:
        """Make the convolution."""
        if student.ndim != 4 or teacher.ndim != 4:
            raise self.refuse(student, teacher, "(B, C, H, W) to (B, E, I, J)")
        if self.always or student.shape[1] != teacher.shape[1]:
            self.map = nn.Conv2d(student.shape[1], teacher.shape[1], 1)

    def mapped(self, student: Float[Tensor, "B C H W"], teacher: Float[Tensor, "B E I J"]) -> Float[Tensor, "B E I J"]:
        """Return the student's maps in the teacher's shape."""
        if self.map is not None:
            student = conv2d(student, self.map.weight, self.map.bias)
        if student.shape[2:] == teacher.shape[2:]:
            return student
        return interpolate(student, size=teacher.shape[2:], mode="bilinear", align_corners=False)


class AttentionPool(Adapter):
    """Tokens (B, T, D) or maps (B, C, H, W) to one vector (B, E): a learned query attends to all places.

    The attention pooling of Set Transformer (Lee et al. 2019, arXiv:1810.00825) with one seed and one head: keys are
    the places themselves, values their linear map to width E.
    """

    def make(self, student: Tensor, teacher: Tensor) -> None:
        """Make the query and the map of the values."""
        if student.ndim not in (3, 4) or teacher.ndim != 2:
            raise self.refuse(student, teacher, "(B, T, D) or (B, D, H, W) to (B, E)")
        width = student.shape[-1] if student.ndim == 3 else student.shape[1]
        self.query = nn.Parameter(student.new_zeros(1, 1, width))  # at first the mean over places
        self.map = nn.Linear(width, teacher.shape[1])

    def mapped(self, student: Float[Tensor, "B ..."], teacher: Float[Tensor, "B E"]) -> Float[Tensor, "B E"]:
        """Return one vector a sample."""
        places = student if student.ndim == 3 else student.flatten(2).mT
        pooled = attention(self.query.expand(len(places), -1, -1), places, places)
        return linear(pooled.squeeze(1), self.map.weight, self.map.bias)


class Fit(Adapter):
    """The adapter that fits the shapes: `Width` for vectors, `Tokens` for tokens, `Conv` for maps.

    Tokens or maps against a vector are pooled by `AttentionPool`.
    """

    def make(self, student: Tensor, teacher: Tensor) -> None:
        """Choose the adapter."""
        kinds: dict[tuple[int, int], type[Adapter]] = {
            (2, 2): Width,
            (3, 3): Tokens,
            (4, 4): Conv,
            (3, 2): AttentionPool,
            (4, 2): AttentionPool,
        }
        kind = kinds.get((student.ndim, teacher.ndim))
        if kind is None:
            raise self.refuse(student, teacher, "vectors to vectors, tokens to tokens, maps to maps, and to vectors")
        self.chosen = kind(self.always)
        self.chosen.build(student, teacher)

    def mapped(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the student's tensor in the teacher's shape."""
        mapped: Tensor = self.chosen(student, teacher)
        return mapped
