//! One unit of work with a result folder of its own.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::method::Method;
use super::profile::{DataSet, Profile};

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Trains the method's adapters on `dataset`.
    Train,
    /// Evaluates on `dataset`.
    Eval { shots: usize },
    /// Times single images of `dataset`.
    Time,
}

/// A job; two equal jobs of different tables are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Job {
    pub(super) kind: Kind,
    pub(super) method: Method,
    pub(super) dataset: DataSet,
    pub(super) seed: u64,
}

impl Job {
    /// The training that must have been done before.
    pub(super) fn needs(&self) -> Option<Self> {
        let trains = self.kind != Kind::Train && self.method.is_trained();
        trains.then(|| Self {
            kind: Kind::Train,
            method: self.method.trained_as(),
            dataset: self.dataset.auxiliary(),
            seed: self.seed,
        })
    }

    /// A name that a person can read, unique within a profile.
    pub(super) fn name(&self) -> String {
        let (method, dataset, seed) = (self.method.name(), self.dataset.name(), self.seed);
        match self.kind {
            Kind::Train => format!("train-{method}-on-{dataset}-seed{seed}"),
            Kind::Eval { shots: 0 } => format!("eval-{method}-on-{dataset}-seed{seed}"),
            Kind::Eval { shots } => format!("eval-{method}-on-{dataset}-{shots}shot-seed{seed}"),
            Kind::Time => format!("time-{method}-on-{dataset}"),
        }
    }
}

/// What all jobs of a run share.
pub(super) struct Setting {
    pub(super) profile: Profile,
    pub(super) backbone: String,
    /// SHA-256 of the backbone's weights, or its name where they are not on disk.
    pub(super) backbone_identity: String,
    /// What the program is built from.
    pub(super) code: String,
    pub(super) max_steps: Option<usize>,
    /// What makes this a trial, whose numbers are not compared with the paper's.
    pub(super) trial: Option<String>,
    /// Folder of the data sets.
    pub(super) data: PathBuf,
    pub(super) out: PathBuf,
}

impl Setting {
    /// The job's `run.toml`, with data set roots as `root` tells.
    pub(super) fn run_toml(&self, job: &Job, root: impl Fn(DataSet) -> String) -> String {
        let source = |dataset: DataSet| {
            let (name, root) = (dataset.layout().name(), root(dataset));
            format!("datasets = [{{ name = {name:?}, root = {root:?} }}]\n")
        };
        let mut text = format!("[model]\nbackbone = {:?}\n", self.backbone);
        text += self.profile.model(job.method);
        text += job.method.settings();
        if job.method.is_trained() {
            let dataset =
                if job.kind == Kind::Train { job.dataset } else { job.dataset.auxiliary() };
            let sources = if job.method.learns_from_all() {
                let (name, root) = (dataset.layout().name(), root(dataset));
                format!(
                    "datasets = [{{ name = {name:?}, root = {root:?} }}, \
                     {{ name = {name:?}, root = {root:?}, split = \"train\" }}]\n"
                )
            } else {
                source(dataset)
            };
            text += &format!("\n[train]\n{sources}seed = {}\n", job.seed);
            text += &self.profile.train(job.method, dataset);
            if let Some(steps) = self.max_steps {
                text += &format!("max_steps = {steps}\n");
            }
        }
        if let Kind::Eval { shots } = job.kind {
            text += &format!("\n[eval]\n{}shots = {shots}\n", source(job.dataset));
            text += &format!("shot_seed = {}\n", job.seed);
            if job.method.is_group() {
                text += "group = true\n";
            }
        }
        text
    }

    /// SHA-256 over everything that decides the job's numbers: code, settings, weights, data, and
    /// the same of the training before it. `data` tells a data set's digest.
    pub(super) fn hash(&self, job: &Job, data: &impl Fn(DataSet) -> String) -> String {
        let mut hasher = Sha256::new();
        hasher.update(format!("{:?}\n{}\n{}\n", job.kind, self.code, self.backbone_identity));
        hasher.update(self.run_toml(job, data));
        if let Some(training) = job.needs() {
            hasher.update(self.hash(&training, data));
        }
        format!("{:x}", hasher.finalize())
    }

    /// Where the job's result is, or will be.
    pub(super) fn folder(&self, job: &Job, hash: &str) -> PathBuf {
        self.out.join(folder_name(job, hash))
    }

    /// Where it grows: the same settings, code and data find it again and go on.
    pub(super) fn partial(&self, job: &Job, hash: &str) -> PathBuf {
        self.out.join("partial").join(folder_name(job, hash))
    }
}

fn folder_name(job: &Job, hash: &str) -> String {
    format!("{}-{}", job.name(), &hash[..12])
}

/// SHA-256 over the relative paths and sizes of a data set's files.
///
/// # Errors
/// If the folder cannot be listed.
pub(super) fn listing_digest(root: &Path) -> std::io::Result<String> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let meta = std::fs::metadata(&path)?;
            if meta.is_dir() {
                folders.push(path);
            } else {
                let relative = path.strip_prefix(root).unwrap_or(&path);
                files.push(format!("{} {}\n", relative.display(), meta.len()));
            }
        }
    }
    files.sort();
    let mut hasher = Sha256::new();
    files.iter().for_each(|line| hasher.update(line));
    Ok(format!("{:x}", hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting() -> Setting {
        Setting {
            profile: Profile::Paper,
            backbone: "vit-l-14-336".into(),
            backbone_identity: "x".into(),
            code: "revision 1".into(),
            max_steps: None,
            trial: None,
            data: "data".into(),
            out: "out".into(),
        }
    }

    #[test]
    fn mvtec_is_met_after_visa_and_all_else_after_mvtec() {
        let job = |name| Job {
            kind: Kind::Eval { shots: 0 },
            method: Method::FeClip,
            dataset: DataSet::Published(name),
            seed: 0,
        };
        let trained_on = |name| job(name).needs().expect("FE-CLIP is trained").dataset.name();
        assert_eq!(trained_on("mvtec-ad"), "visa");
        assert_eq!(trained_on("kvasir"), "mvtec-ad");
        assert_eq!(Job { method: Method::Clip, ..job("visa") }.needs(), None);
    }

    #[test]
    fn the_hash_sees_code_data_seed_and_training() {
        let job = Job {
            kind: Kind::Eval { shots: 0 },
            method: Method::FeClip,
            dataset: DataSet::Published("visa"),
            seed: 0,
        };
        let name = |dataset: DataSet| dataset.name().to_string();
        let hash = setting().hash(&job, &name);
        assert_eq!(hash, setting().hash(&job, &name));
        assert_ne!(hash, setting().hash(&Job { seed: 1, ..job }, &name));
        let other_training = |dataset: DataSet| match dataset.name() {
            "mvtec-ad" => "other".into(),
            name => name.to_string(),
        };
        assert_ne!(hash, setting().hash(&job, &other_training));
        let changed = Setting { code: "revision 2".into(), ..setting() };
        assert_ne!(hash, changed.hash(&job, &name));
        let moved = Setting { data: "elsewhere".into(), ..setting() };
        assert_eq!(hash, moved.hash(&job, &name));
    }
}
