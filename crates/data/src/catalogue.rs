//! What is known about the published data sets: `datasets/*.toml`, built in.

use serde::Deserialize;

use crate::Layout;

/// A published data set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dataset {
    /// The name its authors gave it.
    pub title: String,
    /// Who made it.
    pub authors: String,
    /// What to cite.
    pub citation: String,
    /// The licence, as the authors state it.
    pub licence: String,
    /// What the licence allows, in a sentence.
    pub allows: String,
    /// Where its authors present it.
    pub home: String,
    /// Its arrangement on disk, and its name.
    #[serde(deserialize_with = "layout")]
    pub layout: Layout,
    /// Number of categories of a complete copy.
    pub categories: usize,
    /// Test images of a complete copy.
    pub test: Images,
    /// File names of the archives.
    pub archives: Vec<String>,
    /// How to get it by hand, where it cannot be fetched.
    pub get: Option<String>,
    /// How to fetch it, where that needs no login and no form.
    pub fetch: Option<Fetch>,
}

/// Numbers of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Images {
    /// Normal images.
    pub normal: usize,
    /// Anomalous images.
    pub anomalous: usize,
}

/// An archive that anybody may fetch.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fetch {
    /// Where it is.
    pub url: String,
    /// Its SHA-256 in hexadecimal, where the authors publish one.
    pub sha256: Option<String>,
    /// Most that it may unpack to.
    pub max_unpacked_gib: u64,
}

fn layout<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Layout, D::Error> {
    let name = String::deserialize(deserializer)?;
    name.parse().map_err(serde::de::Error::custom)
}

/// The ten data sets of the paper, in the order of its tables.
pub fn datasets() -> Vec<Dataset> {
    const FILES: [&str; 10] = [
        include_str!("../../../datasets/mvtec-ad.toml"),
        include_str!("../../../datasets/visa.toml"),
        include_str!("../../../datasets/mpdd.toml"),
        include_str!("../../../datasets/btad.toml"),
        include_str!("../../../datasets/dagm.toml"),
        include_str!("../../../datasets/dtd-synthetic.toml"),
        include_str!("../../../datasets/cvc-clinicdb.toml"),
        include_str!("../../../datasets/kvasir.toml"),
        include_str!("../../../datasets/brain-mri.toml"),
        include_str!("../../../datasets/br35h.toml"),
    ];
    FILES.iter().map(|text| toml::from_str(text).expect("built in, and tested")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_complete_and_in_order() {
        let datasets = datasets();
        let layouts: Vec<Layout> = datasets.iter().map(|d| d.layout).collect();
        assert_eq!(layouts, Layout::ALL[..10]);
        for dataset in datasets {
            let name = dataset.layout.name();
            assert!(
                dataset.get.is_some() != dataset.fetch.is_some(),
                "{name}: one of get and fetch"
            );
            assert!(dataset.home.starts_with("https://"), "{name}: {}", dataset.home);
            assert!(dataset.fetch.is_none_or(|f| f.url.starts_with("https://")), "{name}: fetch");
            assert!(dataset.test.anomalous > 0 && dataset.categories > 0, "{name}: counts");
        }
    }
}
