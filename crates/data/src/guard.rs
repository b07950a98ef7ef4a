//! The one place where files become pixels: no decoder takes down its caller.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, Location, PanicHookInfo};
use std::path::Path;
use std::sync::Once;

use crate::Error;
use crate::error::Fault;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs a decoder on a file. A panic in it ends as [`Error::Decoder`], without a word on stderr.
pub(crate) fn guarded<T>(
    path: &Path,
    format: &'static str,
    decode: impl FnOnce() -> Result<T, Fault>,
) -> Result<T, Error> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            if GUARDED.get() {
                PLACE.set(info.location().map(place).unwrap_or_default());
            } else {
                others(info);
            }
        }));
    });
    let outer = GUARDED.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(decode));
    GUARDED.set(outer);
    match outcome {
        Ok(decoded) => decoded.map_err(|fault| fault.of(path, format)),
        Err(panic) => Err(Error::Decoder {
            path: path.to_path_buf(),
            format,
            place: PLACE.take(),
            reason: message(panic.as_ref()),
        }),
    }
}

/// The file and line of a panic, from the folder on that names the crate and its version.
fn place(location: &Location<'_>) -> String {
    let file = location.file().replace('\\', "/");
    let in_registry = file.split_once("/registry/src/").and_then(|(_, rest)| rest.split_once('/'));
    match in_registry {
        Some((_, in_crate)) => format!("{in_crate}:{}", location.line()),
        None => format!(
            "{}-{} {file}:{}",
            env!("CARGO_PKG_NAME"),
            env!("CARGO_PKG_VERSION"),
            location.line()
        ),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_panic_is_the_files_error() {
        let failing = || -> Result<(), Fault> {
            let empty: &[u8] = &[];
            let index = empty.len();
            Err(Fault::broken(format!("{}", empty[index])))
        };
        let error = guarded(Path::new("x.tif"), "TIFF", failing).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Decoder { .. }), "{text}");
        assert!(text.starts_with("x.tif: the TIFF decoder failed in data-"), "{text}");
        assert!(text.contains("guard.rs") && text.contains("index out of bounds"), "{text}");
        assert_eq!(guarded(Path::new("x.tif"), "TIFF", || Ok(7)).unwrap(), 7);
    }

    #[test]
    fn a_place_names_the_crate_and_its_version() {
        // Panics inside a dependency: a slice of the wrong length for its array.
        let failing = || {
            let mut decoder = weezl::decode::Decoder::new(weezl::BitOrder::Msb, 40);
            Ok(decoder.decode(&[]).is_ok())
        };
        let text = guarded(Path::new("x"), "TIFF", failing).unwrap_err().to_string();
        assert!(text.contains("weezl-0."), "{text}");
    }

    #[test]
    fn the_hook_of_others_still_runs() {
        guarded(Path::new("x"), "TIFF", || Ok(())).unwrap();
        let outcome = panic::catch_unwind(|| panic!("heard"));
        assert_eq!(message(outcome.unwrap_err().as_ref()), "heard");
        assert!(PLACE.take().is_empty());
    }
}
