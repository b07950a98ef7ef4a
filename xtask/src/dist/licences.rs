//! The licences of all that is in the program, in one text.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::packages::Package;
use super::program::sysroot;
use super::read;

const RULE: &str =
    "\n================================================================================\n";
const APACHE: &str = "LICENSE-APACHE";

/// Which packages there are, then each text once with the names of those that it is of, then what
/// is built in and is no package, then the notices of Rust's standard library.
pub(super) fn text(packages: &[Package]) -> Result<String> {
    let mut text = String::from(
        "fe-clip is MIT or Apache-2.0, at your choice. It is made of the packages below, whose \
         sources\nare at https://crates.io/crates/NAME/VERSION, under these licences:\n\n",
    );
    for Package { name, version, licence, .. } in packages {
        writeln!(text, "{name} {version}: {licence}")?;
    }
    // Texts that differ in nothing but line breaks and spaces are one.
    let mut texts: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    for package in packages {
        for found in of(package)? {
            let words = found.split_whitespace().collect::<Vec<_>>().join(" ");
            let (_, names) = texts.entry(words).or_insert((found, Vec::new()));
            let name = format!("{} {}", package.name, package.version);
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let mut texts: Vec<(String, Vec<String>)> = texts.into_values().collect();
    texts.sort_by(|(_, first), (_, second)| first.cmp(second));
    for (found, names) in texts {
        writeln!(text, "{RULE}{}\n\n{}", names.join(", "), found.trim())?;
    }
    let built_in = String::from_utf8(read(Path::new("packaging/built-in.txt"))?)?;
    writeln!(text, "{RULE}{}", built_in.trim())?;
    write!(text, "{RULE}Rust's standard library\n\n{}", standard_library()?)?;
    Ok(text)
}

/// The texts of a package, from its own files; where it has none, the licence that it names.
fn of(package: &Package) -> Result<Vec<String>> {
    let is_text = |name: &str| {
        let name = name.to_lowercase();
        ["licen", "copying", "copyright", "notice", "unlicense"]
            .iter()
            .any(|start| name.starts_with(start))
    };
    // Members of the workspace share the files of its root.
    let folder = if package.checksum.is_some() { &package.folder } else { Path::new(".") };
    let reading = || format!("reading {}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        if path.is_file() && path.file_name().is_some_and(|name| is_text(&name.to_string_lossy())) {
            files.push(path);
        }
    }
    files.sort();
    let text = |path| -> Result<String> {
        Ok(String::from_utf8_lossy(&read(path)?).replace("\r\n", "\n"))
    };
    if files.is_empty() {
        return Ok(vec![named(package, &text(Path::new(APACHE))?)?]);
    }
    files.iter().map(|path| text(path)).collect()
}

fn named(package: &Package, apache: &str) -> Result<String> {
    let Package { name, version, licence, authors, .. } = package;
    let choices: Vec<&str> = licence.split(" OR ").collect();
    if choices.contains(&"Apache-2.0") {
        Ok(apache.to_owned())
    } else if choices.contains(&"MIT") && !authors.is_empty() {
        let mit = String::from_utf8(read(Path::new("LICENSE-MIT"))?)?;
        let terms = mit.split_once("Permission is").context("LICENSE-MIT is not as it was")?.1;
        Ok(format!("Copyright (c) {}\n\nPermission is{terms}", authors.join(", ")))
    } else {
        bail!("{name} {version}: no file of its licence, {licence}, in its package")
    }
}

/// The notices that come with the compiler, as plain text.
fn standard_library() -> Result<String> {
    let path = sysroot()?.join("share/doc/rust/COPYRIGHT-library.html");
    Ok(plain(&String::from_utf8(read(&path)?)?))
}

/// A page without its tags, its style and its empty lines.
fn plain(html: &str) -> String {
    let body = html.split_once("</head>").map_or(html, |(_, body)| body);
    let mut text = String::new();
    for (i, part) in body.split('<').enumerate() {
        let visible = if i == 0 { Some(part) } else { part.split_once('>').map(|(_, text)| text) };
        text.push_str(visible.unwrap_or_default());
    }
    let named = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#60;", "<"), ("&#62;", ">")];
    let further = [("&#34;", "\""), ("&#39;", "'"), ("&#38;", "&"), ("&amp;", "&")];
    for (escaped, character) in named.into_iter().chain(further) {
        text = text.replace(escaped, character);
    }
    let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(licence: &str, authors: &[&str], folder: &Path) -> Package {
        Package {
            name: "some".into(),
            version: "1.0.0".into(),
            description: None,
            licence: licence.into(),
            authors: authors.iter().map(ToString::to_string).collect(),
            repository: None,
            folder: folder.to_owned(),
            checksum: Some("00".into()),
            dependencies: Vec::new(),
        }
    }

    #[test]
    fn texts_are_the_packages_own_where_it_has_some() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in
            [("LICENSE-MIT", "mit\r\n"), ("notice.md", "n"), ("readme.md", "r"), ("COPYING", "c")]
        {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        std::fs::create_dir(folder.path().join("licenses")).unwrap();
        assert_eq!(of(&package("MIT", &[], folder.path())).unwrap(), ["c", "mit\n", "n"]);
    }

    #[test]
    fn a_licence_without_a_text_is_an_error() {
        let folder = Path::new("nowhere");
        let apache = "the licence";
        assert_eq!(named(&package("MIT OR Apache-2.0", &[], folder), apache).unwrap(), apache);
        for licence in ["BSD-3-Clause", "MIT AND Apache-2.0", "MIT"] {
            let error = named(&package(licence, &[], folder), apache).unwrap_err().to_string();
            assert!(error.contains("some 1.0.0") && error.contains(licence), "{error}");
        }
    }

    #[test]
    fn pages_become_plain() {
        let page =
            "<html><head><style>x</style></head>\n<p>A &#60;b&#62; &amp;lt;</p>\n\n <i>c</i>";
        assert_eq!(plain(page), "A <b> &lt;\n c\n");
    }
}
