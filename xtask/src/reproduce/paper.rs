//! The paper's own numbers: `datasets/paper_tables.csv`.

use anyhow::{Context, Result};
use serde::Deserialize;

/// A cell of a table of the paper.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(super) struct Cell {
    pub(super) table: u8,
    pub(super) setting: String,
    pub(super) method: String,
    pub(super) dataset: String,
    pub(super) level: String,
    pub(super) metric: String,
    /// Percent; absent where the paper has a dash.
    pub(super) value: Option<f64>,
    /// Why the printed value is doubted, in a word; empty where it is not.
    pub(super) flag: String,
    pub(super) note: String,
}

/// All cells, in the paper's order.
///
/// # Errors
/// If the built-in file is not what it should be.
pub(super) fn cells() -> Result<Vec<Cell>> {
    let text = include_str!("../../../datasets/paper_tables.csv");
    csv::Reader::from_reader(text.as_bytes())
        .deserialize()
        .collect::<Result<_, _>>()
        .context("datasets/paper_tables.csv")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_cells_are_read() {
        let cells = cells().expect("the file is built in");
        assert_eq!(cells.len(), 424);
        let find = |table, method: &str, dataset: &str, metric: &str| {
            cells
                .iter()
                .find(|c| {
                    c.table == table
                        && c.method == method
                        && c.dataset == dataset
                        && c.metric == metric
                })
                .expect("is in the paper")
        };
        assert_eq!(find(1, "FE-CLIP", "MVTec AD", "AUROC").value, Some(91.9));
        assert_eq!(find(2, "FE-CLIP", "VisA", "PRO").value, Some(92.8));
        let doubted = find(1, "APRIL-GAN", "MPDD", "AUROC");
        assert_eq!((doubted.value, doubted.flag.as_str()), (Some(78.0), "error-likely"));
        assert_eq!(find(1, "CoOp", "DTD-Synthetic", "AP").value, None);
    }
}
