"""Writes the language model of a checkpoint as GGUF, for programs that read nothing else.

    python write_gguf.py CHECKPOINT f32|q8_0 FILE

The names are those that llama.cpp gives to the tensors of Qwen2. Norms and biases stay in f32, as llama.cpp keeps them.
"""

import json
import sys
from pathlib import Path

import gguf
import numpy
from safetensors import safe_open

# What the language model's own names begin with, by layout; the longest comes first.
PREFIXES = ("language_model.model.", "model.language_model.", "language_model.", "model.")
HEADS = ("language_model.lm_head.weight", "lm_head.weight")
LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
REST = {"embed_tokens": "token_embd", "norm": "output_norm"}


def name_in_gguf(name):
    """The name of a tensor, or nothing for one that is not of the language model."""
    if name in HEADS:
        return "output.weight"
    prefix = next((prefix for prefix in PREFIXES if name.startswith(prefix)), "")
    stem, _, kind = name[len(prefix):].rpartition(".")
    if stem.startswith("layers."):
        _, index, stem = stem.split(".", 2)
        return f"blk.{index}.{LAYER[stem]}.{kind}" if stem in LAYER else None
    return f"{REST[stem]}.{kind}" if stem in REST else None


def vocabulary(folder, size):
    """Tokens, their kinds and the merges, filled up to the size of the table of embeddings."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokens = {index: token for token, index in tokenizer["model"]["vocab"].items()}
    added = {token["id"]: token["content"] for token in tokenizer["added_tokens"]}
    kinds = []
    for index in range(size):
        if index in added:
            kinds.append(gguf.TokenType.CONTROL)
        else:
            kinds.append(gguf.TokenType.NORMAL if index in tokens else gguf.TokenType.UNUSED)
    texts = [added.get(index) or tokens.get(index) or f"[PAD{index}]" for index in range(size)]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["model"]["merges"]]
    return texts, kinds, merges, {text: index for index, text in added.items()}


def write(folder, form, path):
    config = json.loads((folder / "config.json").read_text())
    config = config.get("text_config") or config
    rope = config.get("rope_parameters") or config
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_name(folder.name)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0 if form == "q8_0" else gguf.LlamaFileType.ALL_F32)
    texts, kinds, merges, added = vocabulary(folder, config["vocab_size"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(texts)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(added["<|im_end|>"])
    writer.add_bos_token_id(added["<|endoftext|>"])
    writer.add_pad_token_id(added["<|endoftext|>"])
    writer.add_add_bos_token(False)
    writer.add_chat_template(
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():
                target = name_in_gguf(name)
                if target is None or (target == "output.weight" and config.get("tie_word_embeddings")):
                    continue
                values = tensors.get_tensor(name).float().numpy()
                if values.ndim == 2 and form == "q8_0":
                    kind = gguf.GGMLQuantizationType.Q8_0
                    writer.add_tensor(target, gguf.quants.quantize(values, kind), raw_dtype=kind)
                else:
                    writer.add_tensor(target, numpy.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
