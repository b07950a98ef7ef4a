//! FE-CLIP: frequency-enhanced CLIP for zero-shot anomaly detection.
