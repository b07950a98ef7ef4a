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
    MemoryBank,
}

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
            Self::MemoryBank => "memory-bank",
        }
    }

    /// Whether it learns from an auxiliary data set.
    pub(super) fn is_trained(self) -> bool {
        !matches!(self, Self::Clip | Self::WinClip | Self::MemoryBank)
    }

    /// Its lines of `[model]`, sub-tables last.
    pub(super) fn settings(self) -> &'static str {
        match self {
            Self::FeClip => "",
            Self::FeClipAbsolute => "lfs = { statistic = \"abs_mean\" }\n",
            // The signed mean of the FFT's responses is one corner token (spec 2.5).
            Self::FeClipFftAbsolute => "transform = \"fft\"\nlfs = { statistic = \"abs_mean\" }\n",
            Self::FfeOnly => "lfs = false\n",
            Self::LfsOnly => "ffe = false\n",
            Self::ConvAdapter => "ffe = false\nlfs = false\nconv_adapter = { kernel = 3 }\n",
            Self::Clip => "method = \"clip\"\n",
            Self::WinClip => "method = \"winclip\"\n",
            Self::AprilGan => "method = \"april-gan\"\n",
            Self::MemoryBank => "method = \"memory-bank\"\n",
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
            (Self::MemoryBank, _) => "PatchCore",
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
            Self::FeClipAbsolute => Some(
                "statistic abs_mean in place of the mean, for the FFT's row to be compared with",
            ),
            Self::FeClipFftAbsolute => {
                Some("statistic abs_mean: the FFT's signed mean is one corner token")
            }
            _ => None,
        }
    }

    /// The methods of a table that are run rather than quoted.
    pub(super) fn of_table(table: u8) -> &'static [Self] {
        match table {
            1 | 2 => &[Self::Clip, Self::WinClip, Self::AprilGan, Self::FeClip],
            3 => &[Self::ConvAdapter, Self::FfeOnly, Self::LfsOnly, Self::FeClip],
            // From row to row one thing changes: the statistic, then the transform.
            4 => &[Self::FeClip, Self::FeClipAbsolute, Self::FeClipFftAbsolute],
            5 => &[Self::MemoryBank, Self::WinClip, Self::FeClip],
            _ => &[Self::Clip, Self::AprilGan, Self::FeClip],
        }
    }
}
