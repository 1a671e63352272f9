"""Measures transformers on a LLaVA-OneVision checkpoint, in this process.

    python transformers_peer.py CHECKPOINT THREADS DEVICE

DEVICE is cpu, for 32-bit floats, or cuda, for bf16 on the first GPU.
Reads one JSON request per line, runs it, and writes one JSON reply per line: times in seconds, taken around the model's own
work. Images are preprocessed, texts tokenised and both copied to the device before the clock starts.
"""

import base64
import io
import json
import os
import sys
import time

# Libraries print to stdout, which is reserved for the replies.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

import torch
import transformers
from PIL import Image
from transformers import AutoProcessor, LlavaOnevisionForConditionalGeneration

CHECKPOINT, THREADS, DEVICE = sys.argv[1], int(sys.argv[2]), sys.argv[3]
ON_GPU = DEVICE == "cuda"
# On a GPU weights are loaded directly to the device, without a copy in main memory.
FORM = (
    {"dtype": torch.bfloat16, "attn_implementation": "sdpa", "device_map": DEVICE}
    if ON_GPU
    else {"dtype": torch.float32}
)
transformers.logging.set_verbosity_error()
torch.set_num_threads(THREADS)
processor = AutoProcessor.from_pretrained(CHECKPOINT)
processor.tokenizer.padding_side = "left"
model = LlavaOnevisionForConditionalGeneration.from_pretrained(CHECKPOINT, **FORM).eval()


def clock():
    """Returns the time after waiting for the device: a GPU is still computing when a call returns."""
    if ON_GPU:
        torch.cuda.synchronize()
    return time.perf_counter()


def give_back():
    """Releases the GPU memory that torch's allocator caches, so that other programs can use it."""
    if ON_GPU:
        torch.cuda.empty_cache()


def image_of(request):
    return Image.open(io.BytesIO(base64.b64decode(request["image"]))).convert("RGB")


def encode_image(request):
    inputs = processor.image_processor([[image_of(request)]], return_tensors="pt").to(DEVICE, FORM["dtype"])
    begin = clock()
    model.model.get_image_features(
        inputs["pixel_values"], inputs["image_sizes"], batch_num_images=inputs["batch_num_images"]
    )
    return {"seconds": clock() - begin, "tiles": inputs["pixel_values"].shape[1]}


def language(request):
    """Prefills a new prompt for each sequence, then decodes tokens one by one."""
    batch, length, steps = request["batch"], request["prompt_tokens"], request["steps"]
    generator = torch.Generator().manual_seed(request["serial"])
    tokens = torch.randint(0, request["vocabulary"], (batch, length), generator=generator).to(DEVICE)
    begin = clock()
    output = model(input_ids=tokens, use_cache=True, logits_to_keep=1)
    chosen = output.logits[:, -1:].argmax(-1)
    prefill = clock() - begin
    begin = clock()
    for _ in range(steps):
        output = model(input_ids=chosen, past_key_values=output.past_key_values, use_cache=True)
        chosen = output.logits[:, -1:].argmax(-1)
    return {
        "prompt_tokens": batch * length,
        "prefill_s": prefill,
        "written_tokens": batch * steps,
        "decode_s": clock() - begin,
    }


def judge(request):
    """Runs all prompts in padded batches of one size, and generates up to `write` tokens for each. If `write` is 0, returns the
    log-probabilities of the labels' first tokens at the ends of prompts; they are computed after the clock has stopped."""
    image, size, write = image_of(request), request["batch"], request["write"]
    firsts = [processor.tokenizer(label, add_special_tokens=False)["input_ids"][0] for label in request["labels"]]
    labels, seconds, read, written, ends = [], 0.0, 0, 0, model.generation_config.eos_token_id
    ends = torch.tensor(ends if isinstance(ends, list) else [ends], device=DEVICE)
    for first in range(0, len(request["prompts"]), size):
        texts = []
        for prompt in request["prompts"][first:first + size]:
            content = [{"type": "image"}, {"type": "text", "text": prompt}]
            turns = [{"role": "user", "content": content}]
            texts.append(processor.apply_chat_template(turns, add_generation_prompt=True) + request["reply"])
        inputs = processor(images=[[image]] * len(texts), text=texts, padding=True, return_tensors="pt")
        inputs = inputs.to(DEVICE, FORM["dtype"])
        mask = inputs["attention_mask"]
        read += int(mask.sum())
        begin = clock()
        if write == 0:
            places = (mask.cumsum(-1) - 1).clamp(min=0)
            logits = model(**inputs, position_ids=places, use_cache=False, logits_to_keep=1).logits[:, -1]
            logits.argmax(-1)
        else:
            output = model.generate(**inputs, max_new_tokens=write, do_sample=False)
            tokens = output[:, mask.shape[1]:]
            ended = torch.isin(tokens, ends).cumsum(-1) > 0
            written += int((~ended).sum())
        seconds += clock() - begin
        if write == 0:
            labels += logits.float().log_softmax(-1)[:, firsts].tolist()
    give_back()
    return {"seconds": seconds, "prompt_tokens": read, "written_tokens": written, "labels": labels}


DEEDS = {"image": encode_image, "language": language, "judge": judge}


@torch.inference_mode()
def answer(line):
    request = json.loads(line)
    try:
        return DEEDS[request["do"]](request)
    except Exception as error:
        words = f"{type(error).__name__}: {error}".splitlines()[0]
    # Only after the `except` block is the exception freed, and with it the tensors that its frames hold.
    give_back()
    return {"error": words}


def say(what):
    print(json.dumps(what), file=ANSWERS, flush=True)


say({"version": f"{transformers.__version__} on torch {torch.__version__}", "threads": torch.get_num_threads()})
for line in sys.stdin:
    say(answer(line))
