//! Lets a build with LibTorch find it at run time where it was found at build time.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    if std::env::var_os("CARGO_FEATURE_TCH").is_some()
        && let Some(libtorch) = std::env::var_os("LIBTORCH")
        && let Ok(libtorch) = std::fs::canonicalize(libtorch)
    {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", libtorch.join("lib").display());
    }
}
