//! What the environment says about the hub.

use std::fs;
use std::path::{Path, PathBuf};

use hf_hub::Cache;

use super::Hub;

impl Hub {
    pub(super) fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let path = |name: &str| Some(expanded(&set(name)?, set));
        let home = path("HF_HOME").or_else(|| Some(path("XDG_CACHE_HOME")?.join("huggingface")));
        let home = home.unwrap_or_else(|| match home_folder(set) {
            Some(folder) => folder.join(".cache").join("huggingface"),
            None => Cache::default().path().parent().unwrap_or(Path::new("")).to_path_buf(),
        });
        let cache = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE"));
        let is_on = |name: &str| {
            let on = |value: &str| ["1", "on", "yes", "true"].contains(&value);
            set(name).is_some_and(|value| on(&value.trim().to_lowercase()))
        };
        let clean = |token: String| Some(token.trim().to_owned()).filter(|token| !token.is_empty());
        let token = || {
            let said = set("HF_TOKEN").or_else(|| set("HUGGING_FACE_HUB_TOKEN")).and_then(clean);
            said.or_else(|| {
                let file = path("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
                fs::read_to_string(file).ok().and_then(clean)
            })
        };
        let offline = set("HF_HUB_OFFLINE").map_or("TRANSFORMERS_OFFLINE", |_| "HF_HUB_OFFLINE");
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        Self {
            token: if is_on("HF_HUB_DISABLE_IMPLICIT_TOKEN") { None } else { token() },
            cache: cache.unwrap_or_else(|| home.join("hub")),
            endpoint: endpoint.trim().trim_end_matches('/').into(),
            offline: is_on(offline),
            progress: true,
        }
    }
}

/// The user's folder.
fn home_folder(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    variable("HOME").or_else(|| variable("USERPROFILE")).map(PathBuf::from)
}

/// A path in which `~` at the start, `$NAME` and `${NAME}` are replaced, as nobody does in the files from which services
/// take their environment.
fn expanded(path: &str, variable: impl Fn(&str) -> Option<String>) -> PathBuf {
    let mut rest = path.trim();
    let mut text = String::new();
    if let Some(below) =
        rest.strip_prefix('~').filter(|below| below.is_empty() || below.starts_with(['/', '\\']))
        && let Some(home) = home_folder(&variable)
    {
        text = home.to_string_lossy().into_owned();
        rest = below;
    }
    while let Some((before, after)) = rest.split_once('$') {
        let (name, end) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((name, end)) => (name, end),
            None => {
                let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                after.split_at(after.find(|c| !is_name(c)).unwrap_or(after.len()))
            }
        };
        text += before;
        match variable(name) {
            Some(value) => text += &value,
            None => text += &rest[before.len()..rest.len() - end.len()],
        }
        rest = end;
    }
    (text + rest).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(variables: &[(&str, &str)]) -> Hub {
        let value =
            |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).into());
        Hub::from_variables(value)
    }

    #[test]
    fn the_more_particular_variable_names_the_cache() {
        let all = [("HF_HUB_CACHE", "/a"), ("HF_HOME", "/b"), ("XDG_CACHE_HOME", "/c")];
        for (skip, cache) in [(0, "/a"), (1, "/b/hub"), (2, "/c/huggingface/hub")] {
            assert_eq!(hub(&all[skip..]).cache, Path::new(cache));
        }
        // Set to nothing is not set.
        assert_eq!(hub(&[("HF_HUB_CACHE", ""), ("HF_HOME", "/b")]).cache, Path::new("/b/hub"));
        assert!(hub(&[]).cache.ends_with(".cache/huggingface/hub"));
    }

    #[test]
    fn server_token_and_offline_come_from_the_environment() {
        let given = hub(&[
            ("HF_HOME", "/b"),
            ("HF_ENDPOINT", "http://mirror"),
            ("HF_TOKEN", "secret"),
            ("HF_HUB_OFFLINE", "1"),
        ]);
        assert_eq!(given.endpoint, "http://mirror");
        assert_eq!(given.token.as_deref(), Some("secret"));
        assert!(given.offline);
        let default = hub(&[("HF_HOME", "/b"), ("HF_HUB_OFFLINE", "0")]);
        assert_eq!(default.endpoint, "https://huggingface.co");
        assert_eq!(default.token, None);
        assert!(!default.offline);
    }

    #[test]
    fn older_names_of_the_variables_are_obeyed() {
        let given = hub(&[("HUGGINGFACE_HUB_CACHE", "/a"), ("HF_HOME", "/b")]);
        assert_eq!(given.cache, Path::new("/a"));
        let both = hub(&[("HUGGINGFACE_HUB_CACHE", "/a"), ("HF_HUB_CACHE", "/c")]);
        assert_eq!(both.cache, Path::new("/c"));
        for on in ["1", "ON", "Yes", "true", "TRUE", " 1\n"] {
            assert!(hub(&[("TRANSFORMERS_OFFLINE", on)]).offline, "{on}");
            assert!(hub(&[("HF_HUB_OFFLINE", on)]).offline, "{on}");
        }
        assert!(!hub(&[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")]).offline);
        let given = hub(&[("HF_HOME", "/b"), ("HUGGING_FACE_HUB_TOKEN", "old\n")]);
        assert_eq!(given.token.as_deref(), Some("old"));
        assert_eq!(hub(&[("HF_ENDPOINT", "http://mirror/")]).endpoint, "http://mirror");
    }

    #[test]
    fn paths_are_expanded() {
        for (name, value, cache) in [
            ("HF_HUB_CACHE", "~/hub", "/home/me/hub"),
            ("HUGGINGFACE_HUB_CACHE", "~/hub", "/home/me/hub"),
            ("HF_HUB_CACHE", "~", "/home/me"),
            ("HF_HUB_CACHE", "$HOME/a", "/home/me/a"),
            ("HF_HUB_CACHE", "/x/${SET}/a$SET", "/x/value/avalue"),
            ("HF_HUB_CACHE", "/x/$UNSET/${UNSET}/$", "/x/$UNSET/${UNSET}/$"),
            ("HF_HUB_CACHE", "/x/~y", "/x/~y"),
            ("HF_HOME", "~/hf", "/home/me/hf/hub"),
            ("XDG_CACHE_HOME", "~/c", "/home/me/c/huggingface/hub"),
            ("SET", "value", "/home/me/.cache/huggingface/hub"),
        ] {
            let given = hub(&[("SET", "value"), (name, value), ("HOME", "/home/me")]);
            assert_eq!(given.cache, Path::new(cache), "{name}={value}");
        }
    }

    #[test]
    fn a_token_is_found_where_logging_in_leaves_it() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        let write = |place: &str, token: &str| {
            let file = folder.path().join(place);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, token).unwrap();
        };
        write("token", "from the file\r\n");
        write(".cache/huggingface/token", "of the default\n");
        write("empty", "\n");
        let token = |variables: &[(&str, &str)]| hub(variables).token;
        let file = Some("from the file".to_owned());
        assert_eq!(token(&[("HF_HOME", home)]), file);
        assert_eq!(token(&[("HF_HOME", home), ("HF_HUB_CACHE", "/elsewhere")]), file);
        assert_eq!(
            token(&[("HOME", home), ("HF_HUB_CACHE", "/elsewhere")]).as_deref(),
            Some("of the default")
        );
        assert_eq!(token(&[("HOME", home), ("HF_TOKEN_PATH", "~/token")]), file);
        assert_eq!(token(&[("HOME", home), ("HF_TOKEN_PATH", "~/empty")]), None);
        assert_eq!(token(&[("HF_HOME", home), ("HF_TOKEN", " given\n")]).as_deref(), Some("given"));
        assert_eq!(token(&[("HF_HOME", home), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
    }
}
