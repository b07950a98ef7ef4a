"""Writes what AdaCLIP says on small random backbones, its gradients, and three steps of training.

Usage: python adaclip.py   (versions: requirements.txt)

A transcription in double precision; nothing of it is shared with the Rust code. The towers are those of `prompted.py`.
Groups of patches are scikit-learn's, with a sequence that anyone can write down in place of its random numbers.
`adaclip_5.safetensors` (a grid of 5 tokens) has prompts before three blocks, `adaclip_6.safetensors` before two, fewer
of them, and fewer patches and groups. `adaclip.pth` has the names and shapes of the authors' files and belongs to the
grid of 5.
"""
import collections

import numpy as np
import torch
import torch.nn.functional as F
from prompted import (
    CATEGORIES, EMBEDDING, FOLDER, HEADS, LABELS, LAYERS, MEAN, PATCH, STD, TEXT_WIDTH, WIDTH, Clip, dice, focal,
)
from safetensors.torch import save_file
from sklearn.cluster import KMeans

ENDS = [LAYERS * n // 4 for n in (1, 2, 3, 4)]
RATE = 1e-2
NORMAL = ["{}", "flawless {}", "perfect {}", "unblemished {}", "{} without flaw", "{} without defect", "{} without damage"]
ABNORMAL = ["damaged {}", "broken {}", "{} with flaw", "{} with defect", "{} with damage"]
TEMPLATES = ["a bad photo of a {}.", "a low resolution photo of the {}.", "a bad photo of the {}.", "a cropped photo of the {}."]


class Shape:
    """Blocks with prompts, prompts of each; patches that stand out, groups of them."""
    def __init__(self, depth, length, patches, groups):
        self.depth, self.length, self.patches, self.groups = depth, length, patches, groups


class Even(np.random.RandomState):
    """Multiples of the golden ratio without their whole part, where scikit-learn draws at random."""
    count = 0

    def number(self):
        self.count += 1
        return self.count * 0.6180339887498949 % 1.0

    def choice(self, n, p=None):
        return min(int(self.number() * n), n - 1)

    def uniform(self, size=None):
        return np.array([self.number() for _ in range(size)])


def first_weights(shape):
    def vectors(*size):
        return (torch.randn(*size) * 0.3).float().double()

    def linear(name, inputs, outputs):
        return {f"{name}.weight": vectors(outputs, inputs), f"{name}.bias": vectors(outputs)}

    p = {}
    for i in range(shape.depth):
        p[f"visual_prompter.static_prompts.{i}"] = vectors(shape.length, WIDTH)
        p[f"text_prompter.static_prompts.{i}"] = vectors(shape.length, TEXT_WIDTH)
    for i in range(len(ENDS)):
        p |= linear(f"patch_token_layer.head.{i}", WIDTH, EMBEDDING)
    p |= linear("cls_token_layer.head.0", EMBEDDING, EMBEDDING)
    for i in range(shape.length):
        p |= linear(f"dynamic_visual_prompt_generator.head.{i}", EMBEDDING, WIDTH)
        p |= linear(f"dynamic_text_prompt_generator.head.{i}", EMBEDDING, TEXT_WIDTH)
    return p


def ours(key):
    """Its name in our checkpoints; none of what no forward pass uses."""
    for theirs, mine in [
        ("patch_token_layer.head.", "patch_projection."), ("cls_token_layer.head.0.", "adaclip.class_projection."),
        ("dynamic_visual_prompt_generator.head.", "adaclip.image_prompts."),
        ("dynamic_text_prompt_generator.head.", "adaclip.text_prompts."),
        ("visual_prompter.static_prompts.", "adaclip.image_rows."),
    ]:
        if key.startswith(theirs):
            return mine + key[len(theirs):]
    n = int(key.rsplit(".", 1)[1])
    return f"adaclip.text_rows.{n - 1}" if n > 0 else None


def linear(x, p, name):
    return F.linear(x, p[f"{name}.weight"], p[f"{name}.bias"])


def embed_text(clip, p, shape, c, category):
    """Unit embeddings, normal and anomalous, for the embedding of one image."""
    dynamic = torch.stack([linear(c, p, f"dynamic_text_prompt_generator.head.{j}") for j in range(shape.length)])

    def before(i, x):
        if not 0 < i < shape.depth:
            return x
        rows = dynamic + p[f"text_prompter.static_prompts.{i}"]
        return torch.cat([x[:, :1], rows[None], x[:, 1 + shape.length:]], 1)

    sides = []
    for states in (NORMAL, ABNORMAL):
        texts = [t.format(s.format(category)) for s in states for t in TEMPLATES]
        mean = torch.stack([clip.text(text, lambda x: x, before) for text in texts]).mean(0)
        sides.append(F.normalize(mean, dim=-1))
    return torch.stack(sides)


def plain_embedding(clip, image):
    x = clip.embed(image[None])
    for i in range(LAYERS):
        x = clip.block(x, f"vision_model.encoder.layers.{i}", HEADS)
    return clip.project(x)[0, 0]


def prompted_tower(clip, p, shape, image, c):
    """Unit embeddings of the patches of every stage, and of the class token."""
    dynamic = torch.stack([linear(c, p, f"dynamic_visual_prompt_generator.head.{j}") for j in range(shape.length)])
    x, taps = clip.embed(image[None]), []
    for i in range(LAYERS):
        if i < shape.depth:
            rows = dynamic + p[f"visual_prompter.static_prompts.{i}"]
            x = torch.cat([x if i == 0 else x[:, : x.shape[1] - shape.length], rows[None]], 1)
        x = clip.block(x, f"vision_model.encoder.layers.{i}", HEADS)
        if i + 1 in ENDS:
            own = x[0, 1 : x.shape[1] - shape.length]
            taps.append(F.normalize(linear(own, p, f"patch_token_layer.head.{len(taps)}"), dim=-1))
    return taps, F.normalize(linear(clip.project(x)[0, 0], p, "cls_token_layer.head.0"), dim=-1)


def fuse(taps, logits, class_token, shape):
    m = torch.stack(logits).mean(0).softmax(-1)[:, 1]
    chosen = m.topk(min(len(m), shape.patches)).indices
    selected = [z[chosen] for z in taps]
    data = torch.cat(selected, 1).detach().numpy()
    labels = torch.from_numpy(KMeans(shape.groups, n_init=1, random_state=Even()).fit(data).labels_)
    centres = []
    for k in range(shape.groups):
        members = torch.cat([z[labels == k] for z in selected])
        centres.append(members.mean(0))
    h = F.normalize(torch.stack(centres).mean(0), dim=-1)
    return F.normalize(0.2 * h + 0.8 * class_token, dim=-1)


def see(clip, p, shape, image, category):
    """Probabilities of the image, and logits of the pixels of every stage, [stages, 2, size, size]."""
    with torch.no_grad():
        c = plain_embedding(clip, image)
    text = embed_text(clip, p, shape, c, category)
    taps, class_token = prompted_tower(clip, p, shape, image, c)
    logits = [100 * z @ text.T for z in taps]
    score = (100 * fuse(taps, logits, class_token, shape) @ text.T).softmax(-1)
    grids = torch.stack(logits).transpose(1, 2).reshape(-1, 2, clip.grid, clip.grid)
    return score, F.interpolate(grids, size=PATCH * clip.grid, mode="bilinear", align_corners=True)


def predict(clip, p, shape, images):
    seen = [see(clip, p, shape, image, CATEGORIES[0]) for image in images]
    maps = [pixels.mean(0).softmax(0)[1] for _, pixels in seen]
    return torch.stack([score[1] for score, _ in seen]), torch.stack(maps)


def losses(clip, p, shape, images, masks):
    """Focal of images; focal and dice of all maps."""
    seen = [see(clip, p, shape, image, category) for image, category in zip(images, CATEGORIES)]
    scores = torch.stack([score for score, _ in seen])
    maps = torch.stack([pixels for _, pixels in seen]).softmax(2)
    stages = range(len(ENDS))
    of_dice = [dice(maps[:, n, 1], masks) + dice(maps[:, n, 0], 1 - masks) for n in stages]
    labels = torch.tensor(LABELS).double()
    return torch.stack([focal(scores, labels), sum(focal(maps[:, n], masks) for n in stages), sum(of_dice)])


def train(clip, p, shape, images, masks, out):
    p = {k: v.clone().requires_grad_() for k, v in p.items()}
    optimizer = torch.optim.AdamW(p.values(), lr=RATE, betas=(0.5, 0.999))
    steps = []
    for step in range(3):
        optimizer.zero_grad()
        terms = losses(clip, p, shape, images, masks)
        terms.sum().backward()
        if step == 0:
            for key, value in p.items():
                if ours(key) is None:
                    assert value.grad is None
                else:
                    out[f"adaclip.gradient.{ours(key)}"] = value.grad.clone()
        steps.append(terms.detach())
        optimizer.step()
    out["adaclip.losses"] = torch.stack(steps)
    for key, value in p.items():
        if ours(key) is not None:
            out[f"adaclip.trained.{ours(key)}"] = value.detach()


def main(grid, shape):
    torch.manual_seed(200 + grid)
    clip, size = Clip(grid), PATCH * grid
    pixels = torch.randint(0, 256, (4, 3, size, size))
    images = (pixels / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    masks = (torch.rand(4, size, size) < 0.2).double() * torch.tensor(LABELS)[:, None, None]
    p = first_weights(shape)
    out = {"pixels": pixels, "masks": masks}
    for key, value in p.items():
        if ours(key) is not None:
            out[f"adaclip.first.{ours(key)}"] = value
    with torch.no_grad():
        out["adaclip.score"], out["adaclip.map"] = predict(clip, p, shape, images)
    train(clip, p, shape, images, masks, out)
    if grid == 5:
        state = collections.OrderedDict((f"clip_model.{key}", value.float()) for key, value in p.items())
        torch.save(state, FOLDER / "adaclip.pth")
    out = {k: v.detach().float().contiguous() for k, v in out.items()}
    ids = sorted(clip.rows)
    clip.w["token_rows"] = torch.stack([clip.rows[i] for i in ids])
    out.update({f"clip.{k}": v.half().contiguous() for k, v in clip.w.items()})
    out["clip.token_ids"] = torch.tensor(ids, dtype=torch.int32)
    save_file(out, FOLDER / f"adaclip_{grid}.safetensors")
    print(grid, out["adaclip.score"].tolist(), out["adaclip.losses"].tolist())


if __name__ == "__main__":
    main(5, Shape(3, 5, 100, 20))
    main(6, Shape(2, 3, 24, 7))
