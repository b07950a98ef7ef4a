//! The methods that are run, and the names of their rows in the paper's tables.

/// A method that `fe-clip` runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Method {
    FeClip,
    FeClipFft,
    FfeOnly,
    LfsOnly,
    ConvAdapter,
    Clip,
    WinClip,
    AprilGan,
    PatchCore,
}

impl Method {
    /// What folders and messages call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FeClip => "fe-clip",
            Self::FeClipFft => "fe-clip-fft",
            Self::FfeOnly => "ffe-only",
            Self::LfsOnly => "lfs-only",
            Self::ConvAdapter => "conv-adapter",
            Self::Clip => "clip",
            Self::WinClip => "winclip",
            Self::AprilGan => "april-gan",
            Self::PatchCore => "patchcore",
        }
    }

    /// Whether it learns from an auxiliary data set.
    pub(super) fn is_trained(self) -> bool {
        !matches!(self, Self::Clip | Self::WinClip | Self::PatchCore)
    }

    /// Its lines of `[model]`, sub-tables last.
    pub(super) fn settings(self) -> &'static str {
        match self {
            Self::FeClip => "",
            // The signed mean of the FFT's responses is one corner token (spec 2.5).
            Self::FeClipFft => "transform = \"fft\"\nlfs = { statistic = \"abs_mean\" }\n",
            Self::FfeOnly => "lfs = false\n",
            Self::LfsOnly => "ffe = false\n",
            Self::ConvAdapter => "ffe = false\nlfs = false\nconv_adapter = { kernel = 3 }\n",
            Self::Clip => "method = \"clip\"\n",
            Self::WinClip => "method = \"winclip\"\n",
            Self::AprilGan => "method = \"april-gan\"\n",
            Self::PatchCore => "method = \"patchcore\"\n",
        }
    }

    /// The name of its row in a table of the paper.
    pub(super) fn row(self, table: u8) -> &'static str {
        match (self, table) {
            (Self::FeClip, 4) => "FE-CLIP (DCT)",
            (Self::FeClipFft, _) => "FE-CLIP (FFT)",
            (Self::FeClip, _) => "FE-CLIP",
            (Self::FfeOnly, _) => "CLIP + FFE Adapter",
            (Self::LfsOnly, _) => "CLIP + LFS Adapter",
            (Self::ConvAdapter, _) => "CLIP + Conv Adapter",
            (Self::Clip, _) => "CLIP",
            (Self::WinClip, _) => "WinCLIP",
            (Self::AprilGan, _) => "APRIL-GAN",
            (Self::PatchCore, _) => "PatchCore",
        }
    }

    /// The methods of a table that are run rather than quoted.
    pub(super) fn of_table(table: u8) -> &'static [Self] {
        match table {
            1 | 2 => &[Self::Clip, Self::WinClip, Self::AprilGan, Self::FeClip],
            3 => &[Self::ConvAdapter, Self::FfeOnly, Self::LfsOnly, Self::FeClip],
            4 => &[Self::FeClipFft, Self::FeClip],
            5 => &[Self::PatchCore, Self::WinClip, Self::FeClip],
            _ => &[Self::Clip, Self::AprilGan, Self::FeClip],
        }
    }
}
