//! The frequency adapters FFE and LFS of FE-CLIP on Burn.
