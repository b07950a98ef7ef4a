"""Writes what FE-CLIP computes on a small random backbone: forward, gradients, three steps of Adam.

Usage: python generate.py   (versions: requirements.txt)

A transcription of the paper in double precision, equation by equation; nothing of it is shared with the Rust code.
`backbone.safetensors` has transformers' names, but of the token embedding only the rows that the prompts use, and
positions for each grid. `head.safetensors` has the first weights of every adapter, convolutions in both sizes.
Each file of `cases` holds the settings as metadata, then what the model says, the gradients and the weights after.
"""
import json
import pathlib

import numpy
import scipy.fft
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

FOLDER = pathlib.Path(__file__).parent
WIDTH, HEADS, LAYERS, EMBEDDING, PATCH = 8, 2, 4, 6, 2
CONTEXT, TEXT_WIDTH = 16, 8
# "A photo of a normal object", "A photo of a damaged object", framed
PROMPTS = [[49406, 320, 1125, 539, 320, 5967, 14115, 49407], [49406, 320, 1125, 539, 320, 13568, 14115, 49407]]
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
RATES = {"learning_rate": 1e-3, "projection_learning_rate": 2.5e-4}
STEPS = 3

DEFAULTS = {
    "stage_ends": [1, 2, 3, 4],
    "lambda": 0.1,
    "temperature": 0.07,
    "transform": "dct",
    "patch_ln_post": True,
    "shared_projection": True,
    "class_ln_post": True,
    "aggregate": "mean_probability",
    "ffe": {"window": 3},
    "lfs": {"window": 3, "statistic": "signed_mean", "kernel": 3},
}


def lfs(statistic, kernel=3, window=3):
    return {"window": window, "statistic": statistic, "kernel": kernel}


# name: (tokens along a side, settings that differ)
CASES = {
    "paper": (6, {}),
    "paper_ragged": (7, {}),
    "dct_abs": (7, {"lfs": lfs("abs_mean", 1), "shared_projection": False}),
    "dct_power": (6, {"lfs": lfs("power_mean"), "patch_ln_post": False, "aggregate": "mean_logit"}),
    "dct_log": (7, {"lfs": lfs("log_abs_mean", 1), "aggregate": "mean_logit"}),
    "fft_signed": (7, {"transform": "fft", "lfs": lfs("signed_mean"), "shared_projection": False}),
    "fft_abs": (6, {"transform": "fft", "lfs": lfs("abs_mean")}),
    "fft_power": (7, {"transform": "fft", "lfs": lfs("power_mean", 1), "patch_ln_post": False}),
    "fft_log": (6, {"transform": "fft", "lfs": lfs("log_abs_mean"), "shared_projection": False, "patch_ln_post": False}),
    "ffe": (7, {"lfs": False}),
    "ffe_fft_window_2": (7, {"lfs": False, "transform": "fft", "ffe": {"window": 2}, "aggregate": "mean_logit"}),
    "lfs": (6, {"ffe": False, "lfs": lfs("signed_mean", 1)}),
    "lfs_window_4": (7, {"ffe": False, "lfs": lfs("abs_mean", 3, 4)}),
    "conv_3": (7, {"ffe": False, "lfs": False, "conv_adapter": {"kernel": 3}}),
    "conv_1": (6, {"ffe": False, "lfs": False, "conv_adapter": {"kernel": 1}, "class_ln_post": False}),
    "two_stages": (6, {"stage_ends": [1, 3], "lambda": 0.4, "temperature": "clip", "conv_adapter": {"kernel": 3}}),
}


# --- the frozen CLIP


def layer_norm(x, weights, name):
    return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-5)


def linear(x, weights, name):
    return F.linear(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))


def block(x, weights, name, causal):
    """A pre-norm transformer layer with QuickGELU."""
    b, n, d = x.shape
    y = layer_norm(x, weights, f"{name}.layer_norm1")
    q, k, v = (
        linear(y, weights, f"{name}.self_attn.{part}_proj").view(b, n, HEADS, d // HEADS).transpose(1, 2) for part in "qkv"
    )
    scores = q @ k.transpose(2, 3) / (d // HEADS) ** 0.5
    if causal:
        scores = scores.masked_fill(torch.ones(n, n).triu(1).bool(), float("-inf"))
    y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(b, n, d)
    x = x + linear(y, weights, f"{name}.self_attn.out_proj")
    y = linear(layer_norm(x, weights, f"{name}.layer_norm2"), weights, f"{name}.mlp.fc1")
    return x + linear(y * torch.sigmoid(1.702 * y), weights, f"{name}.mlp.fc2")


def text_embeddings(weights):
    """[g_r; g_a], unit vectors."""
    ids = torch.tensor(PROMPTS)
    rows = torch.searchsorted(weights["token_ids"], ids)
    x = weights["token_rows"][rows] + weights["text_model.embeddings.position_embedding.weight"][: ids.shape[1]]
    x = block(x, weights, "text_model.encoder.layers.0", causal=True)[:, -1]  # the end token
    return F.normalize(linear(layer_norm(x, weights, "text_model.final_layer_norm"), weights, "text_projection"), dim=-1)


def stem(images, weights):
    x = F.conv2d(images, weights["vision_model.embeddings.patch_embedding.weight"], stride=PATCH)
    x = x.flatten(2).transpose(1, 2)
    first = weights["vision_model.embeddings.class_embedding"].expand(len(x), 1, -1)
    x = torch.cat([first, x], 1) + weights[f"positions.{images.shape[-1] // PATCH}"]
    return layer_norm(x, weights, "vision_model.pre_layrnorm")


# --- the adapters; tokens are (B, H, W, D)


def dct_matrix(n):
    """Orthonormal DCT-II as scipy defines it."""
    return torch.from_numpy(scipy.fft.dct(numpy.eye(n), norm="ortho", axis=0))


def frequencies(windows, transform):
    """2-D transform of the last two axes: one real tensor, or real and imaginary part."""
    if transform == "dct":
        c = dct_matrix(windows.shape[-1])
        return [c @ windows @ c.T]
    spectrum = torch.fft.fft2(windows, norm="ortho")
    return [spectrum.real, spectrum.imag]


def ffe(x, config, head, stage):
    """3.3: transform of windows, linear layer and GELU on every coefficient, inverse transform."""
    p = config["ffe"]["window"]
    b, h, w, d = x.shape
    x = F.pad(x.permute(0, 3, 1, 2), (0, -w % p, 0, -h % p), mode="replicate")  # (B, D, H', W')
    rows, columns = x.shape[2] // p, x.shape[3] // p
    x = x.view(b, d, rows, p, columns, p).permute(0, 2, 4, 1, 3, 5)  # (B, rows, columns, D, P, P)
    parts = [
        F.gelu(linear(part.movedim(3, 5), head, f"stages.{stage}.ffe.linear")).movedim(5, 3)
        for part in frequencies(x, config["transform"])
    ]
    if config["transform"] == "dct":
        c = dct_matrix(p)
        x = c.T @ parts[0] @ c
    else:
        x = torch.fft.ifft2(torch.complex(*parts), norm="ortho").real
    x = x.permute(0, 1, 4, 2, 5, 3).reshape(b, rows * p, columns * p, d)
    return x[:, :h, :w]


def reduce(coefficients, statistic):
    """Mean over the Q*Q responses (the last two axes)."""
    value = {
        "signed_mean": lambda c: c,
        "abs_mean": torch.abs,
        "power_mean": torch.square,
        "log_abs_mean": lambda c: torch.log1p(c.abs()),
    }[statistic]
    return value(coefficients).mean((-2, -1))


def lfs_adapter(x, config, head, stage):
    """3.4: transform of the window around every token, mean of the responses, convolution, GELU."""
    q = config["lfs"]["window"]
    before, after = q // 2, q - 1 - q // 2
    x = F.pad(x.permute(0, 3, 1, 2), (before, after, before, after), mode="replicate")
    windows = x.unfold(2, q, 1).unfold(3, q, 1)  # (B, D, H, W, Q, Q)
    x = sum(reduce(part, config["lfs"]["statistic"]) for part in frequencies(windows, config["transform"]))
    return convolution(x, head, f"stages.{stage}.lfs.conv")


def conv_adapter(x, config, head, stage):
    """Table 3: the convolution and GELU alone."""
    return convolution(x.permute(0, 3, 1, 2), head, f"stages.{stage}.conv.conv")


def convolution(x, head, name):
    weight = head[f"{name}.weight"]
    return F.gelu(F.conv2d(x, weight, head[f"{name}.bias"], padding=weight.shape[-1] // 2)).permute(0, 2, 3, 1)


# --- equations 1 to 3


def temperature(config, weights):
    return float(torch.exp(-weights["logit_scale"])) if config["temperature"] == "clip" else config["temperature"]


def anomalous(z, text, tau):
    """Equation 1: the probability of the anomalous prompt, and the cosine difference."""
    cosines = F.normalize(z, dim=-1) @ text.T
    return (cosines / tau).softmax(-1)[..., 1], cosines[..., 1] - cosines[..., 0]


def forward(images, config, weights, head):
    """S_{a,n} and M_{a,n} of all stages with their cosine differences, (B, N) and (B, N, H, W)."""
    text, tau = text_embeddings(weights), temperature(config, weights)
    x = stem(images, weights)
    side = images.shape[-1] // PATCH
    scores, maps = [], []
    start = 0
    for stage, end in enumerate(config["stage_ends"]):
        for layer in range(start, end):
            x = block(x, weights, f"vision_model.encoder.layers.{layer}", causal=False)
        start = end
        f, fm = x[:, 0], x[:, 1:].reshape(len(x), side, side, WIDTH)
        branches = []
        if config["ffe"]:
            branches.append(ffe(fm, config, head, stage))
        if config["lfs"]:
            branches.append(lfs_adapter(fm, config, head, stage))
        if config.get("conv_adapter"):
            branches.append(conv_adapter(fm, config, head, stage))
        fh = config["lambda"] * sum(branches) + (1 - config["lambda"]) * fm  # equation 2
        x = torch.cat([f[:, None], fh.flatten(1, 2)], 1)
        post = "vision_model.post_layernorm"
        f = layer_norm(f, weights, post) if config["class_ln_post"] else f
        z = layer_norm(fh, weights, post) if config["patch_ln_post"] else fh
        fc = "patch_projection" if config["shared_projection"] else f"patch_projection.{stage}"
        scores.append(anomalous(linear(f, weights, "visual_projection"), text, tau))
        maps.append(anomalous(linear(z, head, fc), text, tau))
    stack = lambda pairs, part: torch.stack([pair[part] for pair in pairs], 1)
    return stack(scores, 0), stack(maps, 0), stack(scores, 1), stack(maps, 1)


def aggregate(probability, margin, config, weights):
    """Equation 3, or the probability of the mean logit."""
    if config["aggregate"] == "mean_probability":
        return probability.mean(1)
    return torch.sigmoid(margin.mean(1) / temperature(config, weights))


# --- equations 4 and 5


def focal(p, target):
    """Lin et al. with the label smoothing of AnomalyCLIP's code, both channels."""
    smooth = 1e-5
    channels = torch.stack([1 - p, p], 1)
    one_hot = torch.stack([1 - target, target], 1).clamp(smooth, 1 - smooth)
    pt = (one_hot * channels).sum(1) + smooth
    return -((1 - pt) ** 2 * pt.log()).mean()


def dice(p, target):
    p, target = p.flatten(1), target.flatten(1)
    return 1 - ((2 * (p * target).sum(1) + 1) / (p.sum(1) + target.sum(1) + 1)).mean()


def losses(scores, maps, labels, masks):
    n = scores.shape[1]
    cls = sum(F.binary_cross_entropy(scores[:, i], labels) for i in range(n)) / n
    up = F.interpolate(maps, masks.shape[-1:] * 2, mode="bilinear", align_corners=False)
    return cls, sum(focal(up[:, i], masks) for i in range(n)) / n, sum(dice(up[:, i], masks) for i in range(n)) / n


# --- random weights and images


def random_backbone(generator):
    """Weights large enough that every one of them matters, norms and biases too."""
    weights = {}

    def normal(name, *shape, scale=None, mean=0.0):
        scale = 1.2 * shape[-1] ** -0.5 if scale is None else scale
        weights[name] = (mean + scale * torch.randn(*shape, generator=generator, dtype=torch.double)).float()

    def norm(name, width):
        normal(f"{name}.weight", width, scale=0.2, mean=1.0)
        normal(f"{name}.bias", width, scale=0.1)

    def affine(name, out, inputs):
        normal(f"{name}.weight", out, inputs)
        normal(f"{name}.bias", out, scale=0.1)

    def layer(name, width):
        norm(f"{name}.layer_norm1", width)
        norm(f"{name}.layer_norm2", width)
        for part in ["q_proj", "k_proj", "v_proj", "out_proj"]:
            affine(f"{name}.self_attn.{part}", width, width)
        affine(f"{name}.mlp.fc1", 2 * width, width)
        affine(f"{name}.mlp.fc2", width, 2 * width)

    normal("vision_model.embeddings.patch_embedding.weight", WIDTH, 3, PATCH, PATCH, scale=0.3)
    normal("vision_model.embeddings.class_embedding", WIDTH, scale=1.0)
    for side in (6, 7):
        normal(f"positions.{side}", 1 + side * side, WIDTH, scale=1.0)
    norm("vision_model.pre_layrnorm", WIDTH)
    for i in range(LAYERS):
        layer(f"vision_model.encoder.layers.{i}", WIDTH)
    norm("vision_model.post_layernorm", WIDTH)
    normal("visual_projection.weight", EMBEDDING, WIDTH)
    ids = torch.tensor(sorted({i for prompt in PROMPTS for i in prompt}))
    normal("token_rows", len(ids), TEXT_WIDTH, scale=1.0)
    normal("text_model.embeddings.position_embedding.weight", CONTEXT, TEXT_WIDTH, scale=1.0)
    layer("text_model.encoder.layers.0", TEXT_WIDTH)
    norm("text_model.final_layer_norm", TEXT_WIDTH)
    normal("text_projection.weight", EMBEDDING, TEXT_WIDTH)
    weights["logit_scale"] = torch.tensor(2.0)
    weights["token_ids"] = ids.int()
    return weights


def random_head(generator):
    head = {}

    def part(name, *shape):
        bound = numpy.prod(shape[1:]) ** -0.5  # PyTorch's own first weights
        for leaf, size in (("weight", shape), ("bias", shape[:1])):
            uniform = torch.rand(*size, generator=generator, dtype=torch.double)
            head[f"{name}.{leaf}"] = (bound * (2 * uniform - 1)).float()

    for n in range(LAYERS):
        part(f"stages.{n}.ffe.linear", WIDTH, WIDTH)
        for branch in ("lfs", "conv"):
            for kernel in (1, 3):
                part(f"kernel_{kernel}.stages.{n}.{branch}.conv", WIDTH, WIDTH, kernel, kernel)
        part(f"patch_projection.{n}", EMBEDDING, WIDTH)
    part("patch_projection", EMBEDDING, WIDTH)
    return head


def chosen(head, config):
    """The first weights that a case trains, under the names of an adapter checkpoint."""
    weights = {}

    def take(name, key=None):
        for leaf in ("weight", "bias"):
            weights[f"{name}.{leaf}"] = head[f"{key or name}.{leaf}"].double().requires_grad_()

    stages = range(len(config["stage_ends"]))
    for n in stages:
        if config["ffe"]:
            take(f"stages.{n}.ffe.linear")
        for branch, settings in (("lfs", config["lfs"]), ("conv", config.get("conv_adapter"))):
            if settings:
                name = f"stages.{n}.{branch}.conv"
                take(name, f"kernel_{settings['kernel']}.{name}")
    for name in ["patch_projection"] if config["shared_projection"] else [f"patch_projection.{n}" for n in stages]:
        take(name)
    return weights


def random_images(generator, size):
    """Three images of 8 bits, the last one normal, and their masks."""
    images = torch.randint(0, 256, (3, size, size, 3), generator=generator, dtype=torch.uint8)
    masks = torch.zeros(3, size, size, dtype=torch.uint8)
    masks[0, 2:7, 3:9] = 1
    masks[1, size - 4 :, 5:] = 1
    return images, masks


def normalised(images):
    x = images.permute(0, 3, 1, 2).double() / 255
    return (x - torch.tensor(MEAN).double().view(3, 1, 1)) / torch.tensor(STD).double().view(3, 1, 1)


def write(path, tensors, **metadata):
    stored = {key: (value.float() if value.is_floating_point() else value).detach().contiguous() for key, value in tensors.items()}
    metadata = {key: json.dumps(value) for key, value in metadata.items()}
    save_file(stored, FOLDER / path, metadata={"torch": torch.__version__} | metadata)


def main():
    generator = torch.Generator().manual_seed(0)
    backbone, head = random_backbone(generator), random_head(generator)
    pictures = {side: random_images(generator, side * PATCH) for side in (6, 7)}
    write("backbone.safetensors", backbone)
    write("head.safetensors", head)
    stored = {f"{what}.{side}": value for side, pair in pictures.items() for what, value in zip(("images", "masks"), pair)}
    write("images.safetensors", stored)
    weights = {key: value.double() if value.is_floating_point() else value for key, value in backbone.items()}
    (FOLDER / "cases").mkdir(exist_ok=True)
    for name, (side, settings) in CASES.items():
        config = DEFAULTS | settings
        images, masks = pictures[side]
        images, masks = normalised(images), masks.double()
        labels = masks.flatten(1).amax(1)
        parameters = chosen(head, config)
        adapters = [p for key, p in parameters.items() if key.startswith("stages")]
        projection = [p for key, p in parameters.items() if key.startswith("patch_projection")]
        optimizer = torch.optim.Adam(
            [
                {"params": adapters, "lr": RATES["learning_rate"]},
                {"params": projection, "lr": RATES["projection_learning_rate"]},
            ]
        )
        result = {}
        for step in range(STEPS):
            scores, maps, score_margins, map_margins = forward(images, config, weights, parameters)
            terms = losses(scores, maps, labels, masks)
            optimizer.zero_grad()
            sum(terms).backward()
            if step == 0:
                result |= {"image_margins": score_margins, "pixel_margins": map_margins}
                result["image_score"] = aggregate(scores, score_margins, config, weights)
                result["patch_map"] = aggregate(maps, map_margins, config, weights)
                result |= {f"gradient.{key}": p.grad.clone() for key, p in parameters.items()}
            result[f"losses.{step}"] = torch.stack(terms)
            optimizer.step()
        result |= {f"trained.{key}": p for key, p in parameters.items()}
        write(f"cases/{name}.safetensors", result, model=config | {"image_size": side * PATCH}, train=RATES)


main()
