"""The reference side of `cargo xtask parity`: ViT-L/14@336 with random weights.

Usage: python parity.py make FOLDER | compare FOLDER | reload ORIGINAL SAVED | time FOLDER FORWARD SIDE BATCH ROUNDS [FILE.json]
(versions: ../golden/requirements.txt; FORWARD: the program of examples/forward.rs)

`make` writes weights, inputs and what transformers makes of them; `compare` reads what `forward` and `fe-clip embed`
made of the same; `time` sets our image tower beside PyTorch's and, if it is installed, ONNX Runtime's; `reload` opens a saved model with transformers and compares it with the one that was saved.
"""
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel

TAPS = [6, 12, 18, 24]
EMBEDDING_TOLERANCE = 1e-5
HIDDEN_TOLERANCE = 1e-4
TEXTS = ["A photo of a normal object", "A photo of a damaged object", "Naïve café &amp; <b>tags</b> 漢字 😀"]


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
        tensors["embed"] = embed(reference, folder)
    save_file(tensors, folder / "expected.safetensors")


def embed(reference, folder):
    """What `fe-clip embed` should write for TEXTS and photo.png, with OpenAI's tokenizer and preprocessing."""
    y, x = np.mgrid[:400, :640]
    photo = np.stack([x % 256, (x * y // 97) % 256, 128 + 100 * np.sin(x / 9) * np.cos(y / 7)], -1).astype(np.uint8)
    Image.fromarray(photo).save(folder / "photo.png")
    (folder / "texts.json").write_text(json.dumps(TEXTS))
    tokenizer = openai_tokenizer()
    ids = torch.zeros(len(TEXTS), 77, dtype=torch.long)
    for row, text in zip(ids, TEXTS):
        tokens = [49406, *tokenizer.encode(text), 49407]
        row[: len(tokens)] = torch.tensor(tokens)
    left = (537 - 336) // 2  # 640 x 400 becomes 537 x 336, then its centre
    image = Image.fromarray(photo).resize((537, 336), Image.Resampling.BICUBIC).crop((left, 0, left + 336, 336))
    mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
    pixels = ((torch.from_numpy(np.array(image)).float() / 255 - mean) / std).permute(2, 0, 1)[None]
    text = reference.text_projection(reference.text_model(input_ids=ids).pooler_output)
    vision = reference.visual_projection(reference.vision_model(pixel_values=pixels).pooler_output)
    return torch.nn.functional.normalize(torch.cat([text, vision]), dim=-1)


def openai_tokenizer():
    """clip.simple_tokenizer alone: the package itself imports pkg_resources."""
    file = next(f for f in importlib.metadata.files("clip-anytorch") if f.name == "simple_tokenizer.py")
    spec = importlib.util.spec_from_file_location("simple_tokenizer", file.locate())
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SimpleTokenizer()


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
    worst = (torch.from_numpy(np.load(folder / "embed.npy")) - expected["embed"]).abs().max().item()
    failed |= not worst <= EMBEDDING_TOLERANCE
    print(f"{'fe-clip embed':16} largest difference of normalised embeddings {worst:.2e} (at most {EMBEDDING_TOLERANCE:.0e})")
    sys.exit(1 if failed else 0)


def reload(original, saved):
    """Nothing missing, nothing unexpected, every parameter equal, the outputs to rounding (it varies with the place in memory)."""
    models = []
    for folder in (original, saved):
        model, info = CLIPModel.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
        for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            assert not info[problem], (folder, problem, info[problem])
        models.append(model.eval())
    first, second = (dict(model.named_parameters()) for model in models)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    vision, text = models[0].config.vision_config, models[0].config.text_config
    images = torch.randn(2, 3, vision.image_size, vision.image_size, generator=torch.Generator().manual_seed(2))
    ids = torch.arange(text.max_position_embeddings)[None] % (text.vocab_size - 1)
    ids[:, -1] = text.vocab_size - 1
    with torch.no_grad():
        outputs = [model(input_ids=ids, pixel_values=images).logits_per_image for model in models]
    worst = ((outputs[0] - outputs[1]).abs().max() / outputs[0].abs().max()).item()
    assert worst <= 1e-6, worst
    print(f"from_pretrained({saved}): {len(first)} parameters and the outputs are those of {original}")


def measure(folder, forward, side, batch, rounds, file=None):
    """Takes turns in one run, since a noisy machine disturbs all alike; the fastest round of each counts."""
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

    def clocked(call):
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    load = ask("load")  # answered when all is loaded: nothing else runs meanwhile
    torch_name = f"PyTorch {torch.__version__}, eager, SDPA"
    runs = {"peak": lambda: ask("peak"), "ours": lambda: ask("forward")}
    runs[torch_name] = lambda: clocked(lambda: vision(pixel_values=images, interpolate_pos_encoding=side != 336))
    if importlib.util.find_spec("onnxruntime") and side == 336:
        name, session = onnx_session(folder, vision, threads)
        runs[name] = lambda: clocked(lambda: session.run(None, {"pixels": images.numpy()}))
    with torch.inference_mode():
        torch_memory = peak_growth(runs[torch_name])
        rows = [{name: run() for name, run in runs.items()} for _ in range(rounds + 1)][1:]  # the first warms up
    memory = ask("memory")
    process.stdin.close()
    weights = folder / "model" / "model.safetensors"
    read = min(clocked(weights.read_bytes) for _ in range(2))
    best = {name: min(row[name] for row in rows) for name in runs if name != "peak"}
    peak = max(row["peak"] for row in rows)
    flop = 2 * batch * multiply_adds((side // 14) ** 2)
    case = f"ViT-L/14 image tower, {side} px, batch {batch}"
    print(f"{case}, {threads} threads, {rounds} rounds, multiply-add peak {peak:.0f} GFLOP/s")
    for name, seconds in best.items():
        ratio = statistics.median(row["ours"] / row[name] for row in rows)
        print(f"{name}: {seconds:.2f} s, {flop / seconds / peak / 1e9:.0%} of the peak; ours takes {best['ours'] / seconds:.3f} of it, median of the rounds {ratio:.3f}")
    print(f"loading {load:.2f} s (reading the bytes {read:.2f} s), {memory:.0f} MB more than the weights at the peak of a forward pass (PyTorch's pass adds {torch_memory:.0f})")
    if file:
        row = {"case": case, "ours": best["ours"], "unit": "s"}
        shares = [flop / best[name] / peak / 1e9 for name in ("ours", torch_name)]
        rows = [row | {"peer": name, "theirs": seconds} for name, seconds in best.items() if name != "ours"]
        rows.append({"case": f"{case}: share of the multiply-add peak", "peer": torch_name, "unit": "of 1", "ours": shares[0], "theirs": shares[1]})
        rows.append({"case": f"{case}: memory beyond the weights", "peer": f"what a pass adds in {torch_name}", "unit": "MB", "ours": memory, "theirs": torch_memory})
        if (side, batch) == (336, 1):
            rows.append({"case": f"loading {weights.stat().st_size / 1e9:.2f} GB of weights", "peer": "reading the bytes of the file in Python", "unit": "s", "ours": load, "theirs": read})
        pathlib.Path(file).write_text(json.dumps(rows))


def peak_growth(call):
    """MB by which the peak of this process's memory exceeds what it holds before the call (Linux)."""
    status = lambda field: next(float(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field)) / 1e3
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    call()
    return status("VmHWM") - before


def onnx_session(folder, vision, threads):
    """The image tower in ONNX Runtime, exported once."""
    import onnxruntime

    file = folder / "onnx" / "vision.onnx"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        batch = torch.export.Dim("batch", min=1, max=64)
        example = (torch.zeros(2, 3, 336, 336),)

        class Pooled(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.vision = vision

            def forward(self, pixels):
                return self.vision(pixel_values=pixels).pooler_output

        torch.onnx.export(Pooled().eval(), example, file, input_names=["pixels"], dynamic_shapes=({0: batch},), external_data=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return f"ONNX Runtime {onnxruntime.__version__}", onnxruntime.InferenceSession(file, options, ["CPUExecutionProvider"])


def multiply_adds(patches):
    n, d, layers = patches + 1, 1024, 24
    return patches * 588 * d + layers * (n * d * 12 * d + 2 * n * n * d)


commands = {"make": make, "compare": compare, "reload": reload, "time": measure}
commands[sys.argv[1]](pathlib.Path(sys.argv[2]), *sys.argv[3:])
