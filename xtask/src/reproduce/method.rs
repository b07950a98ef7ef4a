//! The methods that are run, and the names of their rows in the paper's tables.

/// A method that `fe-clip` runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Method {
    FeClip,
    FeClipAbsolute,
    FeClipFftAbsolute,
    FfeOnly,
    LfsOnly,
    ConvAdapter,
    Clip,
    WinClip,
    AprilGan,
    Coop,
    AnomalyClip,
    AdaClip,
    VcpClip,
    Inctrl,
    PromptAd,
    MemoryBank,
    FeClipGroup,
    Musc,
    PcaResidual,
}

/// The number of the table that the paper has not: methods beyond it.
pub(super) const BEYOND: u8 = 6;

impl Method {
    /// What folders and messages call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FeClip => "fe-clip",
            Self::FeClipAbsolute => "fe-clip-abs-mean",
            Self::FeClipFftAbsolute => "fe-clip-fft-abs-mean",
            Self::FfeOnly => "ffe-only",
            Self::LfsOnly => "lfs-only",
            Self::ConvAdapter => "conv-adapter",
            Self::Clip => "clip",
            Self::WinClip => "winclip",
            Self::AprilGan => "april-gan",
            Self::Coop => "coop",
            Self::AnomalyClip => "anomalyclip",
            Self::AdaClip => "adaclip",
            Self::VcpClip => "vcp-clip",
            Self::Inctrl => "inctrl",
            Self::PromptAd => "promptad",
            Self::MemoryBank => "memory-bank",
            Self::FeClipGroup => "fe-clip-group",
            Self::Musc => "musc",
            Self::PcaResidual => "pca-residual",
        }
    }

    /// Whether it learns from an auxiliary data set.
    pub(super) fn is_trained(self) -> bool {
        !matches!(
            self,
            Self::Clip
                | Self::WinClip
                | Self::MemoryBank
                | Self::PromptAd
                | Self::Musc
                | Self::PcaResidual
        )
    }

    /// The method whose training it uses.
    pub(super) fn trained_as(self) -> Self {
        if self == Self::FeClipGroup { Self::FeClip } else { self }
    }

    /// Whether it learns words alone, with the image tower's answers kept.
    pub(super) fn learns_prompts(self) -> bool {
        matches!(self, Self::Coop | Self::AnomalyClip)
    }

    /// Whether no layer of the image tower is gone through again in a training step.
    pub(super) fn keeps_answers(self) -> bool {
        self.learns_prompts() || matches!(self, Self::VcpClip | Self::Inctrl)
    }

    /// Whether it also learns from the images that a data set has for training.
    pub(super) fn learns_from_all(self) -> bool {
        self == Self::Inctrl
    }

    /// Whether the images of a category are scored against each other.
    pub(super) fn is_group(self) -> bool {
        matches!(self, Self::FeClipGroup | Self::Musc)
    }

    /// Its lines of `[model]`, sub-tables last.
    pub(super) fn settings(self) -> &'static str {
        match self {
            Self::FeClip | Self::FeClipGroup => "",
            Self::FeClipAbsolute => "lfs = { statistic = \"abs_mean\" }\n",
            // The signed mean of the FFT's responses is one corner token (spec 2.5).
            Self::FeClipFftAbsolute => "transform = \"fft\"\nlfs = { statistic = \"abs_mean\" }\n",
            Self::FfeOnly => "lfs = false\n",
            Self::LfsOnly => "ffe = false\n",
            Self::ConvAdapter => "ffe = false\nlfs = false\nconv_adapter = { kernel = 3 }\n",
            Self::Clip => "method = \"clip\"\n",
            Self::WinClip => "method = \"winclip\"\n",
            Self::AprilGan => "method = \"april-gan\"\n",
            Self::Coop => "method = \"coop\"\n",
            Self::AnomalyClip => {
                "method = \"anomalyclip\"\npositional_interpolation = \"bilinear\"\n"
            }
            Self::AdaClip => "method = \"adaclip\"\n",
            Self::VcpClip => "method = \"vcp-clip\"\n",
            Self::Inctrl => "method = \"inctrl\"\n",
            Self::PromptAd => "method = \"promptad\"\n",
            Self::MemoryBank => "method = \"memory-bank\"\n",
            Self::Musc => "method = \"musc\"\n",
            Self::PcaResidual => "method = \"pca-residual\"\n",
        }
    }

    /// The name of its row in a table of the paper.
    pub(super) fn row(self, table: u8) -> &'static str {
        match (self, table) {
            (Self::FeClip | Self::FeClipAbsolute, 4) => "FE-CLIP (DCT)",
            (Self::FeClipFftAbsolute, _) => "FE-CLIP (FFT)",
            (Self::FeClip | Self::FeClipAbsolute, _) => "FE-CLIP",
            (Self::FfeOnly, _) => "CLIP + FFE Adapter",
            (Self::LfsOnly, _) => "CLIP + LFS Adapter",
            (Self::ConvAdapter, _) => "CLIP + Conv Adapter",
            (Self::Clip, _) => "CLIP",
            (Self::WinClip, _) => "WinCLIP",
            (Self::AprilGan, _) => "APRIL-GAN",
            (Self::Coop, _) => "CoOp",
            (Self::AnomalyClip, _) => "AnomalyCLIP",
            (Self::AdaClip, _) => "AdaCLIP",
            (Self::VcpClip, _) => "VCP-CLIP",
            (Self::Inctrl, _) => "InCTRL",
            (Self::PromptAd, _) => "PromptAD",
            (Self::MemoryBank, _) => "PatchCore",
            (Self::FeClipGroup, _) => "FE-CLIP with the group",
            (Self::Musc, _) => "MuSc",
            (Self::PcaResidual, _) => "PCA residual",
        }
    }

    /// What makes it another method than the paper's row of that name; such a row stands for
    /// itself, without a difference.
    pub(super) fn differs(self) -> Option<&'static str> {
        match self {
            Self::WinClip => Some("here on the profile's backbone, published on ViT-B/16+ 240"),
            Self::AprilGan => {
                Some("here without mosaics and with means over stages; published epochs")
            }
            Self::MemoryBank => {
                Some("memory-bank: here on CLIP's tokens, published on a WideResNet-50")
            }
            Self::AdaClip => Some(
                "here trained on the auxiliary set alone, and the last epoch; published with \
                 endoscopic images beside it, and the epoch that is best on the evaluated set",
            ),
            Self::VcpClip => Some(
                "here without augmentation, with the activation that the backbone was trained with",
            ),
            Self::Inctrl => Some(
                "here on the profile's backbone, published on ViT-B/16+ 240; trained beside two \
                 normal images for four, too",
            ),
            Self::PromptAd => Some(
                "here on the profile's backbone, published on ViT-B/16+ 240; without phrases for \
                 single categories, and the last step in place of the best on the test images",
            ),
            Self::Coop => Some("here with CoOp's own training; the published row's is not told"),
            Self::FeClipAbsolute => Some(
                "statistic abs_mean in place of the mean, for the FFT's row to be compared with",
            ),
            Self::FeClipFftAbsolute => {
                Some("statistic abs_mean: the FFT's signed mean is one corner token")
            }
            _ => None,
        }
    }

    /// Numbers of normal images with which a table has it.
    pub(super) fn shots(self, table: u8) -> &'static [usize] {
        match self {
            Self::Inctrl => &[2, 4],
            Self::PcaResidual => &[1, 2, 4],
            _ if table == 5 => &[1, 2, 4],
            _ => &[0],
        }
    }

    /// The methods of a table that are run rather than quoted.
    pub(super) fn of_table(table: u8) -> &'static [Self] {
        match table {
            1 => &[
                Self::Clip,
                Self::WinClip,
                Self::Coop,
                Self::AprilGan,
                Self::AnomalyClip,
                Self::AdaClip,
                Self::FeClip,
            ],
            2 => &[
                Self::Clip,
                Self::WinClip,
                Self::Coop,
                Self::AprilGan,
                Self::AnomalyClip,
                Self::AdaClip,
                Self::VcpClip,
                Self::FeClip,
            ],
            3 => &[Self::ConvAdapter, Self::FfeOnly, Self::LfsOnly, Self::FeClip],
            // From row to row one thing changes: the statistic, then the transform.
            4 => &[Self::FeClip, Self::FeClipAbsolute, Self::FeClipFftAbsolute],
            5 => &[Self::MemoryBank, Self::WinClip, Self::Inctrl, Self::PromptAd, Self::FeClip],
            BEYOND => &[Self::Musc, Self::FeClipGroup, Self::PcaResidual],
            _ => &[Self::Clip, Self::AprilGan, Self::FeClip],
        }
    }
}
