//! The addresses of the server.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::answer::answer;
use super::answer_group::answer_group;
use super::guard::{guard, harden};
use super::linger::Lingering;
use super::live::watch;
use super::meters::Meters;
use super::problem::Problem;
use super::request::{Form, GroupOptions, Options, check_head, receive};
use super::state::Server;
use super::upload::{Upload, read_group};

/// All routes, guarded and counted.
pub(super) fn router(server: Arc<Server>) -> axum::Router {
    axum::Router::new()
        .route("/", get(page))
        .route("/v1/detect", post(detect))
        .route("/v1/group", post(group))
        .route("/v1/models", get(models))
        .route("/v1/camera", get(watch))
        .route("/healthz", get(|| async { Json(json!({ "status": "alive" })) }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(openapi_document))
        .fallback(|| async { Problem::not_found("there is nothing at this address") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this address has other methods")
        })
        .layer(DefaultBodyLimit::disable()) // `receive` has the limit
        .layer(from_fn_with_state(Arc::clone(&server), guard))
        .layer(from_fn_with_state(Arc::clone(&server), observe))
        .with_state(server)
}

/// Counts a request and adds what every answer has.
async fn observe(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    // Who waits for "100 Continue" sends nothing once refused.
    let waits = request.headers().contains_key(header::EXPECT);
    let request = if waits { request } else { request.map(|body| Body::new(Lingering::new(body))) };
    let mut response = next.run(request).await;
    let route = route.as_ref().map_or("other", MatchedPath::as_str);
    server.meters.request(route, response.status().as_u16(), start.elapsed());
    harden(&server, &mut response);
    response
}

async fn page(State(server): State<Arc<Server>>) -> Html<String> {
    Html(server.page.html.clone())
}

async fn detect(State(server): State<Arc<Server>>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let form = Form::accepted(&parts.headers)?;
    let options = Options::parse(&parts.uri)?;
    check_head(&parts.headers, &server.limits)?;
    server.loaded()?;
    let place = server.place()?;
    let received = receive(body, &server.limits, &server.memory).await?;
    let upload = Upload::read(parts, received.bytes, &options).await?;
    let answered = answer(Arc::clone(&server), upload, options, form);
    let response = in_time(&server, answered).await;
    drop((place, received.share));
    response
}

async fn group(State(server): State<Arc<Server>>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let options = GroupOptions::parse(&parts.uri)?;
    check_head(&parts.headers, &server.limits)?;
    server.loaded()?;
    let place = server.place()?;
    let received = receive(body, &server.limits, &server.memory).await?;
    let images = read_group(parts, received.bytes).await?;
    let answered = answer_group(Arc::clone(&server), images, options);
    let response = in_time(&server, answered).await;
    drop((place, received.share));
    response
}

async fn in_time(
    server: &Server,
    answered: impl Future<Output = Result<Response, Problem>>,
) -> Result<Response, Problem> {
    tokio::time::timeout(server.limits.time, answered)
        .await
        .unwrap_or_else(|_| Err(Problem::unavailable("the answer took too long; try again later")))
}

async fn models(State(server): State<Arc<Server>>) -> Result<Json<Value>, Problem> {
    let loaded = server.loaded()?;
    let model = &loaded.run.model;
    let camera = server.camera.as_ref().map(|camera| &camera.name);
    Ok(Json(json!({ "camera": camera, "models": [{
        "id": model.backbone,
        "image_size": loaded.preprocess.width,
        "threshold": server.levels.default().map(|level| level.image),
        "settings": model,
        "prompts": loaded.run.prompts,
    }]})))
}

async fn ready(State(server): State<Arc<Server>>) -> Result<Json<Value>, Problem> {
    server.loaded()?;
    Ok(Json(json!({ "status": "ready" })))
}

async fn metrics(State(server): State<Arc<Server>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, Meters::CONTENT_TYPE)], server.meters.text())
}

async fn openapi_document(State(server): State<Arc<Server>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], server.openapi.clone())
}

/// The OpenAPI document of this version.
pub(super) fn openapi() -> String {
    let mut document: Value =
        serde_json::from_str(include_str!("openapi.json")).expect("the document is JSON");
    document["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    document.to_string()
}
