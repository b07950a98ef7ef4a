//! What a profile runs: backbone, size, seeds and data sets.

use std::path::{Path, PathBuf};

use data::Layout;

use super::method::Method;

/// How much of the paper is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Profile {
    /// ViT-L/14@336 at 518 pixels, nine epochs, five seeds
    Paper,
    /// ViT-L/14@336 at 336 pixels, nine epochs, one seed
    Fast,
    /// The embedded `tiny` on procedural images: minutes on two cores, no number of the paper
    Quick,
}

/// Categories that `quick` trains on, and others that it is measured on.
pub(super) const QUICK_TRAINING: &str = "wood,leather,carpet,brushed_metal,concrete,ceramic_tile,foam,streaks,bottle,hex_nut,pill,circuit_board";
pub(super) const QUICK_TARGET: &str = "knit,gear,marble,button";

impl Profile {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Fast => "fast",
            Self::Quick => "quick",
        }
    }

    pub(super) fn backbone(self) -> &'static str {
        if self == Self::Quick { "tiny" } else { "vit-l-14-336" }
    }

    /// Where its data sets are if nothing else is said.
    pub(super) fn data(self) -> &'static str {
        if self == Self::Quick { "target/reproduce-quick" } else { "datasets" }
    }

    pub(super) fn seeds(self) -> u64 {
        if self == Self::Paper { 5 } else { 1 }
    }

    /// Lines of `[model]`. `tiny` needs the temperature that it was trained with, and is too
    /// short of data here to learn a projection from nothing.
    pub(super) fn model(self, method: Method) -> &'static str {
        match (self, method) {
            (Self::Paper, _) => "image_size = 518\n",
            (Self::Fast, Method::Inctrl) => "image_size = 336\nhead_grid = 24\n",
            (Self::Fast, _) => "image_size = 336\n",
            (Self::Quick, Method::Clip) => "temperature = \"clip\"\n",
            (
                Self::Quick,
                Method::WinClip
                | Method::AprilGan
                | Method::Coop
                | Method::AnomalyClip
                | Method::AdaClip
                | Method::VcpClip
                | Method::Inctrl
                | Method::PromptAd
                | Method::MemoryBank
                | Method::Musc
                | Method::PcaResidual,
            ) => "",
            (Self::Quick, _) => "temperature = \"clip\"\nprojection_init = \"clip\"\n",
        }
    }

    /// Passes over the images of a training on `dataset`: the paper's nine for its own method,
    /// and those that the authors of the others chose for theirs.
    pub(super) fn epochs(self, method: Method, dataset: DataSet) -> usize {
        match (self, method, dataset.name()) {
            (Self::Quick, ..) => 1,
            (_, Method::AprilGan, "visa") => 15,
            (_, Method::AprilGan, _) => 3,
            (_, Method::Coop, _) => 200,
            (_, Method::AnomalyClip, _) => 15,
            (_, Method::AdaClip, _) => 5,
            (_, Method::VcpClip | Method::Inctrl, _) => 10,
            _ => 9,
        }
    }

    /// Lines of `[train]`.
    pub(super) fn train(self, method: Method, dataset: DataSet) -> String {
        let epochs = self.epochs(method, dataset);
        let rest = match self {
            // Without image layers to go through again a whole batch fits.
            Self::Paper | Self::Fast if method.learns_prompts() => "",
            // A batch is one image.
            _ if method == Method::AdaClip => "",
            // Its norms are of whole batches.
            Self::Paper | Self::Fast if method == Method::Inctrl => "",
            Self::Quick if method == Method::Inctrl => "epoch_steps = 20",
            Self::Paper | Self::Fast => "micro_batch_size = 2",
            Self::Quick => "projection_learning_rate = 1e-4",
        };
        let rate = match (self, method, dataset.name()) {
            // Half of what the method has on VisA.
            (Self::Paper | Self::Fast, Method::VcpClip, "mvtec-ad") => {
                "learning_rate = 2e-5\nprojection_learning_rate = 2e-5\n"
            }
            _ => "",
        };
        format!("epochs = {epochs}\n{rate}{rest}\n")
    }

    /// The data sets of the tables, in the paper's order.
    pub(super) fn targets(self) -> Vec<DataSet> {
        if self == Self::Quick { vec![DataSet::Procedural] } else { DataSet::PAPER.to_vec() }
    }
}

/// A data set that a table has a column of, or that methods learn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DataSet {
    Published(&'static str),
    /// Held-out procedural categories, the only column of `quick`.
    Procedural,
    /// Training categories of the procedural world.
    ProceduralTraining,
}

impl DataSet {
    const PAPER: [Self; 10] = [
        Self::Published("mvtec-ad"),
        Self::Published("visa"),
        Self::Published("mpdd"),
        Self::Published("btad"),
        Self::Published("dagm"),
        Self::Published("dtd-synthetic"),
        Self::Published("brain-mri"),
        Self::Published("br35h"),
        Self::Published("cvc-clinicdb"),
        Self::Published("kvasir"),
    ];

    /// Name of its folder.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Published(name) => name,
            Self::Procedural => "procedural",
            Self::ProceduralTraining => "procedural-training",
        }
    }

    /// What the paper calls it.
    pub(super) fn title(self) -> &'static str {
        match self.name() {
            "mvtec-ad" => "MVTec AD",
            "visa" => "VisA",
            "mpdd" => "MPDD",
            "btad" => "BTAD",
            "dagm" => "DAGM",
            "dtd-synthetic" => "DTD-Synthetic",
            "brain-mri" => "BrainMRI",
            "br35h" => "Br35H",
            "cvc-clinicdb" => "CVC-ClinicDB",
            "kvasir" => "Kvasir",
            _ => "Procedural",
        }
    }

    pub(super) fn layout(self) -> Layout {
        match self {
            Self::Published(name) => name.parse().expect("the names are layouts"),
            Self::Procedural | Self::ProceduralTraining => Layout::MvtecAd,
        }
    }

    /// What a method learns from before it meets this set: MVTec AD for every target but itself,
    /// VisA for MVTec AD (paper, section 4.1).
    pub(super) fn auxiliary(self) -> Self {
        match self {
            Self::Published("mvtec-ad") => Self::Published("visa"),
            Self::Published(_) => Self::Published("mvtec-ad"),
            Self::Procedural | Self::ProceduralTraining => Self::ProceduralTraining,
        }
    }

    pub(super) fn root(self, data: &Path) -> PathBuf {
        data.join(self.name())
    }

    /// Whether a table has a column of it: Tables 3 to 5 have MVTec AD and VisA alone, Table 1
    /// the sets with two classes, Table 2 those with masks.
    pub(super) fn in_table(self, table: u8) -> bool {
        match (self, table) {
            (Self::ProceduralTraining, _) => false,
            (Self::Procedural, _) => true,
            (Self::Published("cvc-clinicdb" | "kvasir"), 1) => false,
            (Self::Published("brain-mri" | "br35h"), 2) => false,
            (_, 1 | 2) => true,
            (Self::Published(name), _) => name == "mvtec-ad" || name == "visa",
        }
    }
}
