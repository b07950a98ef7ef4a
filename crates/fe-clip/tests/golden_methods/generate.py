"""Writes what WinCLIP, WinCLIP+, APRIL-GAN and plain CLIP say on a small random backbone.

Usage: python generate.py   (versions: requirements.txt)

A transcription of the methods in double precision; nothing of it is shared with the Rust code.
`backbone.safetensors` has transformers' names and half precision, but of the token embedding only the rows that the
prompts use (`token_rows`, `token_ids`). `expected.safetensors` has images, linear layers and results.
"""
import pathlib

import torch
import torch.nn.functional as F
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import save_file

FOLDER = pathlib.Path(__file__).parent
WIDTH, HEADS, LAYERS, MLP, PATCH, GRID = 16, 2, 4, 32, 4, 5
TEXT_WIDTH, TEXT_HEADS, TEXT_MLP, CONTEXT = 16, 2, 32, 32
EMBEDDING = 12
SIZE = PATCH * GRID
CATEGORY = "metal nut"
TAU = 0.07

STATES_NORMAL = ["{}", "flawless {}", "perfect {}", "unblemished {}"]
STATES_NORMAL += ["{} without " + word for word in ("flaw", "defect", "damage")]
STATES_ANOMALOUS = ["damaged {}"] + ["{} with " + word for word in ("flaw", "defect", "damage")]

torch.manual_seed(5)
torch.set_default_dtype(torch.float64)


def both(adjective):
    return [f"a {adjective} photo of a {{}}.", f"a {adjective} photo of the {{}}."]


def winclip_templates():
    templates = ["a cropped photo of the {}.", "a jpeg corrupted photo of the {}.", "a jpeg corrupted photo of the {}."]
    for adjective in ("close-up", "bright", "dark", "blurry"):
        templates += both(adjective)
    for noun in ("", "small ", "large "):
        templates += [f"a photo of a {noun}{{}}.", f"a photo of the {noun}{{}}."]
    for purpose in ("visual inspection", "anomaly detection"):
        templates += [f"a photo of a {{}} for {purpose}.", f"a photo of the {{}} for {purpose}."]
    assert len(templates) == 21
    return templates


def april_gan_templates():
    templates = ["a photo of my {}.", "a photo of one {}.", "this is one {} in the scene."]
    for noun in ("", "cool ", "small ", "large "):
        templates += [f"a photo of a {noun}{{}}.", f"a photo of the {noun}{{}}."]
    adjectives = ("good", "bad", "bright", "dark", "blurry", "cropped", "close-up", "low resolution", "jpeg corrupted",
                  "black and white")
    for adjective in adjectives:
        templates += both(adjective)
    for verb in ("there", "this"):
        templates += [f"{verb} is a {{}} in the scene.", f"{verb} is the {{}} in the scene."]
    assert len(templates) == 35
    return templates


# --- the frozen CLIP


def random(*shape, scale):
    return (torch.randn(*shape) * scale).half().double()


def make_backbone():
    weights = {"logit_scale": torch.tensor(2.5)}

    def layer(name, width, mlp):
        for part in ("q", "k", "v", "out"):
            weights[f"{name}.self_attn.{part}_proj.weight"] = random(width, width, scale=1.2 * width**-0.5)
            weights[f"{name}.self_attn.{part}_proj.bias"] = random(width, scale=0.1)
        for part, rows, columns in (("fc1", mlp, width), ("fc2", width, mlp)):
            weights[f"{name}.mlp.{part}.weight"] = random(rows, columns, scale=columns**-0.5)
            weights[f"{name}.mlp.{part}.bias"] = random(rows, scale=0.1)
        for part in ("layer_norm1", "layer_norm2"):
            norm(f"{name}.{part}", width)

    def norm(name, width):
        weights[f"{name}.weight"] = (1 + torch.randn(width) * 0.2).half().double()
        weights[f"{name}.bias"] = random(width, scale=0.1)

    weights["vision_model.embeddings.patch_embedding.weight"] = random(WIDTH, 3, PATCH, PATCH, scale=0.2)
    weights["vision_model.embeddings.class_embedding"] = random(WIDTH, scale=0.5)
    weights["vision_model.embeddings.position_embedding.weight"] = random(1 + GRID * GRID, WIDTH, scale=0.5)
    norm("vision_model.pre_layrnorm", WIDTH)
    norm("vision_model.post_layernorm", WIDTH)
    for i in range(LAYERS):
        layer(f"vision_model.encoder.layers.{i}", WIDTH, MLP)
    weights["visual_projection.weight"] = random(EMBEDDING, WIDTH, scale=0.4)
    weights["text_model.embeddings.position_embedding.weight"] = random(CONTEXT, TEXT_WIDTH, scale=0.3)
    layer("text_model.encoder.layers.0", TEXT_WIDTH, TEXT_MLP)
    norm("text_model.final_layer_norm", TEXT_WIDTH)
    weights["text_projection.weight"] = random(EMBEDDING, TEXT_WIDTH, scale=0.4)
    return weights


W = make_backbone()


def layer_norm(x, name):
    return F.layer_norm(x, x.shape[-1:], W[f"{name}.weight"], W[f"{name}.bias"], 1e-5)


def linear(x, name):
    return F.linear(x, W[f"{name}.weight"], W.get(f"{name}.bias"))


def block(x, name, heads, causal):
    b, n, d = x.shape
    y = layer_norm(x, f"{name}.layer_norm1")
    q, k, v = (
        linear(y, f"{name}.self_attn.{part}_proj").view(b, n, heads, d // heads).transpose(1, 2) for part in "qkv"
    )
    scores = q @ k.transpose(-1, -2) * (d // heads) ** -0.5
    if causal:
        scores = scores + torch.full((n, n), float("-inf")).triu(1)
    y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(b, n, d)
    x = x + linear(y, f"{name}.self_attn.out_proj")
    y = linear(layer_norm(x, f"{name}.layer_norm2"), f"{name}.mlp.fc1")
    return x + linear(y * torch.sigmoid(1.702 * y), f"{name}.mlp.fc2")


def embed(images):
    """Tokens with positions, before the first norm."""
    patches = F.conv2d(images, W["vision_model.embeddings.patch_embedding.weight"], stride=PATCH)
    patches = patches.flatten(2).transpose(1, 2)
    token = W["vision_model.embeddings.class_embedding"].expand(len(images), 1, WIDTH)
    return torch.cat([token, patches], 1) + W["vision_model.embeddings.position_embedding.weight"]


def layers(tokens):
    """What each layer puts out, from tokens before the first norm."""
    x, out = layer_norm(tokens, "vision_model.pre_layrnorm"), []
    for i in range(LAYERS):
        x = block(x, f"vision_model.encoder.layers.{i}", HEADS, False)
        out.append(x)
    return out


def project(x):
    return F.normalize(linear(layer_norm(x, "vision_model.post_layernorm"), "visual_projection"), dim=-1)


TOKENIZER = SimpleTokenizer(context_length=CONTEXT)
TOKEN_ROWS = {}


def text_embeddings(prompts):
    ids = TOKENIZER(prompts, CONTEXT)
    for i in sorted(set(ids.flatten().tolist())):
        if i not in TOKEN_ROWS:
            TOKEN_ROWS[i] = random(TEXT_WIDTH, scale=0.5)
    x = torch.stack([torch.stack([TOKEN_ROWS[i] for i in row]) for row in ids.tolist()])
    x = x + W["text_model.embeddings.position_embedding.weight"]
    x = layer_norm(block(x, "text_model.encoder.layers.0", TEXT_HEADS, True), "text_model.final_layer_norm")
    return linear(x[torch.arange(len(ids)), ids.argmax(-1)], "text_projection")


def ensemble(states, templates, category, normalize_first):
    prompts = [template.format(state.format(category)) for state in states for template in templates]
    embeddings = text_embeddings(prompts)
    if normalize_first:
        embeddings = F.normalize(embeddings, dim=-1)
    return F.normalize(embeddings.mean(0), dim=0)


def probability(embedding, text, tau):
    """Eq. 1: the second of the two-way softmax."""
    return ((embedding @ text.T) / tau).softmax(-1)[..., 1]


# --- plain CLIP


def clip(images):
    text = F.normalize(text_embeddings([f"a photo of a normal {CATEGORY}", f"a photo of an anomalous {CATEGORY}"]), dim=-1)
    probabilities = probability(project(layers(embed(images))[-1]), text, TAU)
    return probabilities[:, 0], up(probabilities[:, 1:].reshape(-1, GRID, GRID), False)


def up(maps, aligned):
    return F.interpolate(maps[:, None], size=SIZE, mode="bilinear", align_corners=aligned)[:, 0]


# --- WinCLIP


def windows(tokens, side):
    """Class token and patches of every window, and the patches that each covers."""
    groups, covered = [], []
    for row in range(GRID - side + 1):
        for column in range(GRID - side + 1):
            patches = [(row + i) * GRID + column + j for i in range(side) for j in range(side)]
            groups.append(tokens[[0] + [1 + p for p in patches]])
            covered.append(patches)
    return project(layers(torch.stack(groups))[-1][:, 0]), covered


def harmonic(values, covered):
    """Harmonic mean at every patch over the windows that cover it."""
    out = []
    for patch in range(GRID * GRID):
        own = torch.stack([values[i] for i, patches in enumerate(covered) if patch in patches])
        out.append(torch.zeros(()) if (own == 0).any() else len(own) / (1 / own).sum())
    return torch.stack(out)


def winclip_views(image):
    tokens = embed(image[None])[0]
    last = layers(tokens[None])[-1][0]
    return project(last[:1])[0], F.normalize(last[1:], dim=-1), [windows(tokens, side) for side in (2, 3)]


def winclip_text():
    templates = winclip_templates()
    return torch.stack([ensemble(states, templates, CATEGORY, False) for states in (STATES_NORMAL, STATES_ANOMALOUS)])


def winclip(images, references=()):
    text = winclip_text()
    seen = [winclip_views(reference) for reference in references]
    scores, maps = [], []
    for image in images:
        whole, patches, scales = winclip_views(image)
        score = probability(whole, text, TAU)
        inverse = torch.full((GRID * GRID,), 1 / float(score))
        for embeddings, covered in scales:
            inverse = inverse + 1 / harmonic(probability(embeddings, text, TAU), covered)
        grid = 3 / inverse
        if seen:
            def nearest(query, bank):
                return (0.5 * (1 - query @ torch.cat(bank).T)).min(1).values.clamp_min(0)

            few = nearest(patches, [view[1] for view in seen])
            for i, (embeddings, covered) in enumerate(scales):
                few = few + harmonic(nearest(embeddings, [view[2][i][0] for view in seen]), covered)
            few = few / 3
            score = (score + few.max()) / 2
            grid = (grid + few) / 2
        scores.append(score)
        maps.append(grid.view(GRID, GRID))
    return torch.stack(scores), up(torch.stack(maps), False)


# --- APRIL-GAN


def april_gan_text(category):
    anomalous = STATES_ANOMALOUS[:1] + ["broken {}"] + STATES_ANOMALOUS[1:]
    templates = april_gan_templates()
    return torch.stack([ensemble(states, templates, category, True) for states in (STATES_NORMAL, anomalous)])


def april_gan_logits(stages, linears, text):
    """100 cos of every stage: (stages, batch, 2, size, size)."""
    out = []
    for x, (weight, bias) in zip(stages, linears):
        z = F.normalize(F.linear(x[:, 1:], weight, bias), dim=-1)
        logits = 100 * (z @ text.transpose(-1, -2))
        logits = logits.transpose(1, 2).reshape(len(x), 2, GRID, GRID)
        out.append(F.interpolate(logits, size=SIZE, mode="bilinear", align_corners=True))
    return torch.stack(out)


def focal(probabilities, mask):
    smooth = 1e-5
    target = torch.stack([1 - mask, mask], 1).clamp(smooth, 1 - smooth)
    pt = (target * probabilities).sum(1) + smooth
    return -((1 - pt) ** 2 * pt.log()).mean()


def dice(p, g):
    overlap = (p * g).flatten(1).sum(1)
    return (1 - (2 * overlap + 1) / (p.flatten(1).sum(1) + g.flatten(1).sum(1) + 1)).mean()


def april_gan_loss(logits, masks):
    probabilities = logits.softmax(2)
    losses = torch.stack([torch.stack([focal(p, masks), dice(p[:, 1], masks)]) for p in probabilities]).sum(0)
    return losses


def april_gan(images, linears, references=()):
    text = april_gan_text(CATEGORY)
    stages = layers(embed(images))
    maps = april_gan_logits(stages, linears, text).softmax(2)[:, :, 1].mean(0)
    scores = probability(project(stages[-1][:, 0]), text, 0.01)
    if len(references):
        bank = layers(embed(references))
        few = 0
        for x, y in zip(stages, bank):
            query, memory = F.normalize(x[:, 1:], dim=-1), F.normalize(y[:, 1:], dim=-1).flatten(0, 1)
            few = few + (1 - (query @ memory.T).max(-1).values).view(-1, GRID, GRID) / LAYERS
        maps = maps + up(few, True)
        scores = (scores + maps.flatten(1).max(1).values) / 2
    return scores, maps


def main():
    images = torch.randn(2, 3, SIZE, SIZE).float().double()
    references = (images[:1] + 0.7 * torch.randn(2, 3, SIZE, SIZE)).float().double()
    masks = (torch.rand(2, SIZE, SIZE) < 0.2).double()
    masks[1] = 0
    linears = [
        (torch.nn.Parameter((torch.randn(EMBEDDING, WIDTH) * 0.4).float().double()),
         torch.nn.Parameter((torch.randn(EMBEDDING) * 0.1).float().double()))
        for _ in range(LAYERS)
    ]
    out = {"images": images, "references": references, "masks": masks}
    out["clip.score"], out["clip.map"] = clip(images)
    out["winclip.score"], out["winclip.map"] = winclip(images)
    out["winclip_few.score"], out["winclip_few.map"] = winclip(images, references)
    with torch.no_grad():
        out["april_gan.score"], out["april_gan.map"] = april_gan(images, linears)
        out["april_gan_few.score"], out["april_gan_few.map"] = april_gan(images, linears, references)
    # A batch of two categories: each image goes by its own text.
    text = torch.stack([april_gan_text(CATEGORY), april_gan_text("screw")])
    losses = april_gan_loss(april_gan_logits(layers(embed(images)), linears, text), masks)
    losses.sum().backward()
    out["april_gan.losses"] = losses.detach()
    for n, (weight, bias) in enumerate(linears):
        out[f"patch_projection.{n}.weight"], out[f"patch_projection.{n}.bias"] = weight.detach(), bias.detach()
        out[f"gradient.{n}.weight"], out[f"gradient.{n}.bias"] = weight.grad, bias.grad
    save_file({k: v.float().contiguous() for k, v in out.items()}, FOLDER / "expected.safetensors")
    backbone = {k: v.half().contiguous() for k, v in W.items()}
    ids = sorted(TOKEN_ROWS)
    backbone["token_rows"] = torch.stack([TOKEN_ROWS[i] for i in ids]).half()
    backbone["token_ids"] = torch.tensor(ids, dtype=torch.int32)
    save_file(backbone, FOLDER / "backbone.safetensors")
    for name in ("clip", "winclip", "winclip_few", "april_gan", "april_gan_few"):
        print(name, out[f"{name}.score"].tolist(), out[f"{name}.map"].std().item())
    print(losses)


main()
