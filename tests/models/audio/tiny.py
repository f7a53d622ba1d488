"""Folders as a hub gives them, with random weights, small enough for a test."""

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTForAudioClassification,
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    ClapProcessor,
    PreTrainedTokenizerFast,
)

WORDS = ["<s>", "<pad>", "</s>", "<unk>", "a", "dog", "barks", "rain", "falls", "on", "the", "roof", "."]
SECONDS = 1


def tokenizer():
    """Words to ids, with RoBERTa's special tokens."""
    words = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def clap(folder, fused=False, **extractor):
    """A CLAP model of two stages that hears one second at 16 kHz."""
    torch.manual_seed(0)
    config = ClapConfig(
        audio_config={
            "spec_size": 64, "num_mel_bins": 16, "patch_size": 4, "patch_stride": [4, 4], "window_size": 4,
            "depths": [1, 1], "num_attention_heads": [2, 2], "patch_embeds_hidden_size": 8, "hidden_size": 16,
            "enable_fusion": fused, "fusion_type": "aff_2d" if fused else None, "aff_block_r": 2,
        },
        text_config={
            "vocab_size": len(WORDS), "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 32, "max_position_embeddings": 90,
        },
        projection_dim=12,
    )  # fmt: skip
    model = ClapModel(config)
    for name, buffer in model.named_buffers():  # batch norm that has seen something
        if name.endswith("running_mean"):
            buffer.uniform_(-60, -20)
        elif name.endswith("running_var"):
            buffer.uniform_(50, 200)
    model.logit_scale_a.data.fill_(2.5)
    model.logit_scale_t.data.fill_(3.0)
    settings = {
        "feature_size": 16, "sampling_rate": 16_000, "hop_length": 80, "max_length_s": SECONDS, "fft_window_size": 512,
        "frequency_max": 7000, "truncation": "fusion" if fused else "rand_trunc",
    }  # fmt: skip
    model.save_pretrained(folder)
    ClapProcessor(ClapFeatureExtractor(**{**settings, **extractor}), tokenizer()).save_pretrained(folder)
    return model.eval()


def ast(folder):
    """An AST with a classifier, as the published ones are, that hears 64 frames."""
    torch.manual_seed(0)
    config = ASTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, max_length=64, num_mel_bins=32
    )
    model = ASTForAudioClassification(config)
    model.save_pretrained(folder)
    ASTFeatureExtractor(max_length=64, num_mel_bins=32, mean=-5.0, std=3.0).save_pretrained(folder)
    return model.eval()
