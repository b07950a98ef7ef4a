"""Writes what CoOp and AnomalyCLIP say on small random backbones, their gradients, and three steps of training.

Usage: python prompted.py   (versions: requirements.txt)

A transcription of both methods in double precision; nothing of it is shared with the Rust code.
`prompted_5.safetensors` and `prompted_6.safetensors` (grids of 5 and 6 tokens) each have a backbone under `clip.` with
transformers' names, in half precision, and of the token embedding only the rows that the prompts use
(`token_rows`, `token_ids`); images as bytes; learned vectors and results under the method's name.
`anomalyclip.pth` has the names, shapes and unused tensors of the authors' files and belongs to the grid of 5,
`april_gan.pth` has those of APRIL-GAN's and the linear layers of `expected.safetensors`.
"""
import collections
import pathlib
import warnings

import torch
import torch.nn.functional as F
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import load_file, save_file

FOLDER = pathlib.Path(__file__).parent
WIDTH, HEADS, LAYERS, MLP, PATCH = 16, 2, 5, 32, 4
TEXT_WIDTH, TEXT_HEADS, TEXT_LAYERS, TEXT_MLP, CONTEXT = 16, 2, 3, 32, 40
EMBEDDING = 12
TAU = 0.07
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
CATEGORIES = ["metal nut", "screw", "metal nut", "screw"]
LABELS = [1, 0, 0, 1]
COOP_CONTEXT, COOP_RATE = 16, 0.05
DPAM_LAYER = LAYERS  # ordinary layers and one: the last four layers have a second path
N_CTX, DEEP_TOKENS, DEEP_RATE = 12, 4, 1e-3

torch.set_default_dtype(torch.float64)


def random(*shape, scale):
    return (torch.randn(*shape) * scale).half().double()


class Clip:
    def __init__(self, grid):
        self.grid, self.w, self.rows = grid, {"logit_scale": torch.tensor(2.5)}, {}
        w = self.w
        w["vision_model.embeddings.patch_embedding.weight"] = random(WIDTH, 3, PATCH, PATCH, scale=0.2)
        w["vision_model.embeddings.class_embedding"] = random(WIDTH, scale=0.5)
        w["vision_model.embeddings.position_embedding.weight"] = random(1 + grid * grid, WIDTH, scale=0.5)
        self.make_norm("vision_model.pre_layrnorm", WIDTH)
        self.make_norm("vision_model.post_layernorm", WIDTH)
        for i in range(LAYERS):
            self.make_layer(f"vision_model.encoder.layers.{i}", WIDTH, MLP)
        w["visual_projection.weight"] = random(EMBEDDING, WIDTH, scale=0.4)
        w["text_model.embeddings.position_embedding.weight"] = random(CONTEXT, TEXT_WIDTH, scale=0.3)
        for i in range(TEXT_LAYERS):
            self.make_layer(f"text_model.encoder.layers.{i}", TEXT_WIDTH, TEXT_MLP)
        self.make_norm("text_model.final_layer_norm", TEXT_WIDTH)
        w["text_projection.weight"] = random(EMBEDDING, TEXT_WIDTH, scale=0.4)

    def make_norm(self, name, width):
        self.w[f"{name}.weight"] = (1 + torch.randn(width) * 0.2).half().double()
        self.w[f"{name}.bias"] = random(width, scale=0.1)

    def make_layer(self, name, width, mlp):
        for part in ("q", "k", "v", "out"):
            self.w[f"{name}.self_attn.{part}_proj.weight"] = random(width, width, scale=1.2 * width**-0.5)
            self.w[f"{name}.self_attn.{part}_proj.bias"] = random(width, scale=0.1)
        for part, rows, columns in (("fc1", mlp, width), ("fc2", width, mlp)):
            self.w[f"{name}.mlp.{part}.weight"] = random(rows, columns, scale=columns**-0.5)
            self.w[f"{name}.mlp.{part}.bias"] = random(rows, scale=0.1)
        for part in ("layer_norm1", "layer_norm2"):
            self.make_norm(f"{name}.{part}", width)

    def norm(self, x, name):
        return F.layer_norm(x, x.shape[-1:], self.w[f"{name}.weight"], self.w[f"{name}.bias"], 1e-5)

    def linear(self, x, name):
        return F.linear(x, self.w[f"{name}.weight"], self.w.get(f"{name}.bias"))

    def qkv(self, x, name, heads):
        b, n, d = x.shape
        y = self.norm(x, f"{name}.layer_norm1")
        return [
            self.linear(y, f"{name}.self_attn.{part}_proj").view(b, n, heads, d // heads).transpose(1, 2)
            for part in "qkv"
        ]

    def attention(self, q, k, v, name, causal=False):
        b, heads, n, d = q.shape
        scores = q @ k.transpose(-1, -2) * d**-0.5
        if causal:
            scores = scores + torch.full((n, n), float("-inf")).triu(1)
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(b, n, heads * d)
        return self.linear(y, f"{name}.self_attn.out_proj")

    def block(self, x, name, heads, causal=False):
        x = x + self.attention(*self.qkv(x, name, heads), name, causal)
        y = self.linear(self.norm(x, f"{name}.layer_norm2"), f"{name}.mlp.fc1")
        return x + self.linear(y * torch.sigmoid(1.702 * y), f"{name}.mlp.fc2")

    def embed(self, images):
        patches = F.conv2d(images, self.w["vision_model.embeddings.patch_embedding.weight"], stride=PATCH)
        token = self.w["vision_model.embeddings.class_embedding"].expand(len(images), 1, WIDTH)
        x = torch.cat([token, patches.flatten(2).transpose(1, 2)], 1)
        return self.norm(x + self.w["vision_model.embeddings.position_embedding.weight"], "vision_model.pre_layrnorm")

    def project(self, x):
        return self.linear(self.norm(x, "vision_model.post_layernorm"), "visual_projection")

    def row(self, i):
        if i not in self.rows:
            self.rows[i] = random(TEXT_WIDTH, scale=0.5)
        return self.rows[i]

    def text(self, prompt, replace, before=lambda i, x: x):
        """The unit embedding of a prompt some of whose embedded tokens are replaced."""
        return F.normalize(self.raw_text(prompt, replace, before), dim=-1)

    def raw_text(self, prompt, replace, before=lambda i, x: x):
        ids = TOKENIZER([prompt], CONTEXT)[0]
        x = replace(torch.stack([self.row(i) for i in ids.tolist()]))[None]
        x = x + self.w["text_model.embeddings.position_embedding.weight"]
        for i in range(TEXT_LAYERS):
            x = self.block(before(i, x), f"text_model.encoder.layers.{i}", TEXT_HEADS, True)
        x = self.norm(x, "text_model.final_layer_norm")[0, ids.argmax()]
        return self.linear(x, "text_projection")


TOKENIZER = SimpleTokenizer(context_length=CONTEXT)


def up(maps, grid):
    return F.interpolate(maps, size=PATCH * grid, mode="bilinear", align_corners=False)


# --- CoOp


def coop_text(clip, contexts, category):
    """Rows normal, anomalous."""
    def replace(context):
        return lambda x: torch.cat([x[:1], context, x[1 + len(context):]])

    words = ["normal", "anomalous"]
    prompts = [" ".join(["X"] * COOP_CONTEXT) + f" {word} {category}." for word in words]
    return torch.stack([clip.text(p, replace(c)) for p, c in zip(prompts, contexts)])


def coop_tokens(clip, images):
    x = clip.embed(images)
    for i in range(LAYERS):
        x = clip.block(x, f"vision_model.encoder.layers.{i}", HEADS)
    return F.normalize(clip.project(x), dim=-1)


def coop(clip, images, contexts, category):
    text = coop_text(clip, contexts, category)
    logits = clip.w["logit_scale"].exp() * coop_tokens(clip, images) @ text.T
    probabilities = logits.softmax(-1)[..., 1]
    maps = probabilities[:, 1:].reshape(-1, 1, clip.grid, clip.grid)
    return probabilities[:, 0], up(maps, clip.grid)[:, 0]


def coop_loss(clip, features, contexts):
    logits = []
    for feature, category in zip(features, CATEGORIES):
        logits.append(clip.w["logit_scale"].exp() * feature @ coop_text(clip, contexts, category).T)
    return F.cross_entropy(torch.stack(logits), torch.tensor(LABELS))


class ConstantWarmup(torch.optim.lr_scheduler.LRScheduler):
    """Dassl.pytorch's: its successor takes its first step after the first epoch behind the warm-up."""

    def __init__(self, optimizer, successor, epochs, rate):
        self.successor, self.epochs, self.rate = successor, epochs, rate
        super().__init__(optimizer)

    def get_lr(self):
        if self.last_epoch >= self.epochs:
            return self.successor.get_last_lr()
        return [self.rate for _ in self.base_lrs]

    def step(self, epoch=None):
        if self.last_epoch >= self.epochs:
            self.successor.step()
            self._last_lr = self.successor.get_last_lr()
        else:
            super().step(epoch)


def train_coop(clip, images, contexts, epochs, out, name):
    contexts = [c.clone().requires_grad_() for c in contexts]
    sides = contexts if len(contexts) == 2 else contexts * 2
    features = coop_tokens(clip, images)[:, 0]
    optimizer = torch.optim.SGD(contexts, lr=COOP_RATE, momentum=0.9, weight_decay=5e-4)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    warm = ConstantWarmup(optimizer, cosine, 1, 1e-5)
    losses = []
    for epoch in range(epochs):
        optimizer.zero_grad()
        loss = coop_loss(clip, features, sides)
        loss.backward()
        if epoch == 0:
            for key, context in zip(context_keys(contexts), contexts):
                out[f"{name}.gradient.{key}"] = context.grad.clone()
        losses.append(loss.detach())
        optimizer.step()
        warm.step()
    out[f"{name}.losses"] = torch.stack(losses)
    for key, context in zip(context_keys(contexts), contexts):
        out[f"{name}.trained.{key}"] = context.detach()


def context_keys(contexts):
    return ["prompts.context"] if len(contexts) == 1 else [f"prompts.context.{i}" for i in range(len(contexts))]


# --- AnomalyCLIP


def anomalyclip_text(clip, contexts, deep):
    def replace(context):
        return lambda x: torch.cat([x[:1], context, x[1 + N_CTX:]])

    def before(i, x):
        if 1 <= i <= len(deep):
            return torch.cat([x[:, :1], deep[i - 1][None], x[:, 1 + DEEP_TOKENS:]], 1)
        return x

    prompts = [" ".join(["X"] * N_CTX) + " " + words for words in ("object.", "damaged object.")]
    return torch.stack([clip.text(p, replace(c), before) for p, c in zip(prompts, contexts)])


def anomalyclip_features(clip, images):
    """Unit class embedding, and unit embeddings of the patches."""
    x = clip.embed(images)
    v_v = None
    for i in range(LAYERS):
        name = f"vision_model.encoder.layers.{i}"
        if i + 1 > LAYERS - (DPAM_LAYER - 1):
            _, _, v = clip.qkv(x, name, HEADS)
            v_v = (x if v_v is None else v_v) + clip.attention(v, v, v, name)
        x = clip.block(x, name, HEADS)
    image = F.normalize(clip.linear(x[:, 0], "visual_projection"), dim=-1)
    return image, F.normalize(clip.project(v_v), dim=-1)[:, 1:]


def anomalyclip_maps(clip, patches, text):
    """Probabilities of pixels, [batch, 2, size, size]."""
    similarity = (patches @ text.T / TAU).softmax(-1)
    return up(similarity.transpose(1, 2).reshape(len(patches), 2, clip.grid, clip.grid), clip.grid)


def anomalyclip(clip, images, contexts, deep):
    text = anomalyclip_text(clip, contexts, deep)
    image, patches = anomalyclip_features(clip, images)
    return (image @ text.T / TAU).softmax(-1)[:, 1], anomalyclip_maps(clip, patches, text)[:, 1]


def focal(probabilities, mask):
    smooth = 1e-5
    target = torch.stack([1 - mask, mask], 1).clamp(smooth, 1 - smooth)
    pt = (target * probabilities).sum(1) + smooth
    return -((1 - pt) ** 2 * pt.log()).mean()


def dice(p, g):
    overlap = (p * g).flatten(1).sum(1)
    return (1 - (2 * overlap + 1) / (p.flatten(1).sum(1) + g.flatten(1).sum(1) + 1)).mean()


def anomalyclip_losses(clip, image, patches, masks, contexts, deep):
    text = anomalyclip_text(clip, contexts, deep)
    maps = anomalyclip_maps(clip, patches, text)
    return torch.stack([
        F.cross_entropy(image @ text.T / TAU, torch.tensor(LABELS)),
        4 * focal(maps, masks),
        4 * (dice(maps[:, 1], masks) + dice(maps[:, 0], 1 - masks)),
    ])


def train_anomalyclip(clip, images, masks, contexts, deep, out):
    contexts = [c.clone().requires_grad_() for c in contexts]
    deep = [d.clone().requires_grad_() for d in deep]
    keys = context_keys(contexts) + [f"prompts.deep.{i}" for i in range(len(deep))]
    image, patches = anomalyclip_features(clip, images)
    optimizer = torch.optim.Adam(contexts + deep, lr=DEEP_RATE, betas=(0.5, 0.999))
    steps = []
    for step in range(3):
        optimizer.zero_grad()
        losses = anomalyclip_losses(clip, image, patches, masks, contexts, deep)
        losses.sum().backward()
        if step == 0:
            for key, vectors in zip(keys, contexts + deep):
                out[f"anomalyclip.gradient.{key}"] = vectors.grad.clone()
        steps.append(losses.detach())
        optimizer.step()
    out["anomalyclip.losses"] = torch.stack(steps)
    for key, vectors in zip(keys, contexts + deep):
        out[f"anomalyclip.trained.{key}"] = vectors.detach()


def save_pth(clip, contexts, deep):
    """Every tensor of the authors' state dict, in their order."""
    def ids(words):
        return TOKENIZER([" ".join(["X"] * N_CTX) + " " + words], CONTEXT)

    state = collections.OrderedDict()
    state["ctx_pos"], state["ctx_neg"] = (c.float()[None, None] for c in contexts)
    for i, vectors in enumerate(deep):
        state[f"compound_prompts_text.{i}"] = vectors.float()
    for i in range(len(deep)):
        state[f"compound_prompt_projections.{i}.weight"] = torch.randn(20, TEXT_WIDTH).float()
        state[f"compound_prompt_projections.{i}.bias"] = torch.randn(20).float()
    for side, words in (("pos", "object."), ("neg", "damaged object.")):
        rows = torch.stack([clip.row(i) for i in ids(words)[0].tolist()]).float()
        state[f"token_prefix_{side}"] = rows[None, None, :1].clone()
        state[f"token_suffix_{side}"] = rows[None, None, 1 + N_CTX:].clone()
        state[f"tokenized_prompts_{side}"] = ids(words)
    torch.save({"prompt_learner": state}, FOLDER / "anomalyclip.pth")


def save_april_gan_pth():
    expected = load_file(FOLDER / "expected.safetensors")
    state = collections.OrderedDict()
    for n in range(4):
        for leaf in ("weight", "bias"):
            state[f"fc.{n}.{leaf}"] = expected[f"patch_projection.{n}.{leaf}"].clone()
    torch.save({"trainable_linearlayer": state}, FOLDER / "april_gan.pth")


def main(grid):
    torch.manual_seed(grid)
    clip = Clip(grid)
    size = PATCH * grid
    pixels = torch.randint(0, 256, (4, 3, size, size))
    images = (pixels / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    masks = (torch.rand(4, size, size) < 0.2).double() * torch.tensor(LABELS)[:, None, None]

    def vectors(*shape):
        return (torch.randn(*shape) * 0.3).float().double()

    out = {"pixels": pixels, "masks": masks}
    for name, sides in (("coop", 1), ("coop_class_specific", 2)):
        contexts = [vectors(COOP_CONTEXT, TEXT_WIDTH) for _ in range(sides)]
        both = contexts if sides == 2 else contexts * 2
        for key, context in zip(context_keys(contexts), contexts):
            out[f"{name}.first.{key}"] = context
        out[f"{name}.score"], out[f"{name}.map"] = coop(clip, images, both, CATEGORIES[0])
        train_coop(clip, images, contexts, 3, out, name)
    contexts = [vectors(N_CTX, TEXT_WIDTH) for _ in range(2)]
    deep = [vectors(DEEP_TOKENS, TEXT_WIDTH) for _ in range(TEXT_LAYERS - 1)]
    for key, context in zip(context_keys(contexts), contexts):
        out[f"anomalyclip.first.{key}"] = context
    for i, d in enumerate(deep):
        out[f"anomalyclip.first.prompts.deep.{i}"] = d
    out["anomalyclip.score"], out["anomalyclip.map"] = anomalyclip(clip, images, contexts, deep)
    rounded = [d.half().double() for d in deep]
    out["anomalyclip_pth.score"], out["anomalyclip_pth.map"] = anomalyclip(clip, images, contexts, rounded)
    train_anomalyclip(clip, images, masks, contexts, deep, out)
    if grid == 5:
        save_pth(clip, contexts, deep)
    out = {k: v.detach().float().contiguous() for k, v in out.items()}
    ids = sorted(clip.rows)
    clip.w["token_rows"] = torch.stack([clip.rows[i] for i in ids])
    out.update({f"clip.{k}": v.half().contiguous() for k, v in clip.w.items()})
    out["clip.token_ids"] = torch.tensor(ids, dtype=torch.int32)
    save_file(out, FOLDER / f"prompted_{grid}.safetensors")
    for name in ("coop", "coop_class_specific", "anomalyclip"):
        print(grid, name, out[f"{name}.score"].tolist(), out[f"{name}.losses"].tolist())


if __name__ == "__main__":
    warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
    for side in (5, 6):
        main(side)
    save_april_gan_pth()
