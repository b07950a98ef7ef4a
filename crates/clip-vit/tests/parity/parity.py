"""The reference side of `cargo xtask parity`: ViT-L/14@336 with random weights.

Usage: python parity.py make FOLDER | compare FOLDER | time FOLDER FORWARD SIDE BATCH ROUNDS
(versions: ../golden/requirements.txt; FORWARD: the program of examples/forward.rs)
"""
import os
import pathlib
import statistics
import subprocess
import sys
import time

import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel

TAPS = [6, 12, 18, 24]
EMBEDDING_TOLERANCE = 1e-5
HIDDEN_TOLERANCE = 1e-4


def model():
    config = CLIPConfig(
        projection_dim=768,
        vision_config=dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, image_size=336, patch_size=14, projection_dim=768),
        text_config=dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, projection_dim=768),
    )
    model = CLIPModel(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if parameter.ndim == 0:
                parameter.fill_(4.6)
            elif name.endswith("bias"):
                parameter.normal_(0, 0.1, generator=generator)
            elif parameter.ndim == 1 and "embedding" not in name:
                parameter.normal_(1, 0.2, generator=generator)
            else:
                parameter.normal_(0, 1 if "embedding" in name and parameter.ndim < 4 else parameter[0].numel() ** -0.5, generator=generator)
    return model


def make(folder):
    reference = model()
    reference.save_pretrained(folder / "model")
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(1, 3, 336, 336, generator=generator)
    ids = torch.zeros(3, 77, dtype=torch.int32)
    for row, length in zip(ids, [77, 8, 20]):
        row[:length] = torch.randint(1, 49406, (length,), generator=generator)
        row[0], row[length - 1] = 49406, 49407
    save_file({"images": images, "ids": ids}, folder / "input.safetensors")
    with torch.no_grad():
        vision = reference.vision_model(pixel_values=images, output_hidden_states=True)
        text = reference.text_model(input_ids=ids.long())
        tensors = {f"hidden.{layer}": vision.hidden_states[layer].contiguous() for layer in TAPS}
        tensors["image_features"] = reference.visual_projection(vision.pooler_output)
        tensors["text_features"] = reference.text_projection(text.pooler_output)
    save_file(tensors, folder / "expected.safetensors")


def compare(folder):
    expected, actual = load_file(folder / "expected.safetensors"), load_file(folder / "output.safetensors")
    failed = False
    for name in ["image_features", "text_features"]:
        normal = [torch.nn.functional.normalize(tensors[name], dim=-1) for tensors in (actual, expected)]
        worst = (normal[0] - normal[1]).abs().max().item()
        failed |= not worst <= EMBEDDING_TOLERANCE
        print(f"{name:16} largest difference of normalised embeddings {worst:.2e} (at most {EMBEDDING_TOLERANCE:.0e})")
    for layer in TAPS:
        a, b = actual[f"hidden.{layer}"], expected[f"hidden.{layer}"]
        worst = ((a - b).abs().max() / b.abs().max()).item()
        failed |= not worst <= HIDDEN_TOLERANCE
        print(f"after layer {layer:4} largest difference / largest value     {worst:.2e} (at most {HIDDEN_TOLERANCE:.0e})")
    sys.exit(1 if failed else 0)


def measure(folder, forward, side, batch, rounds):
    """Alternates between the two in one run: a noisy machine disturbs both alike."""
    side, batch, rounds = int(side), int(batch), int(rounds)
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    vision = CLIPModel.from_pretrained(folder / "model", attn_implementation="sdpa").vision_model.eval()
    images = torch.randn(batch, 3, side, side)
    process = subprocess.Popen([forward, folder / "model", "--time", str(side), str(batch)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(line):
        process.stdin.write(line + "\n")
        process.stdin.flush()
        return float(process.stdout.readline())

    rows = []
    with torch.inference_mode():
        for _ in range(rounds + 1):
            peak, ours = ask("peak"), ask("forward")
            start = time.perf_counter()
            vision(pixel_values=images, interpolate_pos_encoding=side != 336)
            rows.append((ours, time.perf_counter() - start, peak))
    process.stdin.close()
    rows = rows[1:]  # the first is warming up
    ours, theirs, peaks = (statistics.median(column) for column in zip(*rows))
    ratio = statistics.median(a / b for a, b, _ in rows)
    flop = 2 * batch * multiply_adds((side // 14) ** 2)
    share = [flop / seconds / (max(peak for *_, peak in rows) * 1e9) for seconds in (ours, theirs)]
    print(f"{side} px, batch {batch}, {threads} threads, torch {torch.__version__}, {rounds} rounds")
    print(f"ours {ours:.2f} s, PyTorch {theirs:.2f} s, median ratio {ratio:.3f} ({min(a / b for a, b, _ in rows):.3f} to {max(a / b for a, b, _ in rows):.3f})")
    print(f"multiply-add peak {peaks:.0f} GFLOP/s (best {max(peak for *_, peak in rows):.0f}): ours {share[0]:.0%}, PyTorch {share[1]:.0%} of the best")


def multiply_adds(patches):
    n, d, layers = patches + 1, 1024, 24
    return patches * 588 * d + layers * (n * d * 12 * d + 2 * n * n * d)


{"make": make, "compare": compare, "time": measure}[sys.argv[1]](pathlib.Path(sys.argv[2]), *sys.argv[3:])
