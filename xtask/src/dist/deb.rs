//! A Debian package.
//!
//! Source: deb(5), deb-control(5); Debian Policy 4.7, sections 5 and 12.

use std::cmp::Reverse;

use anyhow::Result;

use super::Release;
use super::archive::{Entry, ar, gzip, tar_below, xz};
use super::files::{Item, Kind, Shell};

/// Its name and its bytes; none for processors that Debian has no name for here.
pub(super) fn package(release: &Release, items: &[Item]) -> Result<Option<(String, Vec<u8>)>> {
    let processor = release.target.split('-').next().unwrap_or_default();
    let architecture = match processor {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        _ => return Ok(None),
    };
    let mut entries = Vec::new();
    for item in items {
        entries.extend(placed(item)?);
    }
    entries.push(copyright(items));
    let bytes: usize = entries.iter().map(|entry| entry.content.len().next_multiple_of(1024)).sum();
    let program = items.iter().find(|item| item.kind == Kind::Program);
    let depends = program.map(|item| depends(&item.content)).unwrap_or_default();
    let control = control(release.version, architecture, &depends, bytes / 1024);
    let control = Entry { path: "control".into(), mode: 0o644, content: control.into_bytes() };
    let control = xz(&tar_below("./", &[control], release.time)?)?;
    let data = xz(&tar_below("./", &entries, release.time)?)?;
    let members: [(&str, &[u8]); 3] =
        [("debian-binary", b"2.0\n"), ("control.tar.xz", &control), ("data.tar.xz", &data)];
    let name = format!("fe-clip_{}-1_{architecture}.deb", release.version);
    Ok(Some((name, ar(&members, release.time))))
}

fn control(version: &str, architecture: &str, depends: &[String], kib: usize) -> String {
    let depends = match depends {
        [] => String::new(),
        some => format!("Depends: {}\n", some.join(", ")),
    };
    format!(
        "Package: fe-clip\n\
         Version: {version}-1\n\
         Architecture: {architecture}\n\
         Maintainer: The developers of FE-CLIP <fe-clip@localhost>\n\
         Installed-Size: {kib}\n\
         {depends}\
         Section: science\n\
         Priority: optional\n\
         Description: zero-shot anomaly detection\n \
         One image in; an anomaly score and a heat map out, with no training image of\n \
         the object. A small model is built in, and any CLIP ViT can take its place.\n \
         .\n \
         The services fe-clip-serve and fe-clip-watch@ are installed and not started.\n"
    )
}

/// Where an item lies in a system, if it does.
fn placed(item: &Item) -> Result<Option<Entry>> {
    let Item { kind, name, content } = item;
    let at = |path: String, mode, content| Ok(Some(Entry { path, mode, content }));
    let file = |path: String| at(path, 0o644, content.clone());
    match (kind, name.as_str()) {
        (Kind::Program, name) => at(format!("usr/bin/{name}"), 0o755, content.clone()),
        (Kind::Manual, name) => at(format!("usr/share/man/man1/{name}.gz"), 0o644, gzip(content)?),
        (Kind::Completion(Shell::Bash), _) => {
            file("usr/share/bash-completion/completions/fe-clip".into())
        }
        (Kind::Completion(Shell::Zsh), name) => {
            file(format!("usr/share/zsh/vendor-completions/{name}"))
        }
        (Kind::Completion(Shell::Fish), name) => {
            file(format!("usr/share/fish/vendor_completions.d/{name}"))
        }
        (Kind::Unit, name) => file(format!("usr/lib/systemd/system/{name}")),
        (Kind::Document, "CHANGELOG.md") => {
            at("usr/share/doc/fe-clip/changelog.gz".into(), 0o644, gzip(content)?)
        }
        (Kind::Document, "THIRD-PARTY.txt") => {
            at(format!("usr/share/doc/fe-clip/{name}.gz"), 0o644, gzip(content)?)
        }
        (Kind::Document, "LICENSE-MIT" | "LICENSE-APACHE") => Ok(None), // in `copyright`
        (Kind::Document, name) => file(format!("usr/share/doc/fe-clip/{name}")),
        (Kind::Completion(Shell::Other) | Kind::Dockerfile, _) => Ok(None),
    }
}

/// The file of that name that every package has.
fn copyright(items: &[Item]) -> Entry {
    let mut content = b"fe-clip is MIT or Apache-2.0, at your choice; the built-in model is \
        Apache-2.0.\nTHIRD-PARTY.txt.gz has the licences of all that it is made of.\n"
        .to_vec();
    for item in items.iter().filter(|item| item.name.starts_with("LICENSE-")) {
        content.extend(b"\n\n");
        content.extend(&item.content);
    }
    Entry { path: "usr/share/doc/fe-clip/copyright".into(), mode: 0o644, content }
}

/// What a program that is linked dynamically needs: the C library of at least the newest version
/// that it names a symbol of, and GCC's.
fn depends(binary: &[u8]) -> Vec<String> {
    let needs = |name: &[u8]| binary.windows(name.len()).any(|window| window == name);
    let mut versions: Vec<Vec<u32>> = Vec::new();
    let mark = b"GLIBC_";
    for at in 0..binary.len().saturating_sub(mark.len()) {
        if !binary[at..].starts_with(mark) {
            continue;
        }
        let text = binary[at + mark.len()..].iter().take(12);
        let text = text.take_while(|byte| byte.is_ascii_digit() || **byte == b'.');
        let text: String = text.map(|byte| char::from(*byte)).collect();
        versions.extend(text.split('.').map(|number| number.parse().ok()).collect::<Option<_>>());
    }
    versions.sort_by_key(|version| Reverse(version.clone()));
    let mut depends = Vec::new();
    if let (Some(version), true) = (versions.first(), needs(b"libc.so.6\0")) {
        let version: Vec<String> = version.iter().map(u32::to_string).collect();
        depends.push(format!("libc6 (>= {})", version.join(".")));
    }
    if needs(b"libgcc_s.so.1\0") {
        depends.push("libgcc-s1".into());
    }
    depends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_the_program() {
        let dynamic = b"\0libgcc_s.so.1\0libc.so.6\0GLIBC_2.9\0GLIBC_2.34\0GLIBC_2.2.5\0GLIBC_x";
        assert_eq!(depends(dynamic), ["libc6 (>= 2.34)", "libgcc-s1"]);
        assert!(depends(b"a static program says GLIBC_2.34 nowhere that counts").is_empty());
    }
}
