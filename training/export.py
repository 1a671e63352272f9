"""Writes the checkpoint folder that the server loads: python export.py --critic critic.pt --tokenizer tokenizer.json --out DIR.

Weights are stored in bfloat16 under the names of the Hub's LLaVA-OneVision conversions.  --check loads the folder again
with transformers and compares logits, prompt for prompt, with the code that trained it."""
from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import model as critic
import tiles
import words

TEMPLATE = ("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
            "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
            "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] }}{% endfor %}"
            "{{ '<|im_end|>' + '\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


def hub_name(name: str) -> str | None:
    """Our module names -> those of the Hub's files (language_model.model.*, vision_tower.vision_model.*)."""
    if name == "lm_head.weight":
        return None  # tied to the embedding
    name = name.removeprefix("model.")
    if name.startswith("language_model."):
        return "language_model.model." + name.removeprefix("language_model.")
    if name.startswith("vision_tower.") and not name.startswith("vision_tower.vision_model."):
        return "vision_tower.vision_model." + name.removeprefix("vision_tower.")
    return name


def read(model, folder: str) -> dict:
    """The weights of an exported checkpoint under our module names, for going on with training."""
    stored = load_file(Path(folder) / "model.safetensors")
    return {k: stored[hub_name(k)].float() for k in model.state_dict() if hub_name(k) in stored}


def write(model, encoder: words.Encoder, out: Path, tokenizer: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    sp = encoder.special
    save_file({hub_name(k): v.to(torch.bfloat16).contiguous() for k, v in model.state_dict().items() if hub_name(k)},
              out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)

    def put(name: str, data: dict) -> None:
        (out / name).write_text(json.dumps(data, indent=1) + "\n")

    text = dict(critic.TEXT, architectures=["Qwen2ForCausalLM"], vocab_size=encoder.rows, rope_theta=critic.ROPE_THETA,
                bos_token_id=sp["<|endoftext|>"], eos_token_id=sp["<|im_end|>"])
    put("config.json", {
        "architectures": ["LlavaOnevisionForConditionalGeneration"], "model_type": "llava_onevision",
        "image_grid_pinpoints": tiles.PINPOINTS, "image_token_index": sp["<image>"], "video_token_index": sp["<video>"],
        "multimodal_projector_bias": True, "projector_hidden_act": "gelu", "text_config": text, "tie_word_embeddings": True,
        "use_image_newline_parameter": True, "vision_aspect_ratio": f"anyres_max_{tiles.MAX_TILES}",
        "vision_config": critic.VISION, "vision_feature_layer": -1, "vision_feature_select_strategy": "full",
        "torch_dtype": "bfloat16", "transformers_version": "4.53.0"})
    put("generation_config.json", {"bos_token_id": sp["<|endoftext|>"], "eos_token_id": sp["<|im_end|>"],
                                   "pad_token_id": sp["<|endoftext|>"]})
    put("preprocessor_config.json", {
        "do_convert_rgb": True, "do_normalize": True, "do_pad": True, "do_rescale": True, "do_resize": True,
        "image_grid_pinpoints": tiles.PINPOINTS, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
        "image_processor_type": "LlavaOnevisionImageProcessor", "processor_class": "LlavaOnevisionProcessor", "resample": 3,
        "rescale_factor": 0.00392156862745098, "size": {"height": tiles.SIZE, "width": tiles.SIZE}})
    put("processor_config.json", {
        "image_token": "<image>", "num_image_tokens": tiles.SIDE ** 2, "processor_class": "LlavaOnevisionProcessor",
        "video_token": "<video>", "vision_aspect_ratio": f"anyres_max_{tiles.MAX_TILES}", "vision_feature_select_strategy": "full"})
    plain = dict(lstrip=False, normalized=False, rstrip=False, single_word=False, special=True)
    put("tokenizer_config.json", {
        "add_prefix_space": False, "added_tokens_decoder": {str(i): dict(content=s, **plain) for s, i in sp.items()},
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"], "bos_token": None, "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>", "errors": "replace", "model_max_length": critic.TEXT["max_position_embeddings"],
        "pad_token": "<|endoftext|>", "split_special_tokens": False, "tokenizer_class": "Qwen2Tokenizer", "unk_token": None,
        "processor_class": "LlavaOnevisionProcessor"})
    put("added_tokens.json", sp)
    (out / "chat_template.jinja").write_text(TEMPLATE)
    (out / "tokenizer.json").write_text(Path(tokenizer).read_text())


def load(folder: Path):
    """The exported folder through transformers, in f32."""
    from transformers import LlavaOnevisionForConditionalGeneration
    model, info = LlavaOnevisionForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    return model.eval()


@torch.no_grad()
def check(folder: Path, cases_wanted: int = 12) -> float:
    """Largest difference between our logits and transformers' own forward pass over whole prompts."""
    import cases
    import scenes
    from train import collate, forward
    encoder, worst = words.load(folder / "tokenizer.json"), 0.0
    model, rng = load(folder), random.Random("export")
    for _ in range(cases_wanted):
        scene = scenes.sample(rng)
        im, _ = scenes.draw(scene)
        u8, index = tiles.cut(im), tiles.packing(im.height, im.width)
        seg = encoder.segment(cases.some(scene, rng, 1, 0.2)[0], 1.0, 0.0)
        (hidden, *_), *_ = forward(model, encoder, collate([dict(u8=u8, index=index, segments=[seg])], encoder))
        ours = critic.logits(model, hidden[0])[0]
        ids = [*encoder.head, *[encoder.special["<image>"]] * len(index), *seg["ids"]]
        theirs = model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                       pixel_values=critic.pixels(torch.from_numpy(u8))[None], image_sizes=torch.tensor([[im.height, im.width]]),
                       ).logits[0, -len(seg["ids"]):]
        worst = max(worst, (ours - theirs).abs().max().item())
    return worst


def main() -> None:
    ap = argparse.ArgumentParser()
    ap.add_argument("--critic", required=True)
    ap.add_argument("--tokenizer", required=True)
    ap.add_argument("--out", type=Path, required=True)
    ap.add_argument("--check", action="store_true")
    a = ap.parse_args()
    encoder = words.load(a.tokenizer)
    model = critic.build(encoder.rows, encoder.special)
    model.load_state_dict(torch.load(a.critic)["model"])
    write(model, encoder, a.out, a.tokenizer)
    if a.check:
        worst = check(a.out)
        print(f"largest difference in logits from transformers: {worst:.2e}")
        assert worst < 1e-3


if __name__ == "__main__":
    main()
