//! From a request to its answer.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, Response, StatusCode};

use super::Desk;
use super::guard::{self, Stranger};
use crate::observe::{Pages, api, metrics};

const INDEX: &str = include_str!("index.html");
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
const API: &str = "/api/v1/";

type Answer = Response<Full<Bytes>>;

/// Makes one page. Runs where blocking is allowed.
type Render = Box<dyn FnOnce(&Pages, SystemTime) -> Result<String, String> + Send>;

impl Desk {
    /// The answer to this request; a body that came with it is not read.
    pub(super) async fn answer<B>(&self, request: &Request<B>) -> Answer {
        match guard::names_us(request) {
            Err(Stranger::NoHost) if !self.any_host => {
                return text(StatusCode::BAD_REQUEST, "a request names its host once; send one Host header\n");
            }
            Err(Stranger::OtherHost) if !self.any_host => {
                let why = "this Host is not ours; ask for localhost or a loopback address\n";
                return text(StatusCode::FORBIDDEN, why);
            }
            _ => {}
        }
        let path = request.uri().path();
        let page: Option<(&'static str, Render)> = match path {
            "/" | "/livez" | "/readyz" => None,
            "/metrics" => Some((metrics::CONTENT_TYPE, Box::new(|pages, now| or_text(metrics::page(pages, now))))),
            _ => match api_page(path) {
                Some(page) => Some((JSON, Box::new(move |pages, now| or_text(page.json(pages, now))))),
                None => {
                    return text(StatusCode::NOT_FOUND, "there is no such page; the pages are listed at /\n");
                }
            },
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "this page can only be read; use GET\n");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match (path, page) {
            (_, Some((kind, render))) => self.render(kind, render).await,
            ("/", _) => answer(StatusCode::OK, HTML, INDEX),
            ("/livez", _) => text(StatusCode::OK, "alive\n"),
            _ => self.readiness(),
        }
    }

    fn readiness(&self) -> Answer {
        if self.draining.load(Relaxed) {
            return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
        }
        let waiting_for = self.pages.ready.waiting_for();
        if waiting_for.is_empty() {
            return text(StatusCode::OK, "ready\n");
        }
        let mut lines = format!("waiting for:\n  {}\n", waiting_for.join("\n  "));
        // A wait that will not end by itself has its reason here.
        for (name, source) in self.pages.live.control.sources() {
            let detail = source.detail();
            if !detail.is_empty() {
                lines += &format!("source {name}: {detail}\n");
            }
        }
        text(StatusCode::SERVICE_UNAVAILABLE, lines)
    }

    /// Makes a page on a thread where it delays no change on its way to the data plane.
    async fn render(&self, kind: &'static str, render: Render) -> Answer {
        // Nobody closes the semaphore, so there is always a permit to come.
        let permit = self.renders.acquire().await;
        let pages: Arc<Pages> = self.pages.clone();
        let made = tokio::task::spawn_blocking(move || render(&pages, SystemTime::now())).await;
        drop(permit);
        match made.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(page) => answer(StatusCode::OK, kind, page),
            Err(error) => {
                tracing::error!(%error, "a page could not be made");
                text(StatusCode::INTERNAL_SERVER_ERROR, format!("the page could not be made: {error}\n"))
            }
        }
    }
}

fn api_page(path: &str) -> Option<api::Page> {
    let name = path.strip_prefix(API)?;
    api::Page::ALL.into_iter().find(|page| page.name() == name)
}

fn or_text<T, E: Display>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    answer(status, TEXT, body)
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
