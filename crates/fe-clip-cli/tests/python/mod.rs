//! The Python that results are compared with.

use std::path::PathBuf;
use std::process::Command;

/// The interpreter that `FE_CLIP_PYTHON` names, else `python3`, if it has the packages; `import`
/// imports them.
///
/// # Panics
/// If the one that is named has not.
pub(crate) fn python(import: &str) -> Option<PathBuf> {
    let named = std::env::var_os("FE_CLIP_PYTHON").map(PathBuf::from);
    let path = named.clone().unwrap_or_else(|| "python3".into());
    let found = Command::new(&path).args(["-c", import]).output();
    match found {
        Ok(output) if output.status.success() => Some(path),
        Ok(output) => {
            assert!(named.is_none(), "{}", String::from_utf8_lossy(&output.stderr));
            None
        }
        Err(error) => {
            assert!(named.is_none(), "{}: {error}", path.display());
            None
        }
    }
}
