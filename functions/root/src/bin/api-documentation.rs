//! `GET /api/openapi.json`, `GET /api/docs` and its files: what this API is, for programs and for people.

use std::process::ExitCode;
use std::sync::Arc;

use http_function::{Api, Call, Method, Problem, Reply, StatusCode, operation};
use root::DOCUMENT;
use utoipa_swagger_ui::Config;

const DOCUMENT_PATH: &str = "/api/openapi.json";
const PAGE_PATH: &str = "/api/docs";

fn main() -> ExitCode {
    http_function::open(
        |_| async { Ok(Config::from(DOCUMENT_PATH).validator_url("none")) },
        api_documentation,
        describe,
    )
}

async fn api_documentation(page: Arc<Config<'static>>, call: Call) -> Result<Reply, Problem> {
    if call.path() == DOCUMENT_PATH {
        return Reply::file("application/json", DOCUMENT);
    }
    let name: String = call.path_parameter("file")?;
    let file = utoipa_swagger_ui::serve(&name, Arc::new(page.as_ref().clone()))
        .map_err(|error| Problem::internal(error.to_string()))?
        .ok_or_else(|| Problem::not_found("file"))?;
    if !name.is_empty() {
        return Reply::file(&file.content_type, file.bytes.into_owned());
    }
    // The page names its files relative to a folder, and is served with and without a slash at its end.
    let html =
        String::from_utf8_lossy(&file.bytes).replacen("<head>", &format!("<head><base href=\"{PAGE_PATH}/\">"), 1);
    Ok(Reply::page(StatusCode::OK, html))
}

fn describe(api: &mut Api) {
    api.add(
        operation([Method::GET], DOCUMENT_PATH, "This document")
            .bare::<serde_json::Value>(StatusCode::OK, "OpenAPI 3.1"),
    );
    api.add(
        operation([Method::GET], PAGE_PATH, "This document as a page").answers_in(
            StatusCode::OK,
            "text/html; charset=utf-8",
            "The page",
        ),
    );
    api.add(
        operation([Method::GET], "/api/docs/{file}", "A file of the page")
            .path::<String>("file", "Its name")
            .answers_in(StatusCode::OK, "*/*", "The file")
            .refuses(StatusCode::NOT_FOUND, "`not-found`: the page has no such file."),
    );
}
