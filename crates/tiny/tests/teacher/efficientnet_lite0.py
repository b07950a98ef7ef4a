"""EfficientNet-Lite0 in PyTorch: what the Rust teacher is compared with.

    python efficientnet_lite0.py OUT [PUBLISHED.pth]

writes random.pth (every weight random, seeded), random.safetensors and, with the published weights,
published.safetensors: images of 48 and 80 pixels and their features. torch==2.9.1, safetensors==0.6.2.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

STAGES = [
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320),
]


class Same(nn.Conv2d):
    def forward(self, x):
        for axis in (3, 2):
            n, s, k = x.shape[axis], self.stride[0], self.kernel_size[0]
            pad = max((-(-n // s) - 1) * s + k - n, 0)
            sides = [pad // 2, pad - pad // 2]
            x = F.pad(x, sides if axis == 3 else [0, 0] + sides)
        return super().forward(x)


class Block(nn.Module):
    def __init__(self, i, o, k, s, e):
        super().__init__()
        h = i * e
        if e > 1:
            self._expand_conv = Same(i, h, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(h, eps=1e-3)
        self._depthwise_conv = Same(h, h, k, s, groups=h, bias=False)
        self._bn1 = nn.BatchNorm2d(h, eps=1e-3)
        self._project_conv = Same(h, o, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(o, eps=1e-3)
        self.residual = s == 1 and i == o

    def forward(self, x):
        y = x
        if hasattr(self, "_expand_conv"):
            y = F.relu6(self._bn0(self._expand_conv(y)))
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.residual else y


class Lite0(nn.Module):
    def __init__(self):
        super().__init__()
        self._conv_stem = Same(3, 32, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=1e-3)
        blocks, self.ends, i = [], [], 32
        for r, k, s, e, o in STAGES:
            for n in range(r):
                blocks.append(Block(i, o, k, s if n == 0 else 1, e))
                i = o
            self.ends.append(len(blocks) - 1)
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = Same(320, 1280, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(1280, eps=1e-3)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, x):
        x = F.relu6(self._bn0(self._conv_stem(x)))
        out = {}
        for n, block in enumerate(self._blocks):
            x = block(x)
            if n in self.ends:
                out[f"stage{self.ends.index(n) + 1}"] = x
        x = F.relu6(self._bn1(self._conv_head(x)))
        out["pooled"] = x.mean((2, 3))
        return {k: out[k].contiguous() for k in ("stage3", "stage5", "stage7", "pooled")}


def golden(model, path):
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for side in (48, 80):
        image = torch.randint(0, 256, (3, side, side, 3), generator=generator, dtype=torch.uint8)
        values = (image.permute(0, 3, 1, 2).float() - 127) / 128
        with torch.no_grad():
            features = model(values)
        tensors[f"{side}.image"] = image
        tensors |= {f"{side}.{name}": value for name, value in features.items()}
    save_file(tensors, path)


if __name__ == "__main__":
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = Lite0().eval()
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2.0)
        elif name.endswith("running_mean") or name.endswith("bias"):
            tensor.normal_(0.0, 0.3)
    torch.save(model.state_dict(), out / "random.pth")
    torch.save(model.state_dict(), out / "legacy.pth", _use_new_zipfile_serialization=False)
    golden(model, out / "random.safetensors")
    if len(sys.argv) > 2:
        model.load_state_dict(torch.load(sys.argv[2], weights_only=True))
        golden(model, out / "published.safetensors")
