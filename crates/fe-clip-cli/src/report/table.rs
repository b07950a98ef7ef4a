//! `results.csv` and `results.parquet`: one row an image, the same columns.

use std::path::Path;

use data::path_text::to_text;

use super::Row;
use super::parquet::{Column, Values, encode};
use crate::lines::csv_cell;

/// A column's value of a row.
enum Cell {
    Text(fn(&Row) -> Option<String>),
    Float(fn(&Row) -> Option<f32>),
    Double(fn(&Row) -> Option<f64>),
    Integer(fn(&Row) -> Option<i32>),
}

const COLUMNS: [(&str, Cell); 23] = [
    ("path", Cell::Text(|row| Some(text(&row.path)))),
    ("dataset", Cell::Text(|row| row.dataset.clone())),
    ("category", Cell::Text(|row| row.category.clone())),
    ("truth", Cell::Text(|row| row.truth.map(|truth| class(truth).to_string()))),
    ("defect", Cell::Text(|row| row.defect.clone())),
    ("score", Cell::Double(|row| row.score)),
    ("label", Cell::Text(|row| row.label.map(str::to_string))),
    ("map_max", Cell::Float(|row| row.map_max)),
    ("width", Cell::Integer(|row| row.size.map(|(width, _)| width as i32))),
    ("height", Cell::Integer(|row| row.size.map(|(_, height)| height as i32))),
    ("map", Cell::Text(|row| row.map.as_deref().map(text))),
    ("overlay", Cell::Text(|row| row.overlay.as_deref().map(text))),
    ("error", Cell::Text(|row| row.error.clone())),
    ("raw_score", Cell::Float(|row| row.raw_score)),
    ("regions", Cell::Integer(|row| row.regions.count.map(|count| count as i32))),
    ("largest_x", Cell::Integer(|row| row.regions.largest.as_ref().map(|l| l.x as i32))),
    ("largest_y", Cell::Integer(|row| row.regions.largest.as_ref().map(|l| l.y as i32))),
    ("largest_width", Cell::Integer(|row| row.regions.largest.as_ref().map(|l| l.width as i32))),
    ("largest_height", Cell::Integer(|row| row.regions.largest.as_ref().map(|l| l.height as i32))),
    ("largest_area", Cell::Integer(|row| row.regions.largest.as_ref().map(|l| l.area as i32))),
    ("largest_score", Cell::Float(|row| row.regions.largest.as_ref().map(|l| l.score))),
    ("largest_area_mm2", Cell::Double(|row| row.regions.largest.as_ref().and_then(|l| l.area_mm2))),
    ("largest_zone", Cell::Text(|row| row.regions.largest.as_ref().and_then(|l| l.zone.clone()))),
];

fn text(path: &Path) -> String {
    to_text(path).into_owned()
}

fn class(anomalous: bool) -> &'static str {
    if anomalous { "anomalous" } else { "normal" }
}

/// Comma-separated values with a header; numbers as short as they read back exactly, null empty.
pub(crate) fn csv(rows: &[Row]) -> String {
    let mut text = COLUMNS.map(|(name, _)| name).join(",") + "\n";
    for row in rows {
        let cells = COLUMNS.map(|(_, cell)| match cell {
            Cell::Text(of) => csv_cell(&of(row).unwrap_or_default()),
            Cell::Float(of) => of(row).map_or(String::new(), |v| v.to_string()),
            Cell::Double(of) => of(row).map_or(String::new(), |v| v.to_string()),
            Cell::Integer(of) => of(row).map_or(String::new(), |v| v.to_string()),
        });
        text += &(cells.join(",") + "\n");
    }
    text
}

/// The same as a Parquet file.
pub(crate) fn parquet(rows: &[Row]) -> Vec<u8> {
    let texts: Vec<Vec<Option<String>>> = COLUMNS
        .iter()
        .map(|(_, cell)| match cell {
            Cell::Text(of) => rows.iter().map(of).collect(),
            _ => Vec::new(),
        })
        .collect();
    let columns: Vec<Column<'_>> = COLUMNS
        .iter()
        .zip(&texts)
        .map(|((name, cell), texts)| {
            let values = match cell {
                Cell::Text(_) => Values::Text(texts.iter().map(Option::as_deref).collect()),
                Cell::Float(of) => Values::Float(rows.iter().map(of).collect()),
                Cell::Double(of) => Values::Double(rows.iter().map(of).collect()),
                Cell::Integer(of) => Values::Integer(rows.iter().map(of).collect()),
            };
            Column { name, values }
        })
        .collect();
    encode(&columns, concat!("fe-clip ", env!("CARGO_PKG_VERSION")))
}
