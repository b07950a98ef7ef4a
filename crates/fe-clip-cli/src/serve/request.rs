//! From a request to its options, the form of its answer, and its body.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::Query;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use http_body_util::BodyExt;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::banks::BankId;
use super::limits::Limits;
use super::problem::Problem;
use super::upload::Kind;

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
pub(super) fn root_cause(error: &dyn std::error::Error) -> String {
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
