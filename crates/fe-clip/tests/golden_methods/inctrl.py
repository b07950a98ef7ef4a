"""Writes what InCTRL says on small random backbones, its gradients, and three steps of training.

Usage: python inctrl.py   (versions: requirements.txt)

A transcription in double precision; nothing of it is shared with the Rust code. The towers are those of `prompted.py`.
`inctrl_5.safetensors` and `inctrl_6.safetensors` (grids of 5 and 6 tokens) have six images of two categories by turns,
the first two anomalous. Scores and maps are of all six beside the third and the fifth; in training every image is
compared with the other normal ones of its category. `inctrl.pth` has the names and shapes of the authors' files, unused
norms and a few tensors of a backbone among them, and belongs to the grid of 5.
"""
import collections

import torch
import torch.nn.functional as F
from prompted import CONTEXT, EMBEDDING, FOLDER, HEADS, LAYERS, MEAN, PATCH, STD, TOKENIZER, WIDTH, Clip
from safetensors.torch import save_file

TAPS = [max(LAYERS * n // 12, 1) for n in (7, 9, 11)]
MIDDLE = EMBEDDING // 4
CATEGORIES = ["metal nut", "screw"] * 3
LABELS = [1, 1, 0, 0, 0, 0]
REFERENCES = [2, 4]
TEMPLATES = [
    f"a {kind}photo of {article} {{}}{end}."
    for kind, end in [
        ("cropped ", ""), ("close-up ", ""), ("bright ", ""), ("dark ", ""), ("jpeg corrupted ", ""), ("blurry ", ""),
        ("", ""), ("", " for visual inspection"), ("", " for anomaly detection"),
    ]
    for article in ("a", "the")
] + [f"a photo of {article} {size} {{}}." for size in ("small", "large") for article in ("a", "the")]
NORMAL = ["{}", "flawless {}", "perfect {}", "unblemished {}", "{} without flaw", "{} without defect", "{} without damage"]
ANOMALOUS = ["damaged {}", "{} with flaw", "{} with defect", "{} with damage"]


class Head(torch.nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.projection1 = torch.nn.Linear(inputs, 128)
        self.projection2 = torch.nn.Linear(128, 64)
        self.projection3 = torch.nn.Linear(64, 1)
        self.bn1 = torch.nn.BatchNorm1d(inputs)
        self.bn2 = torch.nn.BatchNorm1d(128)
        self.bn3 = torch.nn.BatchNorm1d(64)

    def forward(self, x):
        x = self.bn2(F.relu(self.projection1(x)))
        x = self.bn3(F.relu(self.projection2(x)))
        return torch.sigmoid(self.projection3(x))


class Adapter(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Sequential(
            torch.nn.Linear(EMBEDDING, MIDDLE, bias=False), torch.nn.ReLU(),
            torch.nn.Linear(MIDDLE, EMBEDDING, bias=False), torch.nn.ReLU(),
        )

    def forward(self, x):
        return self.fc(x)


class Trained(torch.nn.Module):
    def __init__(self, grid):
        super().__init__()
        self.adapter = Adapter()
        self.diff_head = Head(grid * grid)
        self.diff_head_ref = Head(EMBEDDING)


def ours(key):
    """Name in our checkpoints; none of what no forward pass uses."""
    if "num_batches" in key or ".bn1." in key:
        return None
    for theirs, mine in (
        ("adapter.fc.0", "inctrl.down"), ("adapter.fc.2", "inctrl.up"), ("diff_head_ref.", "inctrl.image_head."),
        ("diff_head.", "inctrl.patch_head."), ("projection1", "first"), ("projection2", "second"),
        ("projection3", "last"), ("bn2", "first_norm"), ("bn3", "second_norm"),
    ):
        key = key.replace(theirs, mine)
    return key


def texts(clip, category):
    """Unit embeddings, normal and anomalous."""
    sides = []
    for states in (NORMAL, ANOMALOUS):
        prompts = [t.format(s.format(category)) for s in states for t in TEMPLATES]
        each = torch.stack([clip.text(prompt, lambda x: x) for prompt in prompts])
        sides.append(F.normalize(each.mean(0), dim=-1))
    return torch.stack(sides)


def see(clip, images):
    x, taps = clip.embed(images), []
    for i in range(LAYERS):
        x = clip.block(x, f"vision_model.encoder.layers.{i}", HEADS)
        if i + 1 in TAPS:
            taps.append(F.normalize(x[:, 1:], dim=-1))
    return clip.project(x)[:, 0], taps


def distances(taps, image, references):
    each = []
    for x in taps:
        bank = torch.cat([x[r] for r in references])
        each.append((0.5 * (1 - x[image] @ bank.T)).min(1).values)
    return torch.stack(each).mean(0)


def forward(model, clip, c, taps, references, words):
    """Scores of all images, each beside its references; of the adapted difference; and the distances."""
    r = torch.stack([distances(taps, i, references[i]) for i in range(len(c))])
    difference = torch.stack([model.adapter(c[references[i]]).mean(0) for i in range(len(c))]) - model.adapter(c)
    s_ref = model.diff_head_ref(difference)
    unit = F.normalize(c, dim=-1)
    s_text = torch.stack([(100 * unit[i] @ words[i].T).softmax(-1)[1] for i in range(len(c))])[:, None]
    h = model.diff_head(r + s_text + s_ref)
    return (h[:, 0] + r.max(1).values) / 2, s_ref[:, 0], r


def binary_focal(p, y):
    """With probabilities in the place of logits."""
    loss = F.binary_cross_entropy_with_logits(p, y, reduction="none")
    return ((1 - torch.exp(-loss)) ** 2 * loss).mean()


def others(i):
    return [j for j in range(len(LABELS)) if j != i and CATEGORIES[j] == CATEGORIES[i] and LABELS[j] == 0]


def train(model, clip, c, taps, words, out):
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.999), weight_decay=0.01)
    references, y = [others(i) for i in range(len(LABELS))], torch.tensor(LABELS).double()
    steps = []
    for step in range(3):
        optimizer.zero_grad()
        score, s_ref, _ = forward(model, clip, c, taps, references, words)
        loss = binary_focal(score, y) + binary_focal(s_ref, y)
        loss.backward()
        if step == 0:
            for key, value in model.named_parameters():
                if ours(key):
                    out[f"inctrl.gradient.{ours(key)}"] = value.grad.clone()
        steps.append(loss.detach())
        optimizer.step()
    out["inctrl.losses"] = torch.stack(steps)
    for key, value in model.state_dict().items():
        if ours(key):
            out[f"inctrl.trained.{ours(key)}"] = value.detach().clone()


def save_pth(model, clip):
    state = collections.OrderedDict()
    state["positional_embedding"] = clip.w["text_model.embeddings.position_embedding.weight"].float()
    state["text_projection"] = clip.w["text_projection.weight"].T.float().contiguous()
    state["logit_scale"] = clip.w["logit_scale"].float()
    state["attn_mask"] = torch.full((CONTEXT, CONTEXT), float("-inf")).triu(1)
    state["visual.class_embedding"] = clip.w["vision_model.embeddings.class_embedding"].float()
    state["visual.transformer.resblocks.0.ln_1.weight"] = torch.ones(WIDTH).float()
    state["transformer.resblocks.0.ln_1.weight"] = torch.ones(WIDTH).float()
    state["ln_final.weight"] = torch.ones(WIDTH).float()
    for key, value in model.state_dict().items():
        state[key] = value.clone() if "num_batches" in key else value.float()
    torch.save(state, FOLDER / "inctrl.pth")


def main(grid):
    torch.manual_seed(200 + grid)
    clip, size = Clip(grid), PATCH * grid
    model = Trained(grid)
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if "running_mean" in key:
                value.normal_(0.2, 0.2)
            elif "running_var" in key:
                value.uniform_(0.02, 0.3)
            elif "bn" in key and key.endswith("weight"):
                value.uniform_(0.5, 1.5)
            elif "num_batches" not in key:
                value.mul_(2)
            if "num_batches" not in key:
                value.copy_(value.float().double())
    pixels = torch.randint(0, 256, (6, 3, size, size))
    pixels[2:] = (pixels[2:] // 4 + 3 * pixels[2:3] // 4)
    images = (pixels / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    out = {"pixels": pixels, "masks": torch.zeros(6, size, size), "anomalous": torch.tensor(LABELS)}
    out["masks"][:2, :4, :4] = 1
    for key, value in model.state_dict().items():
        if ours(key):
            out[f"inctrl.first.{ours(key)}"] = value.detach().clone()
    with torch.no_grad():
        c, taps = see(clip, images)
        words = {category: texts(clip, category) for category in CATEGORIES[:2]}
        model.eval()
        score, _, r = forward(model, clip, c, taps, [REFERENCES] * 6, [words["metal nut"]] * 6)
        grids = r.view(-1, 1, grid, grid)
        out["inctrl.score"] = score
        out["inctrl.map"] = F.interpolate(grids, size=size, mode="bilinear", align_corners=False)[:, 0]
    if grid == 5:
        save_pth(model, clip)
    train(model, clip, c, taps, [words[category] for category in CATEGORIES], out)
    out = {k: v.detach().float().contiguous() for k, v in out.items()}
    ids = sorted(clip.rows)
    clip.w["token_rows"] = torch.stack([clip.rows[i] for i in ids])
    out.update({f"clip.{k}": v.half().contiguous() for k, v in clip.w.items()})
    out["clip.token_ids"] = torch.tensor(ids, dtype=torch.int32)
    save_file(out, FOLDER / f"inctrl_{grid}.safetensors")
    print(grid, out["inctrl.score"].tolist(), out["inctrl.losses"].tolist(), r.amax(1).tolist())


if __name__ == "__main__":
    for side in (5, 6):
        main(side)
