//! What is sent back for images that are compared with each other.

use std::sync::Arc;

use axum::Json;
use axum::response::{IntoResponse, Response};
use fe_clip::Judge;
use fe_clip::group::SMALLEST_GROUP;
use serde::Serialize;
use tokio::sync::oneshot;

use super::answer::{Found, Judged, read};
use super::problem::Problem;
use super::request::GroupOptions;
use super::state::Server;
use super::upload::File;
use super::worker::{GroupJob, Grouped, Loaded, Work};

/// The answer about images that were compared with each other.
#[derive(Serialize)]
struct FoundGroup<'a> {
    /// In the order in which they were sent.
    images: Vec<Member<'a>>,
    /// Pairs that were taken for one image.
    duplicates: Vec<[&'a str; 2]>,
    /// Those that seem to show something else.
    odd: Vec<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Member<'a> {
    Found(Box<Found<'a>>),
    Failed { path: &'a str, error: &'a str },
}

/// Compares images with each other; one that cannot be read is no part of the group.
pub(super) async fn answer_group(
    server: Arc<Server>,
    files: Vec<File>,
    options: GroupOptions,
) -> Result<Response, Problem> {
    let loaded = server.loaded()?;
    if let Some(words) = &loaded.grouped {
        return Err(Problem::parameter(words));
    }
    let files: Vec<Arc<File>> = files.into_iter().map(Arc::new).collect();
    let (mut sizes, mut images) = (Vec::with_capacity(files.len()), Vec::new());
    for file in &files {
        let file = Arc::clone(file);
        let read = server.compute(move |server| read(server, &file)).await?;
        sizes.push(read.map(|(size, pixels)| {
            images.push(pixels);
            size
        }));
    }
    if images.len() < SMALLEST_GROUP {
        let first = sizes.into_iter().find_map(Result::err);
        return Err(first.expect("as many were sent"));
    }
    let (sender, receiver) = oneshot::channel();
    server.send(Work::Group(GroupJob { images, answer: sender }))?;
    let grouped = receiver
        .await
        .map_err(|_| Problem::internal())?
        .map_err(|error| Problem::parameter(error.to_string()))?;
    let thresholds = server.levels.of(options.threshold, true);
    let judge = loaded.judge(thresholds, true);
    server
        .compute(move |_| judged_group(&loaded, &judge, files, sizes, grouped, options.map))
        .await?
}

fn judged_group(
    loaded: &Loaded,
    judge: &Judge,
    files: Vec<Arc<File>>,
    sizes: Vec<Result<(u32, u32), Problem>>,
    grouped: Grouped,
    map: bool,
) -> Result<Response, Problem> {
    // Of those that were read, their names.
    let (mut members, mut predictions) = (Vec::new(), grouped.predictions.into_iter());
    let mut images = Vec::with_capacity(files.len());
    for (image, size) in files.iter().zip(sizes) {
        images.push(size.and_then(|size| {
            members.push(&*image.name);
            let found = predictions.next().expect("a prediction for each").and_then(|prediction| {
                let judgement = judge.judge(&prediction, size)?;
                Ok((prediction, judgement))
            });
            let (prediction, judgement) = found.map_err(|e| Problem::answer(&image.name, &e))?;
            let (image, thresholds) = (Arc::clone(image), judge.thresholds);
            Ok(Judged { image, size, prediction, judgement, thresholds, remembered: None, map })
        }));
    }
    let images = files.iter().zip(&images).map(|(file, judged)| match judged {
        Ok(judged) => Member::Found(Box::new(judged.found(loaded))),
        Err(problem) => Member::Failed { path: &file.name, error: problem.words() },
    });
    let found = FoundGroup {
        images: images.collect(),
        duplicates: grouped.duplicates.iter().map(|pair| pair.map(|i| members[i])).collect(),
        odd: grouped.odd.iter().map(|i| members[*i]).collect(),
    };
    Ok(Json(found).into_response())
}
