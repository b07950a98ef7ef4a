"""Writes what PromptAD says on small random backbones after three steps of its fit, and the gradients of the first.

Usage: python promptad.py   (versions: requirements.txt)

A transcription in double precision; nothing of it is shared with the Rust code. The towers are those of `prompted.py`.
`promptad_5.safetensors` and `promptad_6.safetensors` (grids of 5 and 6 tokens) have four images, of which the second and
the third are the normal ones; for the grid of 5 the category has phrases of its own. What is fitted for scores is under
`image.`, for maps under `pixel.`.
"""
import torch
import torch.nn.functional as F
from prompted import FOLDER, HEADS, LAYERS, MEAN, PATCH, STD, TEXT_WIDTH, Clip
from safetensors.torch import save_file

N_CTX, N_CTX_AB, N_AB = 4, 1, 4
N_PRO = {"image": 3, "pixel": 1}
GENERIC = [
    "damaged {}", "flawed {}", "abnormal {}", "imperfect {}", "blemished {}", "{} with flaw", "{} with defect",
    "{} with damage",
]
OWN = {5: ["{} with a bent shape", "{} with scratch"], 6: []}
CATEGORY = "metal nut"
NORMALS = [1, 2]
STEPS, RATE = 3, 0.02
GALLERIES = [max(LAYERS * n // 12, 1) for n in (3, 8)]


def see(clip, images):
    x = clip.embed(images)
    u, galleries = x, []
    for i in range(LAYERS):
        name = f"vision_model.encoder.layers.{i}"
        q, k, v = clip.qkv(x, name, HEADS)
        attended = clip.attention(q, k, v, name)
        if i in GALLERIES:
            # The hooked output of block i is what block i + 1 adds its attention to in place.
            galleries.append(F.normalize((x + attended)[:, 1:], dim=-1))
        u = u + clip.attention(v, v, v, name)
        x = clip.block(x, name, HEADS)
    return F.normalize(clip.project(x)[:, :1], dim=-1), F.normalize(clip.project(u)[:, 1:], dim=-1), galleries


def embed(clip, learned, words):
    """The embedding of a prompt that begins with learned vectors, not normalised."""
    count = len(learned)
    prompt = " ".join(["X"] * count) + " " + words
    return clip.raw_text(prompt, lambda x: torch.cat([x[:1], learned, x[1 + count:]]))


def texts(clip, normal, abnormal, phrases):
    """Embeddings of normal prompts, of those with phrases, and of those with learned words."""
    n = [embed(clip, vectors, f"{CATEGORY}.") for vectors in normal]
    hand = [embed(clip, vectors, phrase.format(CATEGORY) + ".") for phrase in phrases for vectors in normal]
    learned = []
    for k in range(len(normal) * len(abnormal)):
        vectors = torch.cat([normal[k % len(normal)], abnormal[k % len(abnormal)]])
        learned.append(embed(clip, vectors, f"{CATEGORY}."))
    return torch.stack(n), torch.stack(hand), torch.stack(learned)


def sides(n, hand, learned):
    return F.normalize(n.mean(0), dim=-1), F.normalize(torch.cat([hand, learned]).mean(0), dim=-1)


def loss_of(clip, features, normal, abnormal, phrases, axis):
    n, hand, learned = texts(clip, normal, abnormal, phrases)
    w_r, w_a = sides(n, hand, learned)
    each = F.normalize(torch.cat([hand, learned]), dim=-1)
    logits = clip.w["logit_scale"] * features @ torch.cat([w_r[None], each]).T
    target = torch.zeros(logits.shape[:-1], dtype=torch.long)
    entropy = F.cross_entropy(logits.flatten(0, 1), target.flatten())
    near = lambda w: ((features - w) ** 2).sum(axis)
    triplet = F.relu(near(w_r) - near(w_a)).mean()
    apart = F.normalize(hand, dim=-1).mean(0) - F.normalize(learned, dim=-1).mean(0)
    return entropy + triplet + 1e-3 * (apart**2).sum()


def fit(clip, task, features, phrases, out):
    def vectors(*shape):
        return (torch.randn(*shape) * 0.3).float().double()

    normal, abnormal = vectors(N_PRO[task], N_CTX, TEXT_WIDTH), vectors(N_AB, N_CTX_AB, TEXT_WIDTH)
    for name, value in (("normal", normal), ("abnormal", abnormal)):
        out[f"{task}.first.{name}"] = value.clone().flatten(0, 1)
    normal.requires_grad_()
    abnormal.requires_grad_()
    optimizer = torch.optim.SGD([normal, abnormal], lr=RATE, momentum=0.9, weight_decay=5e-4)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS, eta_min=1e-5)
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(clip, features, normal, abnormal, phrases, {"image": -1, "pixel": 1}[task])
        loss.backward()
        if step == 0:
            out[f"{task}.gradient.normal"] = normal.grad.clone().flatten(0, 1)
            out[f"{task}.gradient.abnormal"] = abnormal.grad.clone().flatten(0, 1)
        losses.append(loss.detach())
        optimizer.step()
        cosine.step()
    out[f"{task}.losses"] = torch.stack(losses)
    out[f"{task}.trained.normal"] = normal.detach().flatten(0, 1)
    out[f"{task}.trained.abnormal"] = abnormal.detach().flatten(0, 1)
    return sides(*texts(clip, normal.detach(), abnormal.detach(), phrases))


def predict(clip, f, z, galleries, image, pixel):
    t, grid = clip.w["logit_scale"], clip.grid
    visual = []
    for tokens in galleries:
        bank = tokens[NORMALS].flatten(0, 1)
        visual.append((1 - (tokens @ bank.T).max(-1).values) / 2)
    visual = torch.stack(visual).mean(0)
    textual = (t * z @ torch.stack(pixel).T).softmax(-1)[..., 1]
    up = lambda m: F.interpolate(m.view(-1, 1, grid, grid), size=PATCH * grid, mode="bilinear", align_corners=False)[:, 0]
    s_text = (t * f[:, 0] @ torch.stack(image).T).softmax(-1)[:, 1]
    score = 1 / (1 / up(visual).flatten(1).max(1).values + 1 / s_text)
    return score, up(1 / (1 / textual + 1 / visual))


def main(grid):
    torch.manual_seed(300 + grid)
    clip, size = Clip(grid), PATCH * grid
    pixels = torch.randint(0, 256, (4, 3, size, size))
    images = (pixels / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    out = {"pixels": pixels, "masks": torch.zeros(4, size, size)}
    f, z, galleries = see(clip, images)
    phrases = GENERIC + OWN[grid]
    image = fit(clip, "image", f[NORMALS], phrases, out)
    pixel = fit(clip, "pixel", z[NORMALS], phrases, out)
    out["promptad.score"], out["promptad.map"] = predict(clip, f, z, galleries, image, pixel)
    out = {k: v.detach().float().contiguous() for k, v in out.items()}
    ids = sorted(clip.rows)
    clip.w["token_rows"] = torch.stack([clip.rows[i] for i in ids])
    out.update({f"clip.{k}": v.half().contiguous() for k, v in clip.w.items()})
    out["clip.token_ids"] = torch.tensor(ids, dtype=torch.int32)
    save_file(out, FOLDER / f"promptad_{grid}.safetensors")
    print(grid, out["promptad.score"].tolist(), out["image.losses"].tolist(), out["pixel.losses"].tolist())


if __name__ == "__main__":
    for side in (5, 6):
        main(side)
