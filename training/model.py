"""The critic: a small LLaVA-OneVision from transformers' own modules, driven so that many judgments share one picture."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration

import tiles

VISION = dict(model_type="siglip_vision_model", hidden_size=128, intermediate_size=384, num_hidden_layers=4,
              num_attention_heads=4, image_size=tiles.SIZE, patch_size=tiles.PATCH, num_channels=3,
              hidden_act="gelu_pytorch_tanh", layer_norm_eps=1e-6, attention_dropout=0.0, vision_use_head=False)
TEXT = dict(model_type="qwen2", hidden_size=192, intermediate_size=512, num_hidden_layers=7, num_attention_heads=4,
            num_key_value_heads=2, hidden_act="silu", rms_norm_eps=1e-6, max_position_embeddings=4096,
            tie_word_embeddings=True, use_cache=True, attention_dropout=0.0, initializer_range=0.02,
            use_sliding_window=False, sliding_window=None, max_window_layers=7)
ROPE_THETA = 10000.0
# What the verdict rests on is asked for before the last layer, so that the layers above can gather it: untrue words after
# the fifth layer, the grade of each response after the sixth.
FLAW_DEPTH, GRADE_DEPTH = 5, 6


def config(vocab: int, special: dict[str, int]) -> LlavaOnevisionConfig:
    text = dict(TEXT, vocab_size=vocab, bos_token_id=special["<|endoftext|>"], eos_token_id=special["<|im_end|>"],
                rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA})
    return LlavaOnevisionConfig(
        vision_config=dict(VISION), text_config=text, image_token_index=special["<image>"],
        video_token_index=special["<video>"], projector_hidden_act="gelu", vision_feature_select_strategy="full",
        vision_feature_layer=-1, vision_aspect_ratio=f"anyres_max_{tiles.MAX_TILES}",
        image_grid_pinpoints=tiles.PINPOINTS, tie_word_embeddings=True, multimodal_projector_bias=True)


def build(vocab: int, special: dict[str, int]) -> LlavaOnevisionForConditionalGeneration:
    model = LlavaOnevisionForConditionalGeneration(config(vocab, special)).float()
    start(model)
    return model


@torch.no_grad()
def start(model) -> None:
    """Larger beginnings than transformers': its 0.02 everywhere suits wide models and long runs.

    With small embeddings, tied as they are, the six colours (each as likely as the next at first) fell onto one another
    within a few hundred steps, and the model could then neither read nor write them apart."""
    torch.nn.init.normal_(model.model.vision_tower.embeddings.position_embedding.weight, std=0.3)
    lm = model.model.language_model
    torch.nn.init.normal_(lm.embed_tokens.weight, std=0.1)
    for name, p in [*lm.named_parameters(), *model.model.multi_modal_projector.named_parameters()]:
        if p.dim() == 2 and "embed_tokens" not in name:
            out = "o_proj" in name or "down_proj" in name
            torch.nn.init.normal_(p, std=p.shape[1] ** -0.5 * ((2 * len(lm.layers)) ** -0.5 if out else 1.0))
    model.model.multi_modal_projector.linear_1.weight /= 8  # the tower's features are about that large after stage 0
    torch.nn.init.normal_(model.model.image_newline, std=0.5)


def pixels(u8: torch.Tensor) -> torch.Tensor:
    """[n, S, S, 3] u8 -> [n, 3, S, S] in -1..1."""
    return (u8.permute(0, 3, 1, 2).float() * 0.00392156862745098 - 0.5) / 0.5


def see(model, u8: torch.Tensor) -> torch.Tensor:
    """Tiles -> [n, patches, width]: the last layer's output, before the tower's closing norm."""
    tower = model.model.vision_tower
    return tower.encoder(inputs_embeds=tower.embeddings(pixels(u8))).last_hidden_state


def see_twice(model, u8: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """As `see`, with the output of the tower's second layer too."""
    tower = model.model.vision_tower
    x = middle = tower.embeddings(pixels(u8))
    for i, layer in enumerate(tower.encoder.layers):
        x = layer(x, None)
        middle = x if i == 1 else middle
    return middle, x


def picture_tokens(model, features: torch.Tensor, index: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    """Projected patches of all tiles, gathered into padded prompts [B, P, H].

    `index` [B, P] points into the flat list of patches; -1 is the newline; `length` counts what is not padding."""
    flat = model.model.multi_modal_projector(features).flatten(0, 1)
    flat = torch.cat([flat, model.model.image_newline[None]])  # index -1 lands here
    return flat[index]


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


def heads(x: torch.Tensor, n: int) -> torch.Tensor:
    return x.view(x.shape[0], x.shape[1], n, -1).transpose(1, 2)


def read(model, prefix: torch.Tensor, length: torch.Tensor, chunks: list[dict]) -> tuple[list, list, list]:
    """Hidden states of each chunk of segments, final ones and those after FLAW_DEPTH and GRADE_DEPTH layers; every segment
    sees its own picture's prefix and itself.

    prefix [B, P, H] padded on the right, `length` [B] its true lengths; a chunk has `ids` [S, T] and `owner` [S] (row of
    the prefix).  Segments start at position length[owner], as they do in a real prompt, so this is what the whole prompt
    would give; the prefix is worked out once for all its segments."""
    lm = model.model.language_model
    cfg = lm.config
    nq, nk = cfg.num_attention_heads, cfg.num_key_value_heads
    B, P, _ = prefix.shape
    x, xs = prefix, [lm.embed_tokens(c["ids"]) for c in chunks]
    pos = torch.arange(P)[None].expand(B, P)
    rope = lm.rotary_emb(x, pos)
    rope = [r[:, None] for r in rope]
    ropes, masks = [], []
    for c in chunks:
        T = c["ids"].shape[1]
        start = length[c["owner"]]
        ropes.append([r[:, None] for r in lm.rotary_emb(xs[0], start[:, None] + torch.arange(T)[None])])
        see_prefix = torch.arange(P)[None, None] < start[:, None, None]
        see_self = torch.ones(T, T, dtype=torch.bool).tril()[None].expand(len(start), T, T)
        masks.append(torch.cat([see_prefix.expand(-1, T, P), see_self], 2)[:, None])
    for i, layer in enumerate(lm.layers):
        att = layer.self_attn

        def qkv(z, r):
            y = layer.input_layernorm(z)
            return (rotate(heads(att.q_proj(y), nq), *r), rotate(heads(att.k_proj(y), nk), *r), heads(att.v_proj(y), nk))

        def finish(z, a):
            z = z + att.o_proj(a.transpose(1, 2).flatten(2))
            return z + layer.mlp(layer.post_attention_layernorm(z))

        q, k, v = qkv(x, rope)
        new = []
        for c, z, r, m in zip(chunks, xs, ropes, masks):
            sq, sk, sv = qkv(z, r)
            sk, sv = torch.cat([k[c["owner"]], sk], 2), torch.cat([v[c["owner"]], sv], 2)
            a = F.scaled_dot_product_attention(sq, sk.repeat_interleave(nq // nk, 1), sv.repeat_interleave(nq // nk, 1), m)
            new.append(finish(z, a))
        xs = new
        if i + 1 == FLAW_DEPTH:
            at_flaw = [lm.norm(z) for z in xs]
        if i + 1 == GRADE_DEPTH:
            at_grade = [lm.norm(z) for z in xs]
        if i + 1 < len(lm.layers):  # nothing reads the prefix after the last layer
            a = F.scaled_dot_product_attention(q, k.repeat_interleave(nq // nk, 1), v.repeat_interleave(nq // nk, 1), is_causal=True)
            x = finish(x, a)
    return [lm.norm(z) for z in xs], at_flaw, at_grade


def logits(model, hidden: torch.Tensor) -> torch.Tensor:
    return F.linear(hidden, model.model.language_model.embed_tokens.weight)


def grow(model, state: dict) -> None:
    """Loads the state of a shallower language model: the layers it lacks start as the identity."""
    for layer in model.model.language_model.layers:
        torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
        torch.nn.init.zeros_(layer.mlp.down_proj.weight)
    model.load_state_dict(state, strict=False)
