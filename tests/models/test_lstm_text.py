import pytest
import torch

from kdmm.data import Texts, TrainedTokens
from kdmm.errors import InputError
from kdmm.models import Classifier, LstmText, load_model, save_model
from tests.models.tiny_bert import write_tiny_bert

TEXTS = ["the film is good", "bad", "a very long and dull movie so bad and not fine"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    return write_tiny_bert(tmp_path_factory.mktemp("left"), side="left")


def cell(x, state, weights):
    """One step of an LSTM, as Hochreiter and Schmidhuber's equations with a forget gate."""
    hidden, memory = state
    w_in, w_hidden, b_in, b_hidden = weights
    gates = w_in @ x + b_in + w_hidden @ hidden + b_hidden
    i, f, g, o = gates.chunk(4)
    memory = f.sigmoid() * memory + i.sigmoid() * g.tanh()
    return o.sigmoid() * memory.tanh(), memory


def read(vectors, lstm, layer, suffix):
    weights = [getattr(lstm, f"{name}_l{layer}{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    width = weights[1].shape[1]
    state, states = (torch.zeros(width), torch.zeros(width)), []
    for x in vectors:
        state = cell(x, state, weights)
        states.append(state[0])
    return states


def by_loop(tower, ids):
    vectors = [tower.embedding.weight[i] for i in ids]
    for layer in range(tower.lstm.num_layers):
        forth = read(vectors, tower.lstm, layer, "")
        back = read(vectors[::-1], tower.lstm, layer, "_reverse")
        vectors = [torch.cat(pair) for pair in zip(forth, back[::-1], strict=True)]
    return torch.cat([forth[-1], back[-1]])


@pytest.mark.parametrize("layers", [1, 2])
def test_features_are_the_last_states_of_a_loop(folder, layers):
    tower = LstmText(folder, embedding_width=5, hidden_width=3, layers=layers).eval()
    torch.nn.init.normal_(tower.embedding.weight)
    text = tower.preprocess(TEXTS)
    found = tower(text)
    assert found.shape == (3, tower.width) == (3, 6)
    for row, ids in zip(found, text.tolist(), strict=True):
        torch.testing.assert_close(row, by_loop(tower, [i for i in ids if i != 0]), atol=1e-6, rtol=1e-5)


def test_padding_changes_nothing_wherever_it_stands(folder, left):
    tower = LstmText(folder, embedding_width=8, hidden_width=8).eval()
    text = tower.preprocess(TEXTS)
    together = tower(text)
    for row, single in zip(together, TEXTS, strict=True):
        torch.testing.assert_close(tower(tower.preprocess([single]))[0], row)
    wider = torch.cat([text, torch.zeros(3, 4, dtype=torch.long)], 1)
    torch.testing.assert_close(tower(wider), together)
    other = LstmText(left, embedding_width=8, hidden_width=8).eval()
    other.load_state_dict(tower.state_dict())
    padded_left = other.preprocess(TEXTS)
    assert padded_left[1, 0] == 0
    torch.testing.assert_close(other(padded_left), together)


def test_padding_has_no_gradient_and_a_text_without_tokens_is_zero(folder):
    tower = LstmText(folder, embedding_width=4, hidden_width=4)
    text = torch.cat([tower.preprocess(TEXTS), torch.zeros(1, 13, dtype=torch.long)])
    features = tower(text)
    assert (features[3] == 0).all()
    assert (features[:3] != 0).all()
    features.square().sum().backward()
    assert not tower.embedding.weight.grad[0].any()
    assert tower.embedding.weight.grad[text[0, 1]].any()


def test_dropout_draws_in_training_alone(folder):
    tower = LstmText(folder, embedding_width=8, hidden_width=8, layers=2, dropout=0.5)
    text = tower.preprocess(TEXTS)
    assert not torch.equal(tower(text), tower(text))
    tower.eval()
    assert torch.equal(tower(text), tower(text))


def test_a_trained_tokenizer_is_kept_in_the_models_file(tmp_path):
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS * 3))
    source = {"_target_": "kdmm.data.Texts", "path": str(tmp_path / "texts.txt")}
    tokens = {"_target_": "kdmm.data.TrainedTokens", "trained_on": source, "vocab_size": 270, "context_length": 6}
    tree = {
        "_target_": "kdmm.models.Classifier",
        "tower": {"_target_": "kdmm.models.LstmText", "tokenizer": tokens, "embedding_width": 4, "hidden_width": 4},
        "classes": 2,
    }
    trained = TrainedTokens(Texts(tmp_path / "texts.txt"), 270, context_length=6)
    model = Classifier(LstmText(trained, embedding_width=4, hidden_width=4), 2).eval()
    assert model.tower.embedding.num_embeddings == 270
    assert model.preprocess.text(TEXTS).shape[1] == 6
    save_model(tmp_path / "model.safetensors", model, tree)
    (tmp_path / "texts.txt").unlink()
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.preprocess == model.preprocess
    text = loaded.preprocess.text(TEXTS)
    assert torch.equal(loaded({"text": text})["logits"], model({"text": text})["logits"])


def test_inherited_embeddings_are_the_principal_components(folder):
    tower = LstmText(folder, embedding_width=3, weights=folder)
    from transformers import AutoModel

    full = AutoModel.from_pretrained(folder).get_input_embeddings().weight.detach()
    centred = (full - full.mean(0)).double()
    u, s, _ = torch.linalg.svd(centred, full_matrices=False)
    expected = (u[:, :3] * s[:3]).abs()
    expected = expected * 0.02 / (u[:, :3] * s[:3]).std()
    torch.testing.assert_close(tower.embedding.weight.detach().abs().double(), expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"embedding_width": 0}, "LstmText.embedding_width: 0"),
        ({"hidden_width": 0}, "LstmText.hidden_width: 0"),
        ({"layers": 0}, "LstmText.layers: 0"),
        ({"embedding_width": 17}, "LstmText.weights: .* has embeddings of width 16, and 17 is asked for"),
    ],
)
def test_wrong_settings_are_named(folder, settings, said):
    with pytest.raises(InputError, match=said):
        LstmText(folder, weights=folder, **settings)
