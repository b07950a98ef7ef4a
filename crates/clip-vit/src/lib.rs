//! CLIP vision transformers and their text towers on Burn.
