"""Writes what VCP-CLIP says on small random backbones, its gradients, and three steps of training.

Usage: python vcp.py   (versions: requirements.txt)

A transcription in double precision; nothing of it is shared with the Rust code. The towers are those of `prompted.py`.
`vcp_5.safetensors` (a grid of 5 tokens) has a backbone whose texts are as wide as the embedding, as the authors' is;
in `vcp_6.safetensors` the embedding is of 12 channels, and an image's reaches the texts' 16 through the transpose of the
texts' projection. `vcp.pth` has the names and shapes of the authors' files and belongs to the grid of 5.
"""
import collections

import prompted
import torch
import torch.nn.functional as F
from prompted import (
    CONTEXT, FOLDER, HEADS, LABELS, LAYERS, MEAN, PATCH, STD, TEXT_HEADS, TEXT_LAYERS, TEXT_WIDTH, TOKENIZER, WIDTH,
    Clip, dice, focal,
)
from safetensors.torch import save_file

ENDS = [LAYERS * n // 4 for n in (1, 2, 3, 4)]
POST_HEADS = 8
PROMPTS = ("a photo of a good X", "a photo of a damaged X")
RATE, TEMPERATURE_RATE = 1e-3, 1e-2


def first_weights(embedding):
    def vectors(*shape, scale=0.3):
        return (torch.randn(*shape) * scale).float().double()

    def linear(name, inputs, outputs):
        return {f"{name}.weight": vectors(outputs, inputs), f"{name}.bias": vectors(outputs)}

    p = {}
    for i in range(len(ENDS)):
        p |= linear(f"fc.{i}", WIDTH, embedding)
    p["tau1"] = torch.tensor(2.5).float().double()
    p["tau2"] = torch.tensor(2.2).float().double()
    p["query"] = vectors(1, 2, TEXT_WIDTH)
    p["conv.weight"], p["conv.bias"] = vectors(2, 1, 3), vectors(2)
    p["prompt_embeddings"] = vectors(1, TEXT_WIDTH)
    p["deep_prompt_embeddings"] = vectors(TEXT_LAYERS - 1, 1, TEXT_WIDTH)
    p |= linear("prompt_proj", TEXT_WIDTH, TEXT_WIDTH)
    p["prompt_norm.weight"], p["prompt_norm.bias"] = 1 + vectors(TEXT_WIDTH), vectors(TEXT_WIDTH)
    p |= linear("q", embedding, WIDTH) | linear("k", WIDTH, WIDTH) | linear("v", WIDTH, WIDTH)
    return p | linear("post", WIDTH, WIDTH)


OURS = {
    "tau1": "logit_scales.0", "tau2": "logit_scales.1", "query": "vcp.query", "conv.weight": "vcp.category.weight",
    "conv.bias": "vcp.category.bias", "prompt_embeddings": "vcp.first", "deep_prompt_embeddings": "vcp.deep",
}
LAYER_NAMES = {
    "fc": "patch_projection", "prompt_proj": "vcp.prompt_projection", "prompt_norm": "vcp.prompt_norm",
    "q": "vcp.text_query", "k": "vcp.patch_key", "v": "vcp.patch_value", "post": "vcp.out",
}


def ours(key, value):
    """Name and shape in our checkpoints."""
    if key not in OURS:
        layer, rest = key.split(".", 1)
        return f"{LAYER_NAMES[layer]}.{rest}", value
    name = OURS[key]
    rows = {"vcp.query": 2, "vcp.category.weight": 2, "vcp.deep": TEXT_LAYERS - 1, "vcp.first": 1}.get(name)
    return name, value.reshape(rows, -1) if rows else value.reshape(-1)


def linear(x, p, name):
    return F.linear(x, p[f"{name}.weight"], p[f"{name}.bias"])


def embed_text(clip, p, c):
    """Unit embeddings, normal and anomalous, for the embedding of one image."""
    if len(c) != TEXT_WIDTH:
        c = c @ clip.w["text_projection.weight"]
    category = p["query"][0] + F.conv1d(c[None, None], p["conv.weight"], p["conv.bias"], padding="same")[0]
    texts = []
    for prompt in PROMPTS:
        ids = TOKENIZER([prompt], CONTEXT)[0]
        end = int(ids.argmax())
        x = torch.stack([clip.row(i) for i in ids.tolist()])
        x = torch.cat([x[: end - 1], category, x[end:]])[:CONTEXT]
        x = x + clip.w["text_model.embeddings.position_embedding.weight"]
        x = torch.cat([x[:1], linear(p["prompt_embeddings"], p, "prompt_proj"), x[1:-1]])[None]
        for i in range(TEXT_LAYERS):
            if i > 0:
                row = linear(p["deep_prompt_embeddings"][i - 1], p, "prompt_proj")
                x = torch.cat([x[:, :1], row[None], x[:, 2:]], 1)
            x = clip.block(x, f"text_model.encoder.layers.{i}", TEXT_HEADS, True)
        x = torch.cat([x[:, :1], x[:, 2:]], 1)
        x = F.layer_norm(x, x.shape[-1:], p["prompt_norm.weight"], p["prompt_norm.bias"], 1e-6)
        x = clip.norm(x, "text_model.final_layer_norm")[0, end + 1]
        texts.append(F.normalize(clip.linear(x, "text_projection"), dim=-1))
    return torch.stack(texts)


def tower(clip, images):
    x, taps = clip.embed(images), []
    for i in range(LAYERS):
        x = clip.block(x, f"vision_model.encoder.layers.{i}", HEADS)
        if i + 1 in ENDS:
            taps.append(x[:, 1:])
    return clip.project(x)[:, 0], taps


def maps(clip, p, c, taps):
    """Logits of one image's pixels, [2 * stages, 2, size, size]: of all stages, then of all with the texts that saw."""
    g = embed_text(clip, p, c)
    plain, seen = [], []
    for i, x in enumerate(taps):
        plain.append(p["tau1"].exp() * F.normalize(linear(x, p, f"fc.{i}"), dim=-1) @ g.T)
        s = F.normalize(x, dim=-1)
        q, k, v = linear(g, p, "q"), linear(s, p, "k"), linear(s, p, "v")
        heads = []
        for h in range(POST_HEADS):
            part = slice(h * WIDTH // POST_HEADS, (h + 1) * WIDTH // POST_HEADS)
            heads.append((q[:, part] @ k[:, part].T).softmax(-1) @ v[:, part])
        texts = F.normalize(linear(torch.cat(heads, -1), p, "post"), dim=-1)
        seen.append(p["tau2"].exp() * s @ texts.T)
    grids = torch.stack(plain + seen).transpose(1, 2).reshape(-1, 2, clip.grid, clip.grid)
    return F.interpolate(grids, size=PATCH * clip.grid, mode="bilinear", align_corners=True)


def predict(clip, p, images):
    c, taps = tower(clip, images)
    scores, found = [], []
    size = PATCH * clip.grid
    count = round(2000 * size**2 / 518**2)
    for i in range(len(images)):
        probabilities = maps(clip, p, c[i], [x[i] for x in taps]).softmax(1)[:, 1]
        plain, seen = probabilities[: len(ENDS)].mean(0), probabilities[len(ENDS):].mean(0)
        scores.append(sum(m.flatten().sort().values[-count:].mean() for m in (plain, seen)) / 2)
        found.append(0.2 * plain + 0.8 * seen)
    return torch.stack(scores), torch.stack(found)


def losses(clip, p, images, masks):
    """Focal and dice, of all maps."""
    c, taps = tower(clip, images)
    each = [maps(clip, p, c[i], [x[i] for x in taps]).softmax(1) for i in range(len(images))]
    each = torch.stack(each)
    of_focal = sum(focal(each[:, n], masks) for n in range(2 * len(ENDS)))
    return torch.stack([of_focal, sum(dice(each[:, n, 1], masks) for n in range(2 * len(ENDS)))])


def train(clip, p, images, masks, out):
    p = {k: v.clone().requires_grad_() for k, v in p.items()}
    own = [v for k, v in p.items() if not k.startswith("tau")]
    temperatures = {"params": [p["tau1"], p["tau2"]], "lr": TEMPERATURE_RATE}
    optimizer = torch.optim.Adam([{"params": own}, temperatures], lr=RATE, betas=(0.5, 0.999))
    steps = []
    for step in range(3):
        optimizer.zero_grad()
        terms = losses(clip, p, images, masks)
        terms.sum().backward()
        if step == 0:
            for key, value in p.items():
                name, gradient = ours(key, value.grad.clone())
                out[f"vcp.gradient.{name}"] = gradient
        steps.append(torch.cat([torch.zeros(1), terms.detach()]))
        optimizer.step()
    out["vcp.losses"] = torch.stack(steps)
    for key, value in p.items():
        name, trained = ours(key, value.detach())
        out[f"vcp.trained.{name}"] = trained


def save_pth(p):
    """Every tensor of the authors' dict."""
    def under(names):
        return collections.OrderedDict((theirs, p[mine].float()) for theirs, mine in names)

    def layer(theirs, mine, conv=False):
        weight = p[f"{mine}.weight"].float()
        return [(f"{theirs}.weight", weight[..., None] if conv else weight), (f"{theirs}.bias", p[f"{mine}.bias"].float())]

    linears = [entry for i in range(len(ENDS)) for entry in layer(f"fc.{i}", f"fc.{i}")]
    post = [("q_proj_pre", "q"), ("k_proj_pre_1", "k"), ("v_proj_pre_1", "v"), ("proj_post_t", "post")]
    post = [entry for theirs, mine in post for entry in layer(theirs, mine, conv=True)]
    embed = [("prompt_query", "query"), ("prompt_linear1.fc.weight", "conv.weight"), ("prompt_linear1.fc.bias", "conv.bias"), ("prompt_temp", "tau1")]
    state = {
        "trainable_linearlayer": collections.OrderedDict(linears),
        "New_Lan_Embed": under(embed),
        "Zero_try": collections.OrderedDict(post + [("prompt_temp_l1", p["tau2"].float())]),
        "prompt_embeddings": p["prompt_embeddings"].float()[None],
        "deep_prompt_embeddings": p["deep_prompt_embeddings"].float(),
        "prompt_text_projection": torch.randn(TEXT_WIDTH, TEXT_WIDTH).float(),
    }
    state |= dict(layer("prompt_proj", "prompt_proj") + layer("prompt_norm", "prompt_norm"))
    torch.save(state, FOLDER / "vcp.pth")


def main(grid, embedding):
    torch.manual_seed(100 + grid)
    prompted.EMBEDDING = embedding
    clip, size = Clip(grid), PATCH * grid
    pixels = torch.randint(0, 256, (4, 3, size, size))
    images = (pixels / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    masks = (torch.rand(4, size, size) < 0.2).double() * torch.tensor(LABELS)[:, None, None]
    p = first_weights(embedding)
    out = {"pixels": pixels, "masks": masks}
    for key, value in p.items():
        name, first = ours(key, value)
        out[f"vcp.first.{name}"] = first
    out["vcp.score"], out["vcp.map"] = predict(clip, p, images)
    train(clip, p, images, masks, out)
    if grid == 5:
        save_pth(p)
    out = {k: v.detach().float().contiguous() for k, v in out.items()}
    ids = sorted(clip.rows)
    clip.w["token_rows"] = torch.stack([clip.rows[i] for i in ids])
    out.update({f"clip.{k}": v.half().contiguous() for k, v in clip.w.items()})
    out["clip.token_ids"] = torch.tensor(ids, dtype=torch.int32)
    save_file(out, FOLDER / f"vcp_{grid}.safetensors")
    print(grid, out["vcp.score"].tolist(), out["vcp.losses"].tolist())


if __name__ == "__main__":
    main(5, TEXT_WIDTH)
    main(6, 12)
