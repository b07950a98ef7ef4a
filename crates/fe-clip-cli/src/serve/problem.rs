//! Why a request has no result: status code and words.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::limits::RETRY_SECONDS;

/// A refusal. Its body is `{"error": …}`, with `"path"` where one image is the cause.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    path: Option<String>,
    error: String,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    error: &'a str,
}

impl Problem {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, path: None, error: error.into() }
    }

    /// An image that cannot be read, in the words of `fe-clip detect`.
    pub(super) fn image(name: &str, error: &data::Error) -> Self {
        let status = match error {
            data::Error::NotAnImage { .. } | data::Error::Unsupported { .. } => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            data::Error::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self { status, path: Some(name.to_owned()), error: error.to_string() }
    }

    /// An image that the model has no number for.
    pub(super) fn answer(name: &str, error: &fe_clip::Error) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            path: Some(name.to_owned()),
            error: format!("{name}: {error}"),
        }
    }

    /// Why there is no result.
    pub(super) fn words(&self) -> &str {
        &self.error
    }

    /// A parameter or a part of the form that makes no sense.
    pub(super) fn parameter(error: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, error)
    }

    pub(super) fn not_found(error: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, error)
    }

    pub(super) fn body_too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is above the limit of {limit} bytes"),
        )
    }

    pub(super) fn busy() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too many requests are waiting; try again")
    }

    pub(super) fn unavailable(error: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error)
    }

    pub(super) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the server failed on this request")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body { path: self.path.as_deref(), error: &self.error };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_without_a_number_is_named() {
        let error = fe_clip::Error::NoNumber { what: "the score is NaN".into() };
        let problem = Problem::answer("a.png", &error);
        assert_eq!(problem.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(problem.path.as_deref(), Some("a.png"));
        assert!(problem.error.starts_with("a.png: ") && problem.error.contains("NaN"));
    }
}
