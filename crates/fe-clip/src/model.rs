//! The assembled model.

use burn::module::Param;
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor};
use clip_vit::{Clip, TokenHead, VisionTower};
use ndarray::{Array2, Axis};

use crate::Error;
use crate::head::Head;
use crate::settings::fe_clip::{
    Aggregate, FeClipConfig, FewFeature, ProjectionInit, Temperature, TemperatureWord,
};
use crate::settings::prompts::Prompts;
use crate::tensors::{grids, normalize};
use crate::wording::{CutText, TextAxes, UNNAMED, Wording};

/// FE-CLIP: a frozen image tower, a trained head, and the two text embeddings.
///
/// It is deliberately no Burn module: optimizers and checkpoints only ever see the head.
pub struct FeClip {
    /// The trained part.
    pub head: Head,
    pub(crate) vision: VisionTower,
    texts: TextAxes,
    /// Anomalous minus normal text embedding, `[1 or batch, embed_dim, 1]`.
    pub(crate) axis: Tensor<3>,
    config: FeClipConfig,
    stage_ends: Vec<usize>,
    temperature: f64,
}

/// What the stages say about a batch, before the temperature.
pub struct Stages {
    /// Difference of cosine similarities, anomalous minus normal, of the class token:
    /// `[batch, stages]`, in [-2, 2]; scaled to the fixed temperature where it is learned.
    pub image: Tensor<2>,
    /// The same of every patch: `[batch, stages, height, width]`.
    pub pixel: Tensor<4>,
    /// Tokens of each stage for the memory bank, `[batch, height, width, channels]`: after the
    /// adapters, before them, or what they predict, as `few_feature` says.
    pub tokens: Vec<Tensor<4>>,
    /// The image's embedding from the last stage's class token, of unit length: `[batch, embed_dim]`.
    pub class: Tensor<2>,
    /// Tokens of the last stage before its adapters, `[batch, height, width, channels]`.
    pub last: Tensor<4>,
}

/// How anomalous the features of the last stage are, eq. 1 applied to each of them: maps of the
/// token grid, `[height, width]` in [0, 1]; the paper's Figure 5.
#[derive(Debug, Clone)]
pub struct LastStage {
    /// Of the tokens that come in.
    pub before: Array2<f32>,
    /// Of what FFE answers to them, if the model has it.
    pub ffe: Option<Array2<f32>>,
    /// Of what LFS answers to them, if the model has it.
    pub lfs: Option<Array2<f32>>,
    /// Of the tokens that go out, eq. 2.
    pub after: Array2<f32>,
}

impl FeClip {
    /// Assembles the model from a backbone; `head` is made by [`FeClip::new_head`] or read from
    /// a checkpoint.
    ///
    /// # Errors
    /// If the settings do not fit the backbone.
    pub fn new(
        clip: &Clip,
        config: &FeClipConfig,
        prompts: &Prompts,
        head: Head,
        device: &Device,
    ) -> Result<Self, Error> {
        Self::worded(clip, config, Wording::of(prompts), head, device)
    }

    /// The same with prompts that may name the category.
    pub(crate) fn worded(
        clip: &Clip,
        config: &FeClipConfig,
        wording: Wording,
        head: Head,
        device: &Device,
    ) -> Result<Self, Error> {
        let config = config.clone();
        let stage_ends = stage_ends(&config, clip)?;
        let mut texts = TextAxes::new(clip, wording, device);
        let axis = texts.of(&[UNNAMED]);
        let temperature = temperature(config.temperature, clip);
        let vision = clip.vision.clone();
        Ok(Self { head, vision, texts, axis, config, stage_ends, temperature })
    }

    /// A randomly initialised head for a backbone.
    ///
    /// # Errors
    /// If the settings do not fit the backbone.
    pub fn new_head(clip: &Clip, config: &FeClipConfig, device: &Device) -> Result<Head, Error> {
        let stages = stage_ends(config, clip)?.len();
        let own = clip.vision.projection.weight.val();
        let [width, embed_dim] = own.dims();
        let mut head = Head::new(config, stages, width, embed_dim, device);
        if config.projection_init == ProjectionInit::Clip {
            for projection in &mut head.patch_projection {
                let zero = Tensor::zeros([embed_dim], device);
                projection.weight = Param::from_tensor(own.clone());
                projection.bias = Some(Param::from_tensor(zero));
            }
        }
        Ok(head)
    }

    /// Says what the next images show, one category an image or one for all; changes nothing
    /// where the prompts do not name the category.
    pub fn describe(&mut self, categories: &[&str]) {
        self.axis = self.texts.of(categories);
    }

    /// The texts about a category that have more tokens than the text tower takes.
    pub fn cut_texts(&self, category: &str) -> Vec<CutText> {
        self.texts.cut(category)
    }

    /// Settings that the model was made with.
    pub fn config(&self) -> &FeClipConfig {
        &self.config
    }

    /// The adapters act after these layers, counted from 1.
    pub fn stage_ends(&self) -> &[usize] {
        &self.stage_ends
    }

    /// Temperature that divides the margins of [`Stages`].
    pub fn temperature(&self) -> f64 {
        self.temperature
    }

    /// The part of the forward pass that no adapter can change: all layers of the first stage.
    ///
    /// # Shapes
    /// - images: `[batch, 3, size, size]`
    /// - output: `[batch, 1 + patches, channels]`
    pub fn prefix(&self, images: Tensor<4>) -> Tensor<3> {
        self.layers(0, self.vision.embed(images))
    }

    /// Tokens, with the class token, and channels of an image's prefix.
    pub fn prefix_shape(&self) -> [usize; 2] {
        self.vision.positional_embedding.dims()
    }

    /// The rest, from the output of [`FeClip::prefix`].
    ///
    /// # Shapes
    /// - tokens: `[batch, 1 + patches, channels]`; the patches form a square
    ///
    /// # Panics
    /// If the number of patches is not a square.
    pub fn stages(&self, prefix: Tensor<3>) -> Stages {
        let [b, n, d] = prefix.dims();
        let side = (n - 1).isqrt();
        assert!(side * side == n - 1, "stages: expected a square grid, got {} patches", n - 1);
        let mut x = prefix;
        let (mut image, mut pixel, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
        let (mut last, mut embedding) = (None, None);
        for (stage, adapters) in self.head.stages.iter().enumerate() {
            if stage > 0 {
                x = self.layers(stage, x);
            }
            let class = x.clone().narrow(1, 0, 1); // [b, 1, d]
            let patches = x.narrow(1, 1, n - 1).reshape([b, side, side, d]);
            let adapted = adapters.forward(patches.clone());
            last = Some(patches.clone());
            let class_embedding = self.class_embedding(class.clone()); // [b, 1, e]
            let margin = class_embedding.clone().matmul(self.axis.clone()); // [b, 1, 1]
            image.push(margin.squeeze_dim(2));
            embedding = Some(class_embedding.squeeze_dim(1));
            let flat = adapted.clone().reshape([b, n - 1, d]);
            pixel.push(self.patch_margin(stage, flat.clone()).reshape([b, 1, side, side]));
            tokens.push(match self.config.few_feature {
                FewFeature::Adapted => adapted,
                FewFeature::Raw => patches,
                FewFeature::Predicted => match self.token_head(stage) {
                    Some(head) => head.forward(patches),
                    None => patches, // is not compared, `stage_ends` has seen to that
                },
            });
            x = Tensor::cat(vec![class, flat], 1);
        }
        let (mut image, mut pixel) = (Tensor::cat(image, 1), Tensor::cat(pixel, 1));
        if let Some(scale) = self.learned_scale() {
            image = image * scale.clone().unsqueeze();
            pixel = pixel * scale.unsqueeze();
        }
        let last = last.expect("a model has at least one stage");
        let class = embedding.expect("a model has at least one stage");
        Stages { image, pixel, tokens, class, last }
    }

    /// What predicts features from the tokens at the end of a stage, counted from 0.
    pub(crate) fn token_head(&self, stage: usize) -> Option<&TokenHead> {
        self.vision.token_heads.get(self.stage_ends[stage] - 1)?.as_ref()
    }

    /// What takes margins to the fixed temperature where the temperature is learned, `[1]`.
    fn learned_scale(&self) -> Option<Tensor<1>> {
        let scale = self.head.logit_scale.as_ref()?;
        Some(scale.val().exp() * self.temperature)
    }

    /// The features of the last stage for one image, if there are adapters.
    ///
    /// # Shapes
    /// - image: `[1, 3, size, size]`
    pub fn last_stage(&self, image: Tensor<4>) -> Option<LastStage> {
        let adapters = self.head.stages.last()?;
        if adapters.ffe.is_none() && adapters.lfs.is_none() {
            return None;
        }
        let tokens = self.stages(self.prefix(image)).last;
        let stage = self.stage_ends.len() - 1;
        let map = |features: Tensor<4>| {
            let [_, h, w, d] = features.dims();
            let mut margins = self.patch_margin(stage, features.reshape([1, h * w, d]));
            if let Some(scale) = self.learned_scale() {
                margins = margins * scale.unsqueeze();
            }
            let map = grids(sigmoid(margins / self.temperature).reshape([1, h, w]));
            map.index_axis_move(Axis(0), 0)
        };
        Some(LastStage {
            ffe: adapters.ffe.as_ref().map(|ffe| map(ffe.forward(tokens.clone()))),
            lfs: adapters.lfs.as_ref().map(|lfs| map(lfs.forward(tokens.clone()))),
            after: map(adapters.forward(tokens.clone())),
            before: map(tokens),
        })
    }

    /// Image scores of a batch, eq. 1 and 3: `[batch]`, in [0, 1].
    pub fn image_score(&self, stages: &Stages) -> Tensor<1> {
        self.aggregate(stages.image.clone(), 1).squeeze_dim(1)
    }

    /// Token-level anomaly maps, eq. 1 and 3: `[batch, height, width]`, in [0, 1].
    pub fn patch_map(&self, stages: &Stages) -> Tensor<3> {
        self.aggregate(stages.pixel.clone(), 1).squeeze_dim(1)
    }

    fn aggregate<const D: usize>(&self, margins: Tensor<D>, axis: usize) -> Tensor<D> {
        let margins = match &self.config.score_stages {
            None => margins,
            Some(stages) => {
                let parts = stages.iter().map(|stage| margins.clone().narrow(axis, stage - 1, 1));
                Tensor::cat(parts.collect(), axis)
            }
        };
        let logits = margins / self.temperature;
        match self.config.aggregate {
            Aggregate::MeanProbability => sigmoid(logits).mean_dim(axis),
            Aggregate::MeanLogit => sigmoid(logits.mean_dim(axis)),
        }
    }

    fn layers(&self, stage: usize, tokens: Tensor<3>) -> Tensor<3> {
        let first = if stage == 0 { 0 } else { self.stage_ends[stage - 1] };
        let blocks = &self.vision.blocks[first..self.stage_ends[stage]];
        blocks.iter().fold(tokens, |x, block| block.forward(x))
    }

    fn class_embedding(&self, class: Tensor<3>) -> Tensor<3> {
        let class =
            if self.config.class_ln_post { self.vision.ln_post.forward(class) } else { class };
        normalize(self.vision.projection.forward(class))
    }

    fn patch_margin(&self, stage: usize, patches: Tensor<3>) -> Tensor<3> {
        let patches =
            if self.config.patch_ln_post { self.vision.ln_post.forward(patches) } else { patches };
        let embedding = normalize(self.head.project(stage, patches)); // [b, n, e]
        embedding.matmul(self.axis.clone()) // [b, n, 1]
    }
}

/// What divides cosine differences.
pub(crate) fn temperature(said: Temperature, clip: &Clip) -> f64 {
    match said {
        Temperature::Value(value) => value,
        // What is learned is the head's factor on margins.
        Temperature::Word(TemperatureWord::Learned) => Temperature::DEFAULT,
        Temperature::Word(TemperatureWord::Clip) => {
            f64::from((-clip.logit_scale.val()).exp().into_scalar::<f32>())
        }
    }
}

/// Side of the model's input for a backbone where the settings do not say: its own, before another
/// grid was put into it, but for the paper's backbone.
pub(crate) fn usual_size(clip: &Clip) -> usize {
    let patch = clip.vision.patch_size();
    let [positions, width] = clip.vision.positional_embedding.dims();
    let own = (positions - 1).isqrt() * patch;
    // The paper's backbone runs at its peers' size (spec of the method, A2).
    if (patch, width, own) == (14, 1024, 336) { 518 } else { own }
}

/// The layers after which the stages end, counted from 1.
///
/// # Errors
/// If the backbone has not so many layers, or the settings name a stage that there is not or that predicts nothing
/// where predictions are compared.
pub(crate) fn stage_ends(config: &FeClipConfig, clip: &Clip) -> Result<Vec<usize>, Error> {
    let depth = clip.vision.blocks.len();
    let ends = match &config.stage_ends {
        None if depth < 4 => Err(Error::Settings(format!(
            "model.stage_ends: a backbone of {depth} layers has no four stages; name them"
        ))),
        None => Ok((1..=4).map(|n| depth * n / 4).collect()),
        Some(ends) => ends
            .layers(depth)
            .map_err(|reason| Error::Settings(format!("model.stage_ends: {reason}"))),
    }?;
    for (key, stages) in [
        ("score_stages", &config.score_stages),
        ("few_stages", &config.few_stages),
        ("group.stages", &config.group.stages),
    ] {
        if let Some(stage) = stages.iter().flatten().find(|stage| **stage > ends.len()) {
            let count = ends.len();
            return Err(Error::Settings(format!(
                "model.{key}: there is no stage {stage}, the model has {count}"
            )));
        }
    }
    if config.few_feature == FewFeature::Predicted {
        let predicts =
            |end: usize| clip.vision.token_heads.get(end - 1).is_some_and(Option::is_some);
        let all: Vec<usize> = (1..=ends.len()).collect();
        for (key, stages) in
            [("few_stages", &config.few_stages), ("group.stages", &config.group.stages)]
        {
            let stages = stages.as_ref().unwrap_or(&all);
            if let Some(stage) = stages.iter().find(|stage| !predicts(ends[**stage - 1])) {
                let able: Vec<&usize> = all.iter().filter(|s| predicts(ends[**s - 1])).collect();
                return Err(Error::Settings(format!(
                    "model.{key}: few_feature = \"predicted\" needs stages whose tokens predict features; stage \
                     {stage} has no head for that, those that have one: {able:?}"
                )));
            }
        }
    }
    Ok(ends)
}
