//! The tables as Markdown, CSV and one HTML page.

use std::fmt::Write;

use anyhow::Result;

use serde_json::{Value, json};

use super::method::BEYOND;
use super::results::{Compared, PEERS_PRO};

/// A table of the paper to be shown: rows are methods, columns are data sets and metrics.
pub(super) struct Table<'a> {
    pub(super) title: String,
    pub(super) columns: Vec<(&'a str, &'a str, &'a str)>,
    pub(super) rows: Vec<(&'a str, Vec<Option<&'a Compared>>)>,
}

/// Groups cells by table and setting, in the order in which they come.
pub(super) fn group(all: &[Compared]) -> Vec<Table<'_>> {
    let mut keys: Vec<(u8, &str)> = Vec::new();
    for compared in all {
        let key = (compared.cell.table, compared.cell.setting.as_str());
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys.sort_by_key(|(table, _)| *table);
    keys.into_iter()
        .map(|(number, setting)| {
            let of = |c: &&Compared| c.cell.table == number && c.cell.setting == setting;
            let cells: Vec<&Compared> = all.iter().filter(of).collect();
            let (mut columns, mut methods) = (Vec::new(), Vec::new());
            for Compared { cell, .. } in &cells {
                let column = (cell.dataset.as_str(), cell.level.as_str(), cell.metric.as_str());
                if !columns.contains(&column) {
                    columns.push(column);
                }
                if !methods.contains(&cell.method.as_str()) {
                    methods.push(cell.method.as_str());
                }
            }
            // A data set that the paper lacks stands first, where it is seen, and what is ours
            // beside what it belongs to.
            let quoted =
                |name| cells.iter().any(|c| c.cell.dataset == name && c.cell.value.is_some());
            let (datasets, metrics): (Vec<&str>, Vec<(&str, &str)>) =
                columns.iter().map(|&(dataset, level, metric)| (dataset, (level, metric))).unzip();
            columns.sort_by_key(|&(dataset, level, metric)| {
                let beside = if metric == PEERS_PRO { "PRO" } else { metric };
                let at = metrics.iter().position(|&m| m == (level, beside));
                let dataset_at = datasets.iter().position(|&name| name == dataset);
                (quoted(dataset), dataset_at, at, metric == PEERS_PRO)
            });
            let first = methods.clone();
            methods.sort_by_key(|method: &&str| {
                let base = method.split(" (").next().unwrap_or_default();
                let of_base =
                    |m: &&str| *m == base || (m.starts_with("FE-CLIP (") && method.starts_with(*m));
                first.iter().position(of_base).or(first.iter().position(|m| m == method))
            });
            let row = |method| {
                let find = |column: &(&str, &str, &str)| {
                    cells.iter().copied().find(|Compared { cell, .. }| {
                        cell.method == method
                            && (cell.dataset.as_str(), cell.level.as_str(), cell.metric.as_str())
                                == *column
                    })
                };
                (method, columns.iter().map(find).collect())
            };
            let rows = methods.into_iter().map(row).collect();
            let title = match number {
                BEYOND => format!("Beyond the paper, {setting}"),
                _ => format!("Table {number}, {setting}"),
            };
            Table { title, columns, rows }
        })
        .collect()
}

/// A cell in pieces: the paper's value, ours, the difference.
fn text(compared: &Compared) -> (String, String, String) {
    let flag = if compared.cell.flag.is_empty() { "" } else { "*" };
    let paper = match (compared.cell.value, compared.ours.is_empty()) {
        (Some(value), _) => format!("{value:.1}{flag} quoted"),
        (None, true) => "-".into(),
        (None, false) => String::new(),
    };
    let ours = match (compared.mean(), compared.deviation()) {
        (Some(mean), Some(deviation)) => format!("{mean:.1} ± {deviation:.1}"),
        (Some(mean), None) => format!("{mean:.1}"),
        _ => String::new(),
    };
    let difference = compared.difference().map_or(String::new(), |d| format!("{d:+.1}"));
    (paper, ours, difference)
}

pub(super) fn markdown(tables: &[Table<'_>], introduction: &str) -> String {
    let mut out = format!("{introduction}\n");
    for table in tables {
        let _ = write!(out, "\n## {}\n\n| method |", table.title);
        for (dataset, level, metric) in &table.columns {
            let _ = write!(out, " {dataset} {level} {metric} |");
        }
        let _ = write!(out, "\n| --- |{}\n", " --- |".repeat(table.columns.len()));
        for (method, cells) in &table.rows {
            let _ = write!(out, "| {method} |");
            for cell in cells {
                let (paper, ours, difference) = cell.map(text).unwrap_or_default();
                let ours = if ours.is_empty() { ours } else { format!("**{ours}**") };
                let difference =
                    if difference.is_empty() { difference } else { format!("({difference})") };
                let parts = [paper, ours, difference];
                let said: Vec<&str> =
                    parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
                let _ = write!(out, " {} |", said.join(" "));
            }
            out.push('\n');
        }
    }
    out
}

/// One line a cell.
///
/// # Errors
/// If a cell cannot be encoded.
pub(super) fn csv(all: &[Compared]) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "table",
        "setting",
        "method",
        "dataset",
        "level",
        "metric",
        "kind",
        "quoted",
        "flag",
        "ours_mean",
        "ours_std",
        "runs",
        "difference",
        "note",
    ])?;
    for compared in all {
        let cell = &compared.cell;
        let number = |x: Option<f64>| x.map_or(String::new(), |x| format!("{x:.4}"));
        writer.write_record([
            &cell.table.to_string(),
            &cell.setting,
            &cell.method,
            &cell.dataset,
            &cell.level,
            &cell.metric,
            compared.kind(),
            &cell.value.map_or(String::new(), |v| v.to_string()),
            &cell.flag,
            &number(compared.mean()),
            &number(compared.deviation()),
            &compared.ours.len().to_string(),
            &number(compared.difference()),
            compared.differs.as_deref().unwrap_or(&cell.note),
        ])?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// The same as JSON.
pub(super) fn json(all: &[Compared]) -> Vec<Value> {
    let cell = |compared: &Compared| {
        let cell = &compared.cell;
        json!({
            "table": cell.table, "setting": cell.setting, "method": cell.method,
            "dataset": cell.dataset, "level": cell.level, "metric": cell.metric,
            "kind": compared.kind(), "quoted": cell.value, "flag": cell.flag, "note": cell.note,
            "ours": compared.ours, "runs": compared.runs, "differs": compared.differs,
            "difference": compared.difference(),
        })
    };
    all.iter().map(cell).collect()
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:100rem;padding:0 1rem;color:#1b1f24;background:#fff}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.5rem}.scroll{overflow-x:auto}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums}th,td{padding:.35rem .6rem;border-bottom:1px solid #d8dee4;text-align:right;white-space:nowrap}\
th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:#fff}thead th{font-weight:600;border-bottom:2px solid #8c959f}\
tr.ours td{background:#f3f8ff}.ours-value{font-weight:700}.diff{color:#57606a;font-size:.85em}.flag{color:#9a3d00;cursor:help;text-decoration:underline dotted}\
pre{background:#f6f8fa;padding:1rem;overflow-x:auto}";

pub(super) fn html(tables: &[Table<'_>], introduction: &str) -> String {
    let mut body = String::new();
    for table in tables {
        let _ = write!(
            body,
            "<h2>{}</h2><div class=scroll><table><thead><tr><th scope=col>method",
            escape(&table.title)
        );
        for (dataset, level, metric) in &table.columns {
            let _ = write!(body, "<th scope=col>{}<br>{level} {metric}", escape(dataset));
        }
        body.push_str("</thead><tbody>");
        for (method, cells) in &table.rows {
            let ours = cells.iter().flatten().any(|c| !c.ours.is_empty());
            let class = if ours { " class=ours" } else { "" };
            let _ = write!(body, "<tr{class}><td>{}", escape(method));
            for cell in cells {
                body.push_str("<td>");
                if let Some(compared) = cell {
                    body.push_str(&html_cell(compared));
                }
            }
        }
        body.push_str("</tbody></table></div>");
    }
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>FE-CLIP: the paper's tables</title><style>{STYLE}</style>\
         <h1>FE-CLIP: the paper's tables</h1><pre>{}</pre>{body}</html>\n",
        escape(introduction)
    )
}

fn html_cell(compared: &Compared) -> String {
    let (paper, ours, difference) = text(compared);
    let paper = match compared.cell.flag.as_str() {
        "" | "not-reported" => paper,
        flag => {
            let title = escape(&format!("{flag}: {}", compared.cell.note));
            format!("<span class=flag title=\"{title}\">{paper}</span>")
        }
    };
    if ours.is_empty() {
        return paper;
    }
    let paper = if paper.is_empty() { paper } else { paper + "<br>" };
    let runs = escape(&compared.runs.join("\n"));
    format!(
        "{paper}<span class=ours-value title=\"{runs}\">{ours}</span> <span class=diff>{difference}</span>"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::paper;
    use super::*;

    fn compared() -> Vec<Compared> {
        let mut all: Vec<Compared> = paper::cells()
            .expect("built in")
            .into_iter()
            .map(|cell| Compared { cell, ours: vec![], runs: vec![], differs: None })
            .collect();
        let ours = all
            .iter_mut()
            .find(|c| c.cell.method == "FE-CLIP" && c.cell.dataset == "VisA")
            .expect("is in the paper");
        ours.ours = vec![80.0, 82.0];
        ours.runs = vec!["a".into(), "b".into()];
        all
    }

    #[test]
    fn the_paper_has_seven_tables_with_settings() {
        let all = compared();
        let tables = group(&all);
        let titles: Vec<&str> = tables.iter().map(|t| t.title.as_str()).collect();
        assert_eq!(titles.len(), 7, "{titles:?}");
        assert_eq!(tables[0].columns.len(), 16);
        assert_eq!(tables[0].rows.len(), 7);
    }

    #[test]
    fn a_row_that_differs_follows_the_papers_and_a_peers_pro_the_exact_one() {
        let mut all = compared();
        let like = |method: &str, metric: &str| {
            let cell = all.iter().find(|c| {
                c.cell.table == 2 && c.cell.method == "WinCLIP" && c.cell.metric == "PRO"
            });
            let mut own = cell.expect("is in the paper").clone();
            (own.cell.method, own.cell.metric) = (method.into(), metric.into());
            (own.cell.value, own.ours) = (None, vec![50.0]);
            own
        };
        let own = ["PRO", PEERS_PRO].map(|metric| like("WinCLIP (on tokens)", metric));
        all.extend(own);
        let tables = group(&all);
        let table = tables.iter().find(|t| t.title.starts_with("Table 2")).expect("is there");
        let at = table.rows.iter().position(|row| row.0 == "WinCLIP").expect("is there");
        assert_eq!(table.rows[at + 1].0, "WinCLIP (on tokens)");
        let pro = table.columns.iter().position(|c| c.2 == PEERS_PRO).expect("is there");
        assert_eq!(
            (table.columns[pro - 1].0, table.columns[pro - 1].2),
            (table.columns[pro].0, "PRO")
        );
        assert_eq!(table.columns[0].2, "AUROC");
        let text = markdown(&tables, "x");
        assert!(text.contains("| **50.0** | **50.0** |"), "{text}");
    }

    #[test]
    fn ours_stands_beside_the_papers_value() {
        let all = compared();
        let tables = group(&all);
        let text = markdown(&tables, "x");
        assert!(text.contains("84.6 quoted **81.0 ± 1.4** (-3.6)"), "{text}");
        let page = html(&tables, "a < b");
        assert!(page.contains("title=\"a\nb\">81.0 ± 1.4</span>"));
        assert!(page.contains("a &lt; b"));
        assert!(page.contains("class=flag title=\"error-likely:"));
        let csv = csv(&all).expect("numbers");
        assert_eq!(csv.lines().count(), 425);
        for all_quoted in [text.as_str(), page.as_str(), csv.as_str()] {
            assert!(all_quoted.contains("quoted"));
        }
        let cells = json(&all);
        assert_eq!(cells.len(), 424);
        let quoted = cells.iter().filter(|cell| cell["kind"] == "quoted").count();
        let valued = all.iter().filter(|c| c.cell.value.is_some() && c.ours.is_empty()).count();
        assert_eq!((quoted, text.matches(" quoted").count()), (valued, valued + 1));
        assert!(csv.contains("quoted and measured,84.6,,81.0000,1.4142,2,-3.6000,"));
    }
}
