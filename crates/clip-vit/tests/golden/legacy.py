"""A state dict in the format from before PyTorch 1.6, and the same values as safetensors. torch==2.9.1, safetensors==0.6.2."""

from pathlib import Path

import torch
from safetensors.torch import save_file

folder = Path(__file__).parent
torch.manual_seed(0)
base = torch.randn(5, 7)
tensors = {
    "weight": base,
    "column": base[:, 2],  # shares the storage, strided
    "half": torch.randn(3, 2, 2).half(),
    "count": torch.tensor(12),
}
torch.save(tensors, folder / "legacy.pth", _use_new_zipfile_serialization=False)
floats = {k: v.float().contiguous().clone() for k, v in tensors.items() if k != "count"}
save_file(floats, folder / "legacy.safetensors")
