//! The regions of a run in one file, as tools for labels read them.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;
use clap::builder::PossibleValue;
use data::path_text::to_text;
use fe_clip::files::write_atomic;
use fe_clip::{Region, Verdict};
use serde::Serialize;

use crate::output::Save;
use crate::protect::Protected;

/// What `--save` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A file an image.
    Image(Save),
    /// A file a run.
    Run(RunFile),
}

impl ValueEnum for Wanted {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [Wanted; 8] = [
            Wanted::Image(Save::Overlay),
            Wanted::Image(Save::Map),
            Wanted::Image(Save::Tiff),
            Wanted::Image(Save::Mask),
            Wanted::Image(Save::Features),
            Wanted::Image(Save::Yolo),
            Wanted::Run(RunFile::Coco),
            Wanted::Run(RunFile::LabelStudio),
        ];
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Image(save) => save.to_possible_value(),
            Self::Run(file) => file.to_possible_value(),
        }
    }
}

impl Wanted {
    /// Whether it holds regions or their pixels, so that there is none without a threshold.
    pub(crate) fn needs_threshold(self) -> bool {
        matches!(self, Self::Image(Save::Mask | Save::Yolo) | Self::Run(_))
    }
}

/// Files of which a run has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RunFile {
    /// Boxes, areas, outlines and scores as COCO has them: `regions.coco.json`.
    Coco,
    /// Outlines and scores as predictions: `regions.label-studio.json`.
    LabelStudio,
}

/// What every region is called.
const CATEGORY: &str = "anomaly";
const SOFTWARE: &str = concat!("fe-clip ", env!("CARGO_PKG_VERSION"));

/// The files to write when the run ends, and what goes into them.
pub(crate) struct Exchange {
    files: Vec<(RunFile, PathBuf)>,
    images: Vec<Image>,
}

struct Image {
    path: String,
    width: u32,
    height: u32,
    score: f64,
    regions: Vec<Region>,
}

impl Exchange {
    /// Prepares to write files into `out`.
    ///
    /// # Errors
    /// If one would replace a file that the run reads or writes.
    pub(crate) fn new(
        files: &[RunFile],
        out: &Path,
        protected: &Protected,
    ) -> anyhow::Result<Self> {
        let place = |file: &RunFile| {
            let path = out.join(match file {
                RunFile::Coco => "regions.coco.json",
                RunFile::LabelStudio => "regions.label-studio.json",
            });
            protected.check(&path)?;
            Ok((*file, path))
        };
        let files = files.iter().map(place).collect::<anyhow::Result<_>>()?;
        Ok(Self { files, images: Vec::new() })
    }

    /// Takes an image that was scored.
    pub(crate) fn add(&mut self, verdict: &Verdict) {
        let (width, height) = verdict.size;
        self.images.push(Image {
            path: to_text(&verdict.path).into_owned(),
            width,
            height,
            score: verdict.score,
            regions: verdict.regions.clone(),
        });
    }

    /// Writes the files.
    ///
    /// # Errors
    /// If one cannot be written; the message names it.
    pub(crate) fn write(&self) -> anyhow::Result<()> {
        for (file, path) in &self.files {
            let text = match file {
                RunFile::Coco => serde_json::to_vec(&Coco::new(&self.images)),
                RunFile::LabelStudio => {
                    serde_json::to_vec(&self.images.iter().map(Task::new).collect::<Vec<_>>())
                }
            };
            write_atomic(path, &text.context("encoding the regions")?)?;
        }
        Ok(())
    }
}

/// Source: cocodataset.org, data format and results format.
#[derive(Serialize)]
struct Coco<'a> {
    info: Info,
    images: Vec<CocoImage<'a>>,
    annotations: Vec<Annotation>,
    categories: [Category; 1],
}

#[derive(Serialize)]
struct Info {
    description: &'static str,
}

#[derive(Serialize)]
struct Category {
    id: u32,
    name: &'static str,
}

#[derive(Serialize)]
struct CocoImage<'a> {
    /// From 1.
    id: usize,
    file_name: &'a str,
    width: u32,
    height: u32,
    /// The image's.
    score: f64,
}

#[derive(Serialize)]
struct Annotation {
    /// From 1: evaluation code takes 0 for none.
    id: usize,
    image_id: usize,
    category_id: u32,
    bbox: [u32; 4],
    area: u64,
    segmentation: [Vec<f64>; 1],
    iscrowd: u8,
    score: f32,
    /// What CVAT shows beside the category.
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<Attributes>,
}

#[derive(Serialize)]
struct Attributes {
    zone: String,
}

impl<'a> Coco<'a> {
    fn new(images: &'a [Image]) -> Self {
        let regions = images
            .iter()
            .enumerate()
            .flat_map(|(image, Image { regions, .. })| regions.iter().map(move |r| (image, r)));
        let annotation = |(n, (image, region)): (usize, (usize, &Region))| Annotation {
            id: n + 1,
            image_id: image + 1,
            category_id: 1,
            bbox: [region.x, region.y, region.width, region.height],
            area: region.area,
            segmentation: [region.polygon.as_flattened().to_vec()],
            iscrowd: 0,
            score: region.peak,
            attributes: region.zone.clone().map(|zone| Attributes { zone }),
        };
        let image = |(n, image): (usize, &'a Image)| CocoImage {
            id: n + 1,
            file_name: &image.path,
            width: image.width,
            height: image.height,
            score: image.score,
        };
        Self {
            info: Info { description: SOFTWARE },
            images: images.iter().enumerate().map(image).collect(),
            annotations: regions.enumerate().map(annotation).collect(),
            categories: [Category { id: 1, name: CATEGORY }],
        }
    }
}

/// Source: Label Studio, "Import pre-annotated data into Label Studio".
#[derive(Serialize)]
struct Task<'a> {
    data: TaskData<'a>,
    predictions: [TaskPrediction; 1],
}

#[derive(Serialize)]
struct TaskData<'a> {
    image: &'a str,
}

#[derive(Serialize)]
struct TaskPrediction {
    model_version: &'static str,
    score: f64,
    result: Vec<Outline>,
}

#[derive(Serialize)]
struct Outline {
    id: String,
    r#type: &'static str,
    from_name: &'static str,
    to_name: &'static str,
    original_width: u32,
    original_height: u32,
    image_rotation: u32,
    score: f32,
    value: Polygon,
}

#[derive(Serialize)]
struct Polygon {
    /// In hundredths of the image's width and height.
    points: Vec<[f64; 2]>,
    closed: bool,
    polygonlabels: [&'static str; 1],
}

impl<'a> Task<'a> {
    fn new(image: &'a Image) -> Self {
        let Image { width, height, .. } = *image;
        let percent =
            |[x, y]: &[f64; 2]| [100.0 * x / f64::from(width), 100.0 * y / f64::from(height)];
        let outline = |(n, region): (usize, &Region)| Outline {
            id: format!("region-{}", n + 1),
            r#type: "polygonlabels",
            from_name: "label",
            to_name: "image",
            original_width: width,
            original_height: height,
            image_rotation: 0,
            score: region.peak,
            value: Polygon {
                points: region.polygon.iter().map(percent).collect(),
                closed: true,
                polygonlabels: [CATEGORY],
            },
        };
        let result = image.regions.iter().enumerate().map(outline).collect();
        Self {
            data: TaskData { image: &image.path },
            predictions: [TaskPrediction { model_version: SOFTWARE, score: image.score, result }],
        }
    }
}
