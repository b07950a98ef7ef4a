//! The trained part: adapters after every stage and the patch projection, vectors in prompts, or
//! what a method has of its own.

use adapters::{ConvAdapter, Ffe, FfeConfig, Lfs, LfsConfig};
use burn::module::{Module, Param};
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use crate::adaclip::AdaClip;
use crate::inctrl::Inctrl;
use crate::named;
use crate::settings::fe_clip::{AdapterInit, FeClipConfig, Temperature};
use crate::vcp::Vcp;

/// All that training changes. The backbone is not in here, so the optimizer never sees it.
#[derive(Module, Debug, Default)]
pub struct Head {
    /// One set of adapters a stage, in order.
    pub stages: Vec<StageAdapters>,
    /// Projections of patch tokens into the embedding: one that all stages share, or one each.
    pub patch_projection: Vec<Linear>,
    /// Logarithm of the inverse temperature, where that is learned: `[1]`.
    pub logit_scale: Option<Param<Tensor<1>>>,
    /// Vectors in the place of words, of methods that learn their prompts.
    pub prompts: Option<LearnedPrompts>,
    /// Logarithms of inverse temperatures that have a learning rate of their own, `[1]` each.
    pub logit_scales: Vec<Param<Tensor<1>>>,
    /// What no other method has.
    pub own: Option<OwnPart>,
}

/// What only one method trains.
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "Burn has no boxed modules, and a head has one")]
pub enum OwnPart {
    /// AdaCLIP's.
    AdaClip(AdaClip),
    /// VCP-CLIP's.
    Vcp(Vcp),
    /// InCTRL's.
    Inctrl(Inctrl),
}

impl OwnPart {
    /// Name, shape and values of its tensors, as PyTorch keeps them.
    pub(crate) fn tensors(&self) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        match self {
            Self::AdaClip(part) => named::collect(part, ADACLIP),
            Self::Vcp(part) => named::collect(part, VCP),
            Self::Inctrl(part) => named::collect(part, INCTRL),
        }
    }

    /// The part with other values: `source` is given the name and shape of every tensor, and
    /// answers its values, or nothing where it shall stay.
    pub(crate) fn replaced(
        self,
        device: &Device,
        source: impl FnMut(&str, &[usize]) -> Option<Vec<f32>>,
    ) -> Self {
        match self {
            Self::AdaClip(part) => Self::AdaClip(named::replace(part, ADACLIP, device, source)),
            Self::Vcp(part) => Self::Vcp(named::replace(part, VCP, device, source)),
            Self::Inctrl(part) => Self::Inctrl(named::replace(part, INCTRL, device, source)),
        }
    }
}

const ADACLIP: &str = "adaclip";
const VCP: &str = "vcp";
const INCTRL: &str = "inctrl";

/// Vectors in the place of words, in the space of the text tower's embedded tokens.
#[derive(Module, Debug)]
pub struct LearnedPrompts {
    /// The first tokens of the prompts, `[tokens, width]`: one set for both sides, or one for the
    /// normal side and one for the anomalous side.
    pub context: Vec<Param<Tensor<2>>>,
    /// What takes the place of the first tokens before the second block and those after it,
    /// `[tokens, width]` each, on both sides.
    pub deep: Vec<Param<Tensor<2>>>,
}

impl LearnedPrompts {
    /// Vectors from a normal distribution with deviation 0.02, as CLIP's embedded tokens start.
    pub(crate) fn new(
        (sides, context): (usize, usize),
        (blocks, deep): (usize, usize),
        width: usize,
        device: &Device,
    ) -> Self {
        let normal = Initializer::Normal { mean: 0.0, std: 0.02 };
        let vectors = |tokens| normal.init([tokens, width], device);
        Self {
            context: (0..sides).map(|_| vectors(context)).collect(),
            deep: (0..blocks).map(|_| vectors(deep)).collect(),
        }
    }
}

/// The adapters of one stage.
#[derive(Module, Debug)]
pub struct StageAdapters {
    /// Frequency feature extraction.
    pub ffe: Option<Ffe>,
    /// Local frequency statistics.
    pub lfs: Option<Lfs>,
    /// The Conv adapter.
    pub conv: Option<ConvAdapter>,
    lambda: f64,
}

impl Head {
    /// A randomly initialised head for tokens of `width` channels.
    pub fn new(
        config: &FeClipConfig,
        stages: usize,
        width: usize,
        embed_dim: usize,
        device: &Device,
    ) -> Self {
        let transform = Some(config.transform);
        let stage = |_| StageAdapters {
            ffe: config
                .ffe
                .on()
                .map(|c| Ffe::new(&FfeConfig { transform, ..c.clone() }, width, device)),
            lfs: config
                .lfs
                .on()
                .map(|c| Lfs::new(&LfsConfig { transform, ..c.clone() }, width, device)),
            conv: config.conv_adapter.as_ref().map(|c| ConvAdapter::new(c.kernel, width, device)),
            lambda: config.lambda,
        };
        // A learned temperature starts at the fixed one.
        let logit_scale = (config.temperature == Temperature::LEARNED).then(|| {
            let start = (1.0 / Temperature::DEFAULT).ln();
            Param::from_tensor(Tensor::full([1], start, device))
        });
        let mut stages: Vec<StageAdapters> = (0..stages).map(stage).collect();
        let projections = if config.shared_projection { 1 } else { stages.len() };
        if config.adapter_init == AdapterInit::Zero {
            stages.iter_mut().for_each(StageAdapters::silence);
        }
        Self {
            stages,
            patch_projection: (0..projections)
                .map(|_| LinearConfig::new(width, embed_dim).init(device))
                .collect(),
            logit_scale,
            ..Self::default()
        }
    }

    /// A head that learns prompts and nothing else.
    pub(crate) fn of_prompts(prompts: LearnedPrompts) -> Self {
        Self { prompts: Some(prompts), ..Self::default() }
    }

    /// Projects the patch tokens of a stage, counted from 0.
    ///
    /// # Shapes
    /// - tokens: `[batch, patches, width]`
    /// - output: `[batch, patches, embed_dim]`
    pub fn project(&self, stage: usize, tokens: Tensor<3>) -> Tensor<3> {
        self.patch_projection[stage.min(self.patch_projection.len() - 1)].forward(tokens)
    }
}

impl StageAdapters {
    /// Eq. 2: `lambda * (FFE + LFS) + (1 - lambda) * tokens`, with the branches that there are.
    /// Without any branch the tokens stay as they are.
    ///
    /// # Shapes
    /// - tokens, output: `[batch, height, width, channels]`
    pub fn forward(&self, tokens: Tensor<4>) -> Tensor<4> {
        match self.added(tokens.clone()) {
            Some(added) => added * self.lambda + tokens * (1.0 - self.lambda),
            None => tokens,
        }
    }

    /// Sets the last layer of every branch to zero: what it adds is zero, until it has learnt.
    fn silence(&mut self) {
        let mut layers: Vec<&mut Linear> = Vec::new();
        layers.extend(self.ffe.as_mut().map(|ffe| &mut ffe.linear));
        layers.extend(self.lfs.as_mut().map(|lfs| &mut lfs.conv.linear));
        layers.extend(self.conv.as_mut().map(|conv| &mut conv.conv.linear));
        for layer in layers {
            layer.weight = Param::from_tensor(layer.weight.val().zeros_like());
            let zero = |bias: Param<Tensor<1>>| Param::from_tensor(bias.val().zeros_like());
            layer.bias = layer.bias.take().map(zero);
        }
    }

    fn added(&self, tokens: Tensor<4>) -> Option<Tensor<4>> {
        let branches = [
            self.ffe.as_ref().map(|ffe| ffe.forward(tokens.clone())),
            self.lfs.as_ref().map(|lfs| lfs.forward(tokens.clone())),
            self.conv.as_ref().map(|conv| conv.forward(tokens)),
        ];
        branches.into_iter().flatten().reduce(|a, b| a + b)
    }
}
