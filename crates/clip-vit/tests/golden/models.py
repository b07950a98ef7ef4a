"""Writes small CLIPs with random weights in every layout, with the outputs of the code that made them.

Usage: python models.py   (versions: requirements.txt)

Each folder holds the weights and `expected.safetensors`: images, ids, embeddings, hidden states.
Heads are 12, 16 and 8 wide. The vocabulary is cut to 64 ids, the largest of which ends a text.
"""
import io
import pathlib
import shutil
import zipfile
from collections import OrderedDict

import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel

FOLDER = pathlib.Path(__file__).parent
VOCABULARY, CONTEXT = 64, 10
IDS = torch.tensor([[62, 3, 17, 40, 63, 0, 0, 0, 0, 0], [62, 5, 63, 0, 0, 0, 0, 0, 0, 0], [62, 9, 8, 7, 6, 5, 4, 3, 2, 63]])


def randomize(model):
    """Weights large enough that every one of them matters, norms and biases too."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 0:
                parameter.fill_(2.5)
            elif name.endswith("bias"):
                parameter.copy_(0.1 * noise)
            elif parameter.ndim == 1 and "embedding" not in name:
                parameter.copy_(1 + 0.2 * noise)
            else:
                parameter.copy_(noise * (1.0 if "embedding" in name else 1.2 * parameter[0].numel() ** -0.5))
            # What bfloat16 and half both hold exactly, so that every file has the same numbers.
            parameter.copy_(parameter.bfloat16().half().float())
    return model.eval()


def images(size):
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def save(name, tensors):
    tensors = {key: value.detach().contiguous() for key, value in tensors.items()}
    save_file(tensors, FOLDER / name, metadata={"torch": torch.__version__})


def expected(pixels, image_features, text_features, hidden=()):
    tensors = {"images": pixels, "ids": IDS.int(), "image_features": image_features, "text_features": text_features}
    return tensors | {f"hidden.{layer}": state for layer, state in enumerate(hidden)}


def hugging_face(name, activation, vision_heads, text_heads):
    """transformers' CLIPModel; heads are narrower than 64."""
    config = CLIPConfig(
        projection_dim=12,
        vision_config=dict(
            hidden_size=24, intermediate_size=32, num_hidden_layers=3, num_attention_heads=vision_heads,
            image_size=20, patch_size=5, hidden_act=activation, projection_dim=12,
        ),
        text_config=dict(
            hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=text_heads,
            vocab_size=VOCABULARY, max_position_embeddings=CONTEXT, hidden_act=activation, projection_dim=12,
            bos_token_id=62, eos_token_id=63, pad_token_id=0,
        ),
    )
    model = randomize(CLIPModel(config))
    shutil.rmtree(FOLDER / name, ignore_errors=True)
    pixels = images(20)
    with torch.no_grad():
        vision = model.vision_model(pixel_values=pixels, output_hidden_states=True)
        text = model.text_model(input_ids=IDS)
        image_features = model.visual_projection(vision.pooler_output)
        text_features = model.text_projection(text.pooler_output)
    model.save_pretrained(FOLDER / name)
    save(f"{name}/expected.safetensors", expected(pixels, image_features, text_features, vision.hidden_states))
    return model


def open_clip_model():
    """open_clip's CLIP with heads 64 wide, as the architecture is read off the shapes alone."""
    model = CLIP(
        embed_dim=8,
        vision_cfg=CLIPVisionCfg(layers=1, width=64, head_width=64, mlp_ratio=0.125, patch_size=4, image_size=8),
        text_cfg=CLIPTextCfg(context_length=CONTEXT, vocab_size=VOCABULARY, width=64, heads=1, layers=1, mlp_ratio=0.125),
        quick_gelu=True,
    )
    return randomize(model)


def openai_archive(model, path):
    """A TorchScript file as OpenAI's: matrices in half precision, norms and embeddings in single, three scalars."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
                module.half()
            if isinstance(module, torch.nn.MultiheadAttention):
                module.in_proj_weight.data = module.in_proj_weight.data.half()
                module.in_proj_bias.data = module.in_proj_bias.data.half()
        model.visual.proj.data = model.visual.proj.data.half()
        model.text_projection.data = model.text_projection.data.half()
    for name, value in [("input_resolution", 8), ("context_length", CONTEXT), ("vocab_size", VOCABULARY)]:
        delattr(model, name) if hasattr(model, name) else None
        model.register_buffer(name, torch.tensor(value))
    whole = io.BytesIO()
    torch.jit.save(torch.jit.script(model), whole)
    # Without its debug information, which is the larger part of so small a model.
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                new.writestr(entry, old.read(entry), entry.compress_type)
    torch.jit.load(path)


def main():
    model = hugging_face("hf_quick_gelu", "quick_gelu", 2, 2)
    shutil.rmtree(FOLDER / "hf_sharded", ignore_errors=True)
    model.bfloat16().save_pretrained(FOLDER / "hf_sharded", max_shard_size="12KB")
    (FOLDER / "hf_pickled").mkdir(exist_ok=True)
    shutil.copy(FOLDER / "hf_quick_gelu/config.json", FOLDER / "hf_pickled")
    torch.save(OrderedDict(model.half().named_parameters()), FOLDER / "hf_pickled/pytorch_model.bin")
    hugging_face("hf_gelu", "gelu", 3, 1).half().save_pretrained(FOLDER / "hf_gelu")

    model = open_clip_model()
    (FOLDER / "open_clip").mkdir(exist_ok=True)
    pixels = images(8)
    with torch.no_grad():
        save("open_clip/expected.safetensors", expected(pixels, model.encode_image(pixels), model.encode_text(IDS)))
    halves = {name: value.half() for name, value in model.state_dict().items()}
    save("open_clip/half.safetensors", halves)
    checkpoint = {"epoch": 3, "name": "run", "state_dict": {f"module.{name}": value for name, value in halves.items()}}
    # Stored column by column, as a transposed matrix is.
    proj = checkpoint["state_dict"]["module.visual.proj"]
    checkpoint["state_dict"]["module.visual.proj"] = proj.t().contiguous().t()
    torch.save(checkpoint, FOLDER / "open_clip/checkpoint.pt")
    openai_archive(model, FOLDER / "open_clip/openai.pt")


main()
