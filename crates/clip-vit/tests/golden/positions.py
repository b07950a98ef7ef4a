"""Writes positions.safetensors: positional embeddings resized by open_clip.

Usage: python positions.py   (versions: requirements.txt)
"""
import pathlib
from types import SimpleNamespace

import torch
from open_clip.model import resize_pos_embed
from safetensors.torch import save_file

GRIDS = [(7, 7), (8, 8), (14, 14), (5, 5), (3, 3), (1, 1), (5, 9), (12, 4), (2, 13), (37, 37), (1, 20)]


def main():
    trained = torch.randn(1 + 7 * 7, 4, generator=torch.Generator().manual_seed(0))
    tensors = {"trained": trained}
    for grid in GRIDS:
        state = {"visual.positional_embedding": trained.clone()}
        resize_pos_embed(state, SimpleNamespace(visual=SimpleNamespace(grid_size=grid)))
        tensors["{}x{}".format(*grid)] = state["visual.positional_embedding"].contiguous()
    path = pathlib.Path(__file__).parent / "positions.safetensors"
    save_file(tensors, path, metadata={"torch": torch.__version__})


main()
