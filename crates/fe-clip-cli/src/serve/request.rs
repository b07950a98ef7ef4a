//! From the bytes of a request to images and options.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Multipart, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use fe_clip::group::SMALLEST_GROUP;
use http_body_util::BodyExt;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::banks::BankId;
use super::limits::{GROUP, Limits, NORMALS};
use super::problem::Problem;

/// Parameters of `POST /v1/detect`, all of them optional.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Options {
    /// Images with at least this score are labelled anomalous; pixels likewise make regions.
    pub(super) threshold: Option<f64>,
    /// Whether the JSON holds the map.
    pub(super) map: bool,
    /// Normal images that were sent before.
    pub(super) normals: Option<String>,
    /// What results and errors call an image sent as a raw body.
    pub(super) name: Option<String>,
}

/// Parameters of `POST /v1/group`, all of them optional.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GroupOptions {
    /// As of [`Options`].
    pub(super) threshold: Option<f64>,
    /// Whether the JSON holds the maps.
    pub(super) map: bool,
}

impl GroupOptions {
    /// Reads the query of an address.
    pub(super) fn parse(uri: &Uri) -> Result<Self, Problem> {
        let options: Self = query(uri)?;
        check_threshold(options.threshold)?;
        Ok(options)
    }
}

fn query<T: serde::de::DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    let Query(options) = Query::<T>::try_from_uri(uri)
        .map_err(|e| Problem::parameter(format!("in the query: {}", root_cause(&e))))?;
    Ok(options)
}

fn check_threshold(threshold: Option<f64>) -> Result<(), Problem> {
    match threshold {
        Some(x) if !(0.0..=1.0).contains(&x) => {
            Err(Problem::parameter(format!("threshold: expected a number in [0, 1], got {x}")))
        }
        _ => Ok(()),
    }
}

impl Options {
    /// Reads the query of an address.
    pub(super) fn parse(uri: &Uri) -> Result<Self, Problem> {
        let options: Self = query(uri)?;
        check_threshold(options.threshold)?;
        if let Some(name) = &options.name
            && !(1..=255).contains(&name.chars().count())
        {
            return Err(Problem::parameter("name: expected 1 to 255 characters"));
        }
        Ok(options)
    }

    /// The name of the normal images that were sent before.
    pub(super) fn bank(&self) -> Result<Option<BankId>, Problem> {
        let Some(text) = &self.normals else { return Ok(None) };
        let id = BankId::parse(text).ok_or_else(|| {
            Problem::parameter("normals: expected 32 hexadecimal digits from an earlier answer")
        })?;
        Ok(Some(id))
    }
}

/// The forms of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Png,
}

impl Form {
    /// The form that the client likes best.
    pub(super) fn accepted(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut quality = [None::<f32>; 2]; // of JSON and PNG
        let mut specific = [0; 2];
        let mut any = false;
        let values = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok());
        for range in values.flat_map(|value| value.split(',')) {
            let mut pieces = range.split(';').map(str::trim);
            let kind = pieces.next().unwrap_or_default().to_ascii_lowercase();
            if kind.is_empty() {
                continue;
            }
            any = true;
            let q = pieces.find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q=")));
            let q = q.map_or(1.0, |q| q.parse().unwrap_or(0.0));
            for (form, [whole, half]) in
                [["application/json", "application/*"], ["image/png", "image/*"]].iter().enumerate()
            {
                let weight = match kind.as_str() {
                    k if k == *whole => 3,
                    k if k == *half => 2,
                    "*/*" => 1,
                    _ => 0,
                };
                if weight > specific[form] {
                    (specific[form], quality[form]) = (weight, Some(q));
                }
            }
        }
        let [json, png] = quality.map(|q| q.unwrap_or(0.0));
        match (any, json > 0.0 || png > 0.0) {
            (false, _) => Ok(Self::Json),
            (true, true) if png > json => Ok(Self::Png),
            (true, true) => Ok(Self::Json),
            (true, false) => Err(Problem::new(
                StatusCode::NOT_ACCEPTABLE,
                "there are answers of application/json and image/png",
            )),
        }
    }
}

/// A file that was sent.
pub(super) struct File {
    pub(super) name: String,
    pub(super) bytes: Bytes,
}

/// What was sent to be judged, and against what.
pub(super) struct Upload {
    pub(super) image: File,
    pub(super) normals: Vec<File>,
}

impl Upload {
    /// Takes a body apart: a form with the part `image` and any number of parts `normals`, or the
    /// image itself.
    pub(super) async fn read(
        parts: Parts,
        body: Bytes,
        options: &Options,
    ) -> Result<Self, Problem> {
        match Kind::of(&parts.headers)? {
            Kind::Image => {
                let name = options.name.as_deref().unwrap_or("image").to_owned();
                Ok(Self { image: File { name, bytes: body }, normals: Vec::new() })
            }
            Kind::Form => Self::read_form(Request::from_parts(parts, Body::from(body))).await,
        }
    }

    async fn read_form(request: Request) -> Result<Self, Problem> {
        let mut form = SentForm::open(request).await?;
        let (mut image, mut normals) = (None, Vec::new());
        while let Some((part, file)) = form.next().await? {
            match part.as_str() {
                "image" if image.is_some() => {
                    return Err(Problem::parameter("expected one part named image, got several"));
                }
                "image" => image = Some(file),
                "normals" if normals.len() == NORMALS => {
                    return Err(Problem::parameter(format!(
                        "expected at most {NORMALS} parts named normals"
                    )));
                }
                "normals" => normals.push(file),
                other => {
                    return Err(Problem::parameter(format!(
                        "expected parts named image and normals, got {other:?}"
                    )));
                }
            }
        }
        let image = image.ok_or_else(|| Problem::parameter("expected a part named image"))?;
        Ok(Self { image, normals })
    }
}

/// Takes a form of parts `images` apart.
pub(super) async fn read_group(parts: Parts, body: Bytes) -> Result<Vec<File>, Problem> {
    if let Kind::Image = Kind::of(&parts.headers)? {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "expected multipart/form-data with parts named images",
        ));
    }
    let mut form = SentForm::open(Request::from_parts(parts, Body::from(body))).await?;
    let mut images = Vec::new();
    while let Some((part, file)) = form.next().await? {
        if part != "images" {
            return Err(Problem::parameter(format!("expected parts named images, got {part:?}")));
        }
        if images.len() == GROUP {
            return Err(Problem::parameter(format!("expected at most {GROUP} images")));
        }
        images.push(file);
    }
    if images.len() < SMALLEST_GROUP {
        return Err(Problem::parameter(format!(
            "expected at least {SMALLEST_GROUP} parts named images, got {}",
            images.len()
        )));
    }
    Ok(images)
}

/// A form, part by part.
struct SentForm(Multipart);

impl SentForm {
    async fn open(request: Request) -> Result<Self, Problem> {
        Ok(Self(Multipart::from_request(request, &()).await.map_err(|e| broken_form(&e))?))
    }

    /// The next part's name, and its file.
    async fn next(&mut self) -> Result<Option<(String, File)>, Problem> {
        let Some(field) = self.0.next_field().await.map_err(|e| broken_form(&e))? else {
            return Ok(None);
        };
        let part = field.name().unwrap_or_default().to_owned();
        let name = field.file_name().unwrap_or(&part).to_owned();
        let bytes = field.bytes().await.map_err(|e| broken_form(&e))?;
        Ok(Some((part, File { name, bytes })))
    }
}

fn broken_form(error: &dyn std::error::Error) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("broken form: {}", root_cause(error)))
}

/// What a body claims to be.
enum Kind {
    Form,
    Image,
}

impl Kind {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(Self::Image) };
        let value = value.to_str().unwrap_or_default();
        let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if kind == "multipart/form-data" {
            Ok(Self::Form)
        } else if kind.starts_with("image/") || kind == "application/octet-stream" {
            Ok(Self::Image)
        } else {
            Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!(
                    "content type {value:?}: expected multipart/form-data, image/* or \
                     application/octet-stream"
                ),
            ))
        }
    }
}

/// Refuses a body by its head alone.
pub(super) fn check_head(headers: &HeaderMap, limits: &Limits) -> Result<(), Problem> {
    Kind::of(headers)?;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > limits.body as u64) {
        return Err(Problem::body_too_large(limits.body));
    }
    Ok(())
}

/// A body, and its share of the memory set aside for bodies.
pub(super) struct Received {
    pub(super) bytes: Bytes,
    pub(super) share: Option<OwnedSemaphorePermit>,
}

/// Unit of the memory set aside for bodies, in bytes.
pub(super) const SHARE: usize = 64 << 10;

/// Reads a body within the limits; `memory` counts the free units of [`SHARE`] bytes.
pub(super) async fn receive(
    mut body: Body,
    limits: &Limits,
    memory: &Arc<Semaphore>,
) -> Result<Received, Problem> {
    let read = async {
        let (mut bytes, mut share) = (Vec::new(), None::<OwnedSemaphorePermit>);
        while let Some(frame) = body.frame().await {
            let frame = frame
                .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the body is cut short"))?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > limits.body {
                return Err(Problem::body_too_large(limits.body));
            }
            bytes.extend_from_slice(&data);
            let held = share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            let more = bytes.len().div_ceil(SHARE).saturating_sub(held);
            if more > 0 {
                let more = Arc::clone(memory)
                    .try_acquire_many_owned(more as u32)
                    .map_err(|_| Problem::busy())?;
                match &mut share {
                    Some(share) => share.merge(more),
                    None => share = Some(more),
                }
            }
        }
        Ok(Received { bytes: Bytes::from(bytes), share })
    };
    tokio::time::timeout(limits.time, read).await.unwrap_or_else(|_| {
        Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body did not arrive within {} s", limits.time.as_secs()),
        ))
    })
}

/// The innermost reason of an error; the outer ones repeat one another.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(accept: &[&str]) -> Option<Form> {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(header::ACCEPT, value.parse().unwrap());
        }
        Form::accepted(&headers).ok()
    }

    #[test]
    fn the_form_is_the_one_that_the_client_likes_best() {
        assert_eq!(form(&[]), Some(Form::Json));
        assert_eq!(form(&["*/*"]), Some(Form::Json));
        assert_eq!(form(&["image/png"]), Some(Form::Png));
        assert_eq!(form(&["text/html, image/*;q=0.8"]), Some(Form::Png));
        assert_eq!(form(&["image/png;q=0.5", "application/json;q=0.6"]), Some(Form::Json));
        assert_eq!(form(&["*/*, application/json;q=0"]), Some(Form::Png));
        assert_eq!(form(&["image/png;q=0, */*"]), Some(Form::Json));
        assert_eq!(form(&["text/html"]), None);
        assert_eq!(form(&["application/json;q=0"]), None);
    }

    #[test]
    fn options_are_checked() {
        let parse = |query: &str| Options::parse(&format!("/v1/detect?{query}").parse().unwrap());
        assert_eq!(parse("threshold=0.25&map=true").unwrap().threshold, Some(0.25));
        for bad in ["threshold=2", "threshold=NaN", "threshold=x", "map=1", "other=1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse("normals=12").unwrap().bank().is_err());
    }
}
