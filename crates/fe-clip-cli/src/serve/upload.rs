//! From the body of a request to images, and to where to look.

use std::path::Path;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use fe_clip::Scope;
use fe_clip::group::SMALLEST_GROUP;

use super::limits::{GROUP, NORMALS, POLYGONS};
use super::problem::Problem;
use super::request::{Options, root_cause};

/// A file that was sent.
pub(super) struct File {
    pub(super) name: String,
    pub(super) bytes: Bytes,
}

/// What was sent to be judged, against what, and where to look.
pub(super) struct Upload {
    pub(super) image: File,
    pub(super) normals: Vec<File>,
    pub(super) places: Places,
}

/// Where to look, and where not, as files say it.
#[derive(Clone, Default)]
pub(super) struct Places {
    roi: Option<Bytes>,
    ignore: Option<Bytes>,
}

impl Places {
    /// What they say; nothing without any.
    pub(super) fn scope(&self, limits: &data::Limits) -> Result<Option<Scope>, Problem> {
        let Self { roi, ignore } = self;
        if roi.is_none() && ignore.is_none() {
            return Ok(None);
        }
        fn part<'a>(name: &'a str, bytes: &'a Option<Bytes>) -> Option<(&'a Path, &'a [u8])> {
            bytes.as_deref().map(|bytes| (Path::new(name), bytes))
        }
        let scope = Scope::of_bytes(part("roi", roi), part("ignore", ignore), limits);
        scope.map(Some).map_err(|error| Problem::parameter(error.to_string()))
    }
}

impl Upload {
    /// Takes a body apart: a form with the part `image`, any number of parts `normals` and perhaps
    /// `roi` and `ignore`, or the image itself.
    pub(super) async fn read(
        parts: Parts,
        body: Bytes,
        options: &Options,
    ) -> Result<Self, Problem> {
        match Kind::of(&parts.headers)? {
            Kind::Image => {
                let name = options.name.as_deref().unwrap_or("image").to_owned();
                let image = File { name, bytes: body };
                Ok(Self { image, normals: Vec::new(), places: Places::default() })
            }
            Kind::Form => Self::read_form(Request::from_parts(parts, Body::from(body))).await,
        }
    }

    async fn read_form(request: Request) -> Result<Self, Problem> {
        let mut form = SentForm::open(request).await?;
        let (mut image, mut normals) = (None, Vec::new());
        let mut places = Places::default();
        while let Some((part, file)) = form.next().await? {
            match part.as_str() {
                "image" => once(&part, &mut image, file)?,
                "roi" => once(&part, &mut places.roi, outlines(&part, file)?)?,
                "ignore" => once(&part, &mut places.ignore, outlines(&part, file)?)?,
                "normals" if normals.len() == NORMALS => {
                    return Err(Problem::parameter(format!(
                        "expected at most {NORMALS} parts named normals"
                    )));
                }
                "normals" => normals.push(file),
                other => {
                    return Err(Problem::parameter(format!(
                        "expected parts named image, normals, roi and ignore, got {other:?}"
                    )));
                }
            }
        }
        let image = image.ok_or_else(|| Problem::parameter("expected a part named image"))?;
        Ok(Self { image, normals, places })
    }
}

/// Takes a part that may be there once.
fn once<T>(part: &str, place: &mut Option<T>, value: T) -> Result<(), Problem> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Problem::parameter(format!("expected one part named {part}, got several"))),
    }
}

/// A mask, or polygons that are not too many to be filled.
fn outlines(part: &str, file: File) -> Result<Bytes, Problem> {
    let is_text = file.bytes.trim_ascii_start().first().is_some_and(|byte| b"{[".contains(byte));
    match is_text && file.bytes.len() > POLYGONS {
        false => Ok(file.bytes),
        true => Err(Problem::parameter(format!("{part}: polygons of more than {POLYGONS} bytes"))),
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
pub(super) enum Kind {
    Form,
    Image,
}

impl Kind {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
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
