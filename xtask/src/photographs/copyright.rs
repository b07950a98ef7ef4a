//! Debian's machine-readable lists of copyrights.
//!
//! Source: <https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/>

/// What a list says of every file.
pub(super) struct Copyright {
    stanzas: Vec<Stanza>,
}

struct Stanza {
    globs: Vec<String>,
    terms: Terms,
}

/// Licence and copyright holders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) licence: String,
    pub(super) holders: String,
}

impl Copyright {
    /// Reads a list; a text of another form says nothing of any file.
    pub(super) fn parse(text: &str) -> Self {
        let stanzas = text.split("\n\n").filter_map(stanza).collect();
        Self { stanzas }
    }

    /// The terms of a file: those of the last stanza that it matches.
    pub(super) fn of(&self, file: &str) -> Option<&Terms> {
        let about = |stanza: &&Stanza| stanza.globs.iter().any(|glob| matches(glob, file));
        self.stanzas.iter().rev().find(about).map(|stanza| &stanza.terms)
    }
}

fn stanza(text: &str) -> Option<Stanza> {
    let files = field(text, "Files")?;
    let globs = files.iter().flat_map(|line| line.split_whitespace());
    // The text of the licence may follow its name.
    let licence = (*field(text, "License")?.first()?).to_owned();
    let holders: Vec<String> = field(text, "Copyright")?.into_iter().map(nameless).collect();
    let terms = Terms { licence, holders: holders.join("; ") };
    Some(Stanza { globs: globs.map(str::to_owned).collect(), terms })
}

/// The lines of a field that are not empty.
fn field<'a>(text: &'a str, name: &str) -> Option<Vec<&'a str>> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with(name));
    let first = lines.next()?.strip_prefix(name)?.strip_prefix(':')?;
    let more = lines.take_while(|line| line.starts_with([' ', '\t']));
    let trimmed = std::iter::once(first).chain(more).map(str::trim);
    Some(trimmed.filter(|line| !line.is_empty()).collect())
}

/// A line without the addresses of mail in it.
fn nameless(line: &str) -> String {
    let mut rest = line;
    let mut kept = String::new();
    while let Some((before, after)) = rest.split_once('<') {
        kept.push_str(before.trim_end());
        rest = after.split_once('>').map_or("", |(_, rest)| rest);
    }
    kept.push_str(rest);
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a path matches a pattern, in which `*` stands for any characters, `/` too, and `?` for one.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, path) = (pattern.as_bytes(), path.as_bytes());
    let (mut p, mut at) = (0, 0);
    let mut star = None;
    while at < path.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, at));
                p += 1;
            }
            Some(&c) if c == b'?' || c == path[at] => {
                p += 1;
                at += 1;
            }
            // The last star takes one character more.
            _ => match star {
                Some((from, taken)) => {
                    star = Some((from, taken + 1));
                    p = from + 1;
                    at = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_stanza_that_names_a_file_counts() {
        let copyright = Copyright::parse(
            "Format: x\n\nFiles: *\nCopyright: 2010, The Team <t@example.org>\nLicense: GPL-2+\n more\n\n\
             Files: data/a* data/b/*\n data/c.png\nCopyright:\n 2011 Ann\n 2012 Bob <b@example.org> et al.\n\
             License: CC0-1.0\nComment: none\n\nLicense: GPL-2+\n text\n",
        );
        let terms = |licence: &str, holders: &str| Terms {
            licence: licence.to_owned(),
            holders: holders.to_owned(),
        };
        let own = terms("CC0-1.0", "2011 Ann; 2012 Bob et al.");
        for file in ["data/a.png", "data/ab/c.jpg", "data/b/x.jpg", "data/c.png"] {
            assert_eq!(copyright.of(file), Some(&own), "{file}");
        }
        let other = terms("GPL-2+", "2010, The Team");
        assert_eq!(copyright.of("data/d.png"), Some(&other));
        assert_eq!(Copyright::parse("It was downloaded from there").of("a"), None);
    }

    #[test]
    fn patterns_match_as_debian_says() {
        for (pattern, path, expected) in [
            ("*", "a/b", true),
            ("a/*.png", "a/b/c.png", true),
            ("a/*.png", "a/b.png.txt", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*_n.*", "wall_n.n_n.png", true),
            ("a", "", false),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }
}
