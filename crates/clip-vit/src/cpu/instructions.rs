//! Which instructions of the machine are used.

use std::ffi::OsString;
use std::sync::LazyLock;

use crate::error::Error;

/// Instruction sets of x86-64, each with those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// What every such machine has.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-VNNI: sums of products of bytes in the vectors of AVX2.
    AvxVnni,
    /// AVX-512: F, BW, CD, DQ and VL.
    Avx512,
    /// Its instructions for sums of products of small numbers, as far as the machine has them.
    Products,
}

/// The variable that holds the program to fewer instructions than the machine has, for tests.
const VARIABLE: &str = "CLIP_VIT_INSTRUCTIONS";

const NAMES: [(&str, Level); 5] = [
    ("portable", Level::Portable),
    ("avx2", Level::Avx2),
    ("avx-vnni", Level::AvxVnni),
    ("avx512", Level::Avx512),
    ("products", Level::Products),
];

/// What the variable says, or what it holds that is no name.
static LEVEL: LazyLock<Result<Level, OsString>> = LazyLock::new(|| {
    let Some(name) = std::env::var_os(VARIABLE) else { return Ok(Level::Products) };
    let named = NAMES.into_iter().find(|(known, _)| name == *known);
    named.map(|(_, level)| level).ok_or(name)
});

/// # Errors
/// If the variable holds no name of a level.
pub(crate) fn check() -> Result<(), Error> {
    let refuse = |given: &OsString| Error::Instructions { given: given.display().to_string() };
    LEVEL.as_ref().map(drop).map_err(refuse)
}

/// Whether instructions of a level may be used, if the machine has them.
pub(super) fn allowed(level: Level) -> bool {
    LEVEL.as_ref().is_ok_and(|most| *most >= level)
}

/// Whether the machine multiplies and adds in one instruction.
pub(super) fn has_fused_multiply_add() -> bool {
    #[cfg(target_arch = "x86_64")]
    return allowed(Level::Avx2) && pulp::x86::V3::try_new().is_some();
    #[cfg(not(target_arch = "x86_64"))]
    return cfg!(target_arch = "aarch64");
}

/// Compiles the body, which must be inlined whole, for AVX-512 or for AVX2 and FMA where the machine has them; elsewhere
/// for the target's own vectors.
#[inline(always)]
pub(super) fn simd<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        if allowed(Level::Avx512)
            && let Some(v4) = pulp::x86::V4::try_new()
        {
            return v4.vectorize(f);
        }
        if allowed(Level::Avx2)
            && let Some(v3) = pulp::x86::V3::try_new()
        {
            return v3.vectorize(f);
        }
    }
    f()
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use std::process::Command;

    use super::*;

    /// Whether the machine has all of a level that there is to it.
    fn has(level: Level) -> bool {
        match level {
            Level::Portable => true,
            Level::Avx2 => pulp::x86::V3::try_new().is_some(),
            Level::AvxVnni => super::super::dot::has_avx_vnni(),
            Level::Avx512 | Level::Products => pulp::x86::V4::try_new().is_some(),
        }
    }

    #[test]
    fn kernels_pass_their_tests_with_every_instruction_set() {
        if std::env::var_os(VARIABLE).is_some() {
            return; // one of the runs below
        }
        for (name, _) in NAMES.into_iter().filter(|(_, level)| has(*level)) {
            let run = Command::new(std::env::current_exe().unwrap())
                .env(VARIABLE, name)
                .args(["cpu::", "block::"])
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&run.stdout);
            assert!(run.status.success(), "{name}: {text}");
            assert!(!text.contains("running 0 tests"), "{name}: {text}");
        }
    }

    #[test]
    fn what_the_variable_forbids_is_not_used() {
        let Ok(name) = std::env::var(VARIABLE) else { return };
        let (_, level) = NAMES.into_iter().find(|(known, _)| *known == name).unwrap();
        for (_, other) in NAMES {
            assert_eq!(allowed(other), other <= level);
        }
        assert_eq!(has_fused_multiply_add(), level >= Level::Avx2);
        assert!(level == Level::Products || super::super::PairProducts::try_new().is_none());
    }
}
