//! Discrete cosine transforms of arrays: 1-D, 2-D, small blocks and sliding windows.
