//! A bill of materials in CycloneDX.
//!
//! Source: <https://cyclonedx.org/docs/1.6/json/>.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::packages::Package;
use super::program::said;
use super::{Release, sha256};

const STANDARD_LIBRARY: &str = "rust-std";

/// The program with its hash, what it is made of with the registry's hashes and licences, and
/// which uses which.
pub(super) fn cyclonedx(release: &Release, packages: &[Package], binary: &[u8]) -> Result<Vec<u8>> {
    let rust = said(Command::new("rustc").arg("--version"))?;
    let rust = rust.split(' ').nth(1).context("rustc --version names none")?;
    let time = format!("@{}", release.time);
    let time = said(Command::new("date").args(["-u", "-d", &time, "+%Y-%m-%dT%H:%M:%SZ"]))?;
    let main = format!("fe-clip@{}", release.version);
    let program = packages.iter().find(|package| package.name == "fe-clip-cli");
    let program = program.context("the program is not among its packages")?.reference();

    let mut components: Vec<Value> = packages.iter().map(component).collect();
    components.push(json!({
        "type": "library",
        "bom-ref": STANDARD_LIBRARY,
        "name": STANDARD_LIBRARY,
        "version": rust,
        "licenses": [{"expression": "MIT OR Apache-2.0"}],
        "externalReferences": [{"type": "website", "url": "https://www.rust-lang.org"}],
    }));
    let mut dependencies = vec![
        json!({"ref": main, "dependsOn": [program, STANDARD_LIBRARY]}),
        json!({"ref": STANDARD_LIBRARY}),
    ];
    let uses = |p: &Package| json!({"ref": p.reference(), "dependsOn": p.dependencies});
    dependencies.extend(packages.iter().map(uses));
    let mut document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": time,
            "tools": {"components": [{"type": "application", "name": "cargo xtask dist"}]},
            "component": {
                "type": "application",
                "bom-ref": main,
                "name": "fe-clip",
                "version": release.version,
                "licenses": [{"expression": "MIT OR Apache-2.0"}],
                "hashes": [{"alg": "SHA-256", "content": sha256(binary)}],
                "properties": [{"name": "fe-clip:target", "value": release.target}],
            },
        },
        "components": components,
        "dependencies": dependencies,
    });
    let number = serial_number(&sha256(document.to_string().as_bytes()));
    document["serialNumber"] = number.into();
    let mut text = serde_json::to_vec_pretty(&document)?;
    text.push(b'\n');
    Ok(text)
}

fn component(package: &Package) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": package.reference(),
        "name": package.name,
        "version": package.version,
        "licenses": [{"expression": package.licence}],
    });
    if let Some(description) = &package.description {
        component["description"] = description.trim().into();
    }
    if let Some(checksum) = &package.checksum {
        component["purl"] = package.reference().into();
        component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    if let Some(url) = &package.repository {
        component["externalReferences"] = json!([{"type": "vcs", "url": url}]);
    }
    component
}

/// A UUID of version 8 (RFC 9562) from a hash: the same document has the same number.
fn serial_number(hash: &str) -> String {
    let part = |from: usize, length: usize| &hash[from..from + length];
    let (a, b, c) = (part(0, 8), part(8, 4), part(13, 3));
    format!("urn:uuid:{a}-{b}-8{c}-8{}-{}", part(17, 3), part(20, 12))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_are_uuids() {
        let number = serial_number(&sha256(b"")); // e3b0c442 98fc 1c14 9afb f4c8996fb924 ...
        assert_eq!(number, "urn:uuid:e3b0c442-98fc-8c14-8afb-f4c8996fb924");
    }
}
