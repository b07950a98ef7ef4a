//! Image reading, preprocessing, data-set layouts and procedural images for anomaly detection.
