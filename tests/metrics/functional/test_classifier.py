import torch
import torch.nn.functional as F

from kdmm.metrics.functional import text_classifier


def encode(prompts: list[str]) -> torch.Tensor:
    rows = [[float(len(prompt)), float(prompt.count("a")), float(prompt.count("e") + 1)] for prompt in prompts]
    return torch.tensor(rows)


def test_weights_are_the_normalized_mean_of_normalized_prompts() -> None:
    names, templates = [f"thing {'ae' * i}" for i in range(300)], ["a {}.", "the {} here", "{}"]
    weights = text_classifier(encode, names, templates)
    assert weights.shape == (300, 3)
    for row in (0, 85, 299):
        prompts = [encode([template.replace("{}", names[row])])[0].double() for template in templates]
        mean = sum(prompt / prompt.norm() for prompt in prompts) / 3
        torch.testing.assert_close(weights[row], (mean / mean.norm()).float())


def test_prompts_are_encoded_in_bounded_calls() -> None:
    sizes = []

    def counted(prompts: list[str]) -> torch.Tensor:
        sizes.append(len(prompts))
        return encode(prompts)

    text_classifier(counted, [f"class {i}" for i in range(500)], ["a {}", "the {}"])
    assert sum(sizes) == 1000
    assert max(sizes) <= 256


def test_one_template_gives_the_prompt_itself() -> None:
    expected = F.normalize(encode(["a cat.", "a pear."]), dim=-1)
    torch.testing.assert_close(text_classifier(encode, ["cat", "pear"], ["a {}."]), expected)
