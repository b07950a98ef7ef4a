//! Exact AUROC, average precision, F1-max and AUPRO for anomaly detection.
