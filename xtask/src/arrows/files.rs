//! Files of a crate that use each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::Context;

/// Files by the paths of their modules, `a::b`; the root is the empty path.
type Modules = BTreeMap<String, String>;

/// The circles among the source files of a crate: sets of files of which each leads to each.
pub(super) fn circles(src: &Path) -> anyhow::Result<Vec<BTreeSet<String>>> {
    let mut modules = Modules::new();
    collect(src, "", &mut modules)?;
    let uses: BTreeMap<&str, BTreeSet<&str>> =
        modules.iter().map(|(path, text)| (path.as_str(), used(path, text, &modules))).collect();
    let all: BTreeMap<&str, BTreeSet<&str>> =
        modules.keys().map(|path| (path.as_str(), reached(path, &uses))).collect();
    let circle = |path: &str| -> BTreeSet<String> {
        let both = |other: &&&str| all[**other].contains(path);
        all[path].iter().filter(both).map(ToString::to_string).collect()
    };
    let found: BTreeSet<BTreeSet<String>> = modules.keys().map(|path| circle(path)).collect();
    Ok(found.into_iter().filter(|circle| !circle.is_empty()).collect())
}

/// The modules that a module leads to.
fn reached<'a>(from: &'a str, uses: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        next.extend(uses[module].iter().copied().filter(|to| seen.insert(*to)));
    }
    seen
}

fn collect(folder: &Path, path: &str, modules: &mut Modules) -> anyhow::Result<()> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let file = entry?.path();
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let inner = if path.is_empty() { name.clone() } else { format!("{path}::{name}") };
        if file.is_dir() {
            collect(&file, &inner, modules)?;
        } else if file.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            let own = if ["lib", "mod"].contains(&name.as_str()) { path.to_owned() } else { inner };
            modules.insert(own, text);
        }
    }
    Ok(())
}

/// The other modules that a module uses; what it has from the root alone is re-exported there.
fn used<'a>(own: &str, text: &str, modules: &'a Modules) -> BTreeSet<&'a str> {
    let shipped = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = shipped.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = lines.collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("::") {
        let start = code[..at].rfind(|c: char| !c.is_alphanumeric() && c != '_');
        let head = &code[start.map_or(0, |start| start + 1)..at];
        let parent = own.rsplit_once("::").map_or("", |(parent, _)| parent);
        let child = format!("{own}::{head}");
        let base = match head {
            "crate" => String::new(),
            "self" => own.to_owned(),
            "super" => parent.to_owned(),
            _ if !own.is_empty() && modules.contains_key(&child) => child,
            _ => continue,
        };
        expand(base, &code[at + 2..], &mut |path| {
            let prefixes = path.match_indices("::").map(|(end, _)| &path[..end]).chain([path]);
            let module = prefixes.filter_map(|prefix| modules.get_key_value(prefix)).last();
            let module = module.map(|(name, _)| name.as_str());
            found.extend(module.filter(|name| *name != own && !name.is_empty()));
        });
    }
    found
}

/// Calls `tell` with every path of a tree of `use`, the text after a `::`.
fn expand(base: String, rest: &str, tell: &mut impl FnMut(&str)) {
    let join =
        |name: &str| if base.is_empty() { name.to_owned() } else { format!("{base}::{name}") };
    let rest = rest.trim_start();
    let Some(list) = rest.strip_prefix('{') else {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let path = join(&rest[..end]);
        return match rest[end..].strip_prefix("::") {
            Some(rest) => expand(path, rest, tell),
            None => tell(&path),
        };
    };
    let (mut depth, mut start) = (0, 0);
    for (at, c) in list.char_indices() {
        match c {
            ',' | '}' if depth == 0 => {
                if !list[start..at].trim().is_empty() {
                    expand(base.clone(), &list[start..at], tell);
                }
                start = at + 1;
                if c == '}' {
                    return;
                }
            }
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_found_through_trees_of_use_and_parents() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("lib.rs", "mod a; mod b; mod c; pub use a::A; pub use b::{B};");
        write("a.rs", "use crate::{b::{B, C}, c::D};\n// crate::lib is not meant\n");
        write("b/mod.rs", "mod inner;\npub use inner::C;");
        write("b/inner.rs", "use std::fmt;\nfn f() { crate::c::d() }");
        write("c.rs", "use crate::Error;\n#[cfg(test)]\nmod tests { use crate::a::A; }");
        assert_eq!(circles(folder.path()).unwrap(), Vec::<BTreeSet<String>>::new());
        write("b/inner.rs", "use super::B;");
        write("c.rs", "fn f() -> crate::a::A {}");
        let circle = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        assert_eq!(
            circles(folder.path()).unwrap(),
            [circle(&["a", "c"]), circle(&["b", "b::inner"])]
        );
    }
}
