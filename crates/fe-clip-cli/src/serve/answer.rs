//! What is sent back for an image.

use std::sync::Arc;

use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use data::{decode_image, preprocess};
use fe_clip::geometry::{Extent, to_image};
use fe_clip::overlay::overlay;
use fe_clip::{Judgement, Label, Out, Prediction, Region, Thresholds};
use ndarray::Array3;
use serde::Serialize;
use tokio::sync::oneshot;

use super::banks::BankId;
use super::problem::Problem;
use super::request::{Form, Options};
use super::state::Server;
use super::upload::{File, Places, Upload};
use super::worker::{Job, Loaded, Normals, NotKept, Work};
use crate::job::caption;
use crate::output::rgb_png;

/// The answer in JSON: the fields of `fe-clip detect` and more.
#[derive(Serialize)]
pub(super) struct Found<'a> {
    path: &'a str,
    score: f64,
    label: Option<Label>,
    map_max: f32,
    width: u32,
    height: u32,
    model: &'a str,
    threshold: Option<f64>,
    /// Where the map reaches the threshold, the highest peak first; none without a threshold.
    regions: Option<&'a [Region]>,
    normals: Option<Remembered>,
    map: Option<Map>,
    /// What ranks.
    raw_score: f32,
}

/// The normal images that the image was compared with.
#[derive(Serialize)]
struct Remembered {
    id: String,
    images: usize,
}

/// The map at the model's size.
#[derive(Serialize)]
struct Map {
    rows: usize,
    columns: usize,
    /// float32, little endian, row by row, in base64.
    data: String,
    /// Where the map lies on the image, in pixels of the image.
    extent: Extent,
}

/// Judges an upload.
pub(super) async fn answer(
    server: Arc<Server>,
    upload: Upload,
    options: Options,
    form: Form,
) -> Result<Response, Problem> {
    let loaded = server.loaded()?;
    let normals = normals(&server, &options, upload.normals).await?;
    let refused = if normals.is_some() { &loaded.compared } else { &loaded.alone };
    if let Some(words) = refused {
        return Err(Problem::parameter(words));
    }
    let remembered = normals.as_ref().map(|normals| (normals.id, normals.count));
    let (image, places) = (Arc::new(upload.image), upload.places);
    let (size, pixels, ignored) = {
        let (image, places) = (Arc::clone(&image), places.clone());
        server
            .compute(move |server| {
                let (size, pixels) = read(server, &image)?;
                let ignored = ignored(server, &places, size)?.map(|out| out.on_map);
                Ok::<_, Problem>((size, pixels, ignored))
            })
            .await??
    };
    let (sender, receiver) = oneshot::channel();
    server.send(Work::Image(Job { pixels, ignored, normals, answer: sender }))?;
    let prediction =
        receiver.await.map_err(|_| Problem::internal())?.map_err(|NotKept| not_kept())?;
    let thresholds = server.levels.of(options.threshold, remembered.is_some());
    let judge = loaded.judge(thresholds, remembered.is_some());
    server
        .compute(move |server| {
            let judgement = judge
                .judge(&prediction, size)
                .map_err(|error| Problem::answer(&image.name, &error))?;
            let map = options.map;
            let judged = Judged { image, size, prediction, judgement, thresholds, remembered, map };
            match form {
                Form::Json => Ok(Json(judged.found(&loaded)).into_response()),
                Form::Png => judged.png(server, &places),
            }
        })
        .await?
}

/// The normal images of a request.
async fn normals(
    server: &Arc<Server>,
    options: &Options,
    files: Vec<File>,
) -> Result<Option<Normals>, Problem> {
    let kept = |id| {
        let count = server.banks.images(id)?;
        Some(Normals { id, count, images: Vec::new() })
    };
    if let Some(id) = options.bank()? {
        if !files.is_empty() {
            return Err(Problem::parameter(
                "expected normal images as parts or by the parameter normals, got both",
            ));
        }
        return Ok(Some(kept(id).ok_or_else(not_kept)?));
    }
    if files.is_empty() {
        return Ok(None);
    }
    let bytes: Vec<&[u8]> = files.iter().map(|file| &*file.bytes).collect();
    let id = BankId::of(&bytes);
    if let Some(found) = kept(id) {
        return Ok(Some(found));
    }
    let mut images = Vec::with_capacity(files.len());
    for file in files {
        let (_, pixels) = server.compute(move |server| read(server, &file)).await??;
        images.push(pixels);
    }
    Ok(Some(Normals { id, count: images.len(), images }))
}

fn not_kept() -> Problem {
    Problem::not_found("these normal images are no longer kept; send them again")
}

/// Decodes and preprocesses a file.
pub(super) fn read(server: &Server, file: &File) -> Result<((u32, u32), Array3<f32>), Problem> {
    let image = decode_image(&file.bytes, &file.name, &server.limits.image)
        .map_err(|e| Problem::image(&file.name, &e))?;
    let loaded = server.loaded()?;
    Ok((image.dimensions(), preprocess(&image, &loaded.preprocess)))
}

/// What of an image of `size`, width and height, is not looked at.
fn ignored(server: &Server, places: &Places, size: (u32, u32)) -> Result<Option<Out>, Problem> {
    let Some(scope) = places.scope(&server.limits.image)? else { return Ok(None) };
    let out = scope.out(size, &server.loaded()?.preprocess);
    out.map(Some).map_err(|error| Problem::parameter(error.to_string()))
}

/// An image and what the model says about it.
pub(super) struct Judged {
    pub(super) image: Arc<File>,
    pub(super) size: (u32, u32),
    pub(super) prediction: Prediction,
    pub(super) judgement: Judgement,
    pub(super) thresholds: Option<Thresholds>,
    pub(super) remembered: Option<(BankId, usize)>,
    pub(super) map: bool,
}

impl Judged {
    pub(super) fn found<'a>(&'a self, loaded: &'a Loaded) -> Found<'a> {
        let map = &self.prediction.map;
        let (rows, columns) = map.dim();
        let extent = Extent::new(&loaded.preprocess, self.size);
        let (width, height) = self.size;
        Found {
            path: &self.image.name,
            score: self.judgement.score,
            label: self.judgement.label,
            map_max: self.prediction.map_max(),
            width,
            height,
            model: &loaded.run.model.backbone,
            threshold: self.thresholds.map(|t| t.image),
            regions: self.judgement.regions.as_deref(),
            normals: self.remembered.map(|(id, images)| Remembered { id: id.to_string(), images }),
            map: self.map.then(|| {
                let bytes: Vec<u8> = map.iter().flat_map(|v| v.to_le_bytes()).collect();
                Map { rows, columns, data: BASE64_STANDARD.encode(bytes), extent }
            }),
            raw_score: self.prediction.score,
        }
    }

    /// The picture that `fe-clip detect --out` writes.
    fn png(&self, server: &Server, places: &Places) -> Result<Response, Problem> {
        // Decoding twice costs less than keeping large pictures while they wait for the model.
        let image = decode_image(&self.image.bytes, &self.image.name, &server.limits.image)
            .map_err(|e| Problem::image(&self.image.name, &e))?;
        let caption = caption(self.judgement.score, self.judgement.label);
        let loaded = server.loaded()?;
        let map = self.prediction.map.view();
        let mut map = to_image(map, &loaded.preprocess, self.size, self.size);
        let ignored = ignored(server, places, self.size)?.map(|out| out.on_image);
        if let Some(ignored) = &ignored {
            map.zip_mut_with(ignored, |value, ignored| {
                if *ignored {
                    *value = 0.0;
                }
            });
        }
        let (level, ignored) = (self.thresholds.map(|t| t.pixel), ignored.as_ref());
        let ignored = ignored.map(|ignored| ignored.view());
        let picture = overlay(&image, map.view(), &caption, level.as_slice(), None, ignored);
        let bytes = rgb_png(&picture).map_err(|_| Problem::internal())?;
        Ok(([(header::CONTENT_TYPE, "image/png")], bytes).into_response())
    }
}
