//! The platform itself: what API Gateway, Lambda and its Runtime API would do, with a function made for it.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cfmp::cargo_build::Binaries;
use cfmp::{Data, Options, Platform, Source, StartError};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

mod command;
mod simulator;

fn options() -> Options {
    let probe = built().join("probe");
    assert!(probe.is_file(), "cargo test builds {}", probe.display());
    Options {
        template: cfmp::root().join("tests/platform/template.yaml"),
        functions: Source::Built(Binaries::from([("probe".to_owned(), probe)])),
        ..Options::test()
    }
}

/// target/debug/deps/platform-... -> target/debug/examples
fn built() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    this.ancestors().nth(2).unwrap().join("examples")
}

async fn platform() -> Platform {
    Platform::start(options()).await.unwrap()
}

async fn send(request: Request<Bytes>) -> Response<Bytes> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let response = client.request(request.map(Full::new)).await.unwrap();
    let (head, body) = response.into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

async fn call(platform: &Platform, method: &str, path: &str, body: &str) -> Response<Bytes> {
    let request = Request::builder()
        .method(method)
        .uri(format!("{}{path}", platform.base_url()))
        .header("content-type", "application/json")
        .body(Bytes::from(body.to_owned()))
        .unwrap();
    send(request).await
}

async fn invoke(platform: &Platform, function: &str, wish: Value) -> Response<Bytes> {
    call(
        platform,
        "POST",
        &format!("/2015-03-31/functions/{function}/invocations"),
        &wish.to_string(),
    )
    .await
}

fn body(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_reaches_its_function_as_an_event_and_its_answer_is_inferred() {
    let platform = platform().await;
    let response = call(&platform, "PUT", "/api/probe/?a=1&a=2", "{}").await;
    assert_eq!(response.status(), StatusCode::OK);
    let event = body(&response);
    assert_eq!(event["routeKey"], "ANY /api/probe");
    assert_eq!(event["rawPath"], "/api/probe");
    assert_eq!(event["queryStringParameters"]["a"], "1,2");

    let event = body(&call(&platform, "GET", "/api/probe/a%20b", "").await);
    assert_eq!(event["routeKey"], "GET /api/probe/{id}");
    assert_eq!(event["pathParameters"]["id"], "a b");

    let event = body(&call(&platform, "POST", "/api/probe/7", "{}").await);
    assert_eq!(event["routeKey"], "$default");

    let wish = json!({"do": "answer", "with": {"statusCode": 418, "body": "short", "headers": {"x-kind": "pot"}}});
    let response = call(&platform, "POST", "/api/probe", &wish.to_string()).await;
    assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(response.headers()["x-kind"], "pot");
    assert_eq!(response.body().as_ref(), b"short");
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_edge_a_trailing_slash_is_another_path() {
    let platform = Platform::start(Options {
        edge: false,
        ..options()
    })
    .await
    .unwrap();
    let event = body(&call(&platform, "PUT", "/api/probe/", "{}").await);
    assert_eq!(event["routeKey"], "$default");
    platform.stop().await;
}

/// Failing in any way costs one request, not the function.
#[tokio::test(flavor = "multi_thread")]
async fn a_failing_function_is_a_500_and_works_again() {
    let platform = platform().await;
    for wish in ["fail", "panic", "exit", "hang", "grow"] {
        let response = call(&platform, "POST", "/api/probe", &json!({"do": wish}).to_string()).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "{wish}");
        assert_eq!(body(&response), json!({"message": "Internal Server Error"}));
        let response = call(&platform, "POST", "/api/probe", "{}").await;
        assert_eq!(response.status(), StatusCode::OK, "after {wish}");
    }
    let malformed = json!({"do": "answer", "with": {"statusCode": "nonsense"}});
    let response = call(&platform, "POST", "/api/probe", &malformed.to_string()).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(platform.functions().running(), 0);
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_invoke_api_tells_answers_from_errors() {
    let platform = platform().await;
    let looked = invoke(&platform, "ProbeFunction", json!({"do": "look"})).await;
    assert_eq!(looked.status(), StatusCode::OK);
    assert!(!looked.headers().contains_key("x-amz-function-error"));
    let looked = body(&looked);
    assert_eq!(
        looked["arn"],
        "arn:aws:lambda:us-east-1:000000000000:function:ProbeFunction"
    );
    assert_eq!(looked["environment"]["GREETING"], "hello");
    assert_eq!(looked["environment"]["AWS_ACCESS_KEY_ID"], "ProbeFunction");
    assert_eq!(
        looked["environment"]["HOME"],
        Value::Null,
        "the developer's environment is not shown"
    );
    assert!(looked["trace"].as_str().unwrap().starts_with("Root=1-"));
    let left = looked["deadline"].as_i64().unwrap() - platform.clock().now_ms();
    assert!((-500..=1_000).contains(&left), "{left}");

    for (wish, error_type) in [
        ("panic", "any"),
        ("exit", "Runtime.ExitError"),
        ("hang", "Sandbox.Timedout"),
        ("grow", "Function.ResponseSizeTooLarge"),
    ] {
        let response = invoke(&platform, "ProbeFunction", json!({"do": wish})).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["x-amz-function-error"], "Unhandled");
        let reported = body(&response)["errorType"].as_str().unwrap().to_lowercase();
        assert!(reported.contains(&error_type.to_lowercase()), "{wish}: {reported}");
    }
    let response = invoke(&platform, "StillbornFunction", json!({})).await;
    assert_eq!(response.headers()["x-amz-function-error"], "Unhandled");

    assert_eq!(
        invoke(&platform, "nobody", json!({})).await.status(),
        StatusCode::NOT_FOUND
    );
    let path = "/2015-03-31/functions/lonely/invocations";
    assert_eq!(
        call(&platform, "POST", path, "no json").await.status(),
        StatusCode::BAD_REQUEST
    );
    let request = Request::post(format!("{}{path}", platform.base_url()))
        .header("x-amz-invocation-type", "Event")
        .body(Bytes::from_static(br#"{"do": "log"}"#))
        .unwrap();
    assert_eq!(send(request).await.status(), StatusCode::ACCEPTED);
    let logged = || {
        platform
            .logs()
            .of(Some("LonelyFunction"))
            .into_iter()
            .map(|line| line.text)
            .collect::<Vec<_>>()
    };
    let began = Instant::now();
    while logged().len() < 2 && began.elapsed() < Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut lines = logged();
    lines.sort();
    assert_eq!(lines, ["said on stderr", "said on stdout"]);
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_does_one_thing_at_a_time_and_several_work_side_by_side() {
    let platform = platform().await;
    let pids = |function: &'static str| {
        let platform = &platform;
        async move {
            let wishes = (0..6).map(|_| invoke(platform, function, json!({"do": "wait"})));
            let answers = futures::future::join_all(wishes).await;
            let mut pids: Vec<u64> = answers
                .iter()
                .map(|answer| body(answer)["pid"].as_u64().unwrap_or_else(|| panic!("{answer:?}")))
                .collect();
            pids.sort_unstable();
            pids.dedup();
            pids.len()
        }
    };
    assert_eq!(pids("lonely").await, 1);
    assert_eq!(pids("ProbeFunction").await, 6);
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_a_413() {
    let platform = platform().await;
    // 5 MB of bytes become 6.7 MB of base64, which no function takes.
    for (size, content_type) in [
        (7, "application/json"),
        (5, "application/octet-stream"),
        (11, "text/plain"),
        (20, "application/octet-stream"),
    ] {
        let request = Request::post(format!("{}/api/probe", platform.base_url()))
            .header("content-type", content_type)
            .body(Bytes::from(vec![b' '; size * 1024 * 1024]))
            .unwrap();
        assert_eq!(send(request).await.status(), StatusCode::PAYLOAD_TOO_LARGE, "{size} MB");
    }
    let request = Request::get(format!("{}/api/probe", platform.base_url()))
        .header("x-long", "x".repeat(11_000))
        .body(Bytes::new())
        .unwrap();
    assert_eq!(
        send(request).await.status(),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    );
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_answers_preflights_itself() {
    let platform = platform().await;
    let preflight = |origin: &'static str| {
        Request::options(format!("{}/api/probe", platform.base_url()))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .body(Bytes::new())
            .unwrap()
    };
    let friend = send(preflight("https://cfmp.test")).await;
    assert_eq!(friend.status(), StatusCode::NO_CONTENT);
    assert_eq!(friend.headers()["access-control-allow-origin"], "https://cfmp.test");
    assert_eq!(friend.headers()["access-control-allow-methods"], "GET,POST");
    let stranger = send(preflight("https://evil.test")).await;
    assert!(!stranger.headers().contains_key("access-control-allow-origin"));
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_moves_forward_and_functions_follow() {
    let platform = platform().await;
    let before = platform.clock().now_ms();
    let moved = call(&platform, "POST", "/_local/clock", r#"{"advance_ms": 3600000}"#).await;
    assert!(body(&moved)["now_ms"].as_i64().unwrap() >= before + 3_600_000);
    let looked = body(&invoke(&platform, "probe", json!({"do": "look"})).await);
    let offset = std::fs::read_to_string(looked["environment"]["CLOCK_OFFSET_FILE"].as_str().unwrap()).unwrap();
    assert_eq!(offset, "3600000");
    let refused = call(&platform, "POST", "/_local/clock", r#"{"advance_ms": -1}"#).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_can_be_read() {
    let platform = platform().await;
    let request = Request::get(format!("{}/api/probe/7", platform.base_url()))
        .header("user-agent", "cfmp/lonely")
        .body(Bytes::new())
        .unwrap();
    send(request).await;
    let calls = body(&call(&platform, "GET", "/_local/calls?function=lonely", "").await);
    assert_eq!(calls["calls"][0]["target"], "http:GET /api/probe/7");
    assert_eq!(calls["calls"][0]["resource"], "GET /api/probe/{id}");
    let events = body(
        &call(
            &platform,
            "GET",
            "/_local/events?kind=invocation&function=ProbeFunction",
            "",
        )
        .await,
    );
    assert_eq!(events["events"][0]["detail"]["outcome"], "answered");
    assert_eq!(events["events"][0]["detail"]["cold"], true);
    for path in [
        "health",
        "routes",
        "mails",
        "queues",
        "dead-letters",
        "pending",
        "permissions",
        "logs",
        "clock",
    ] {
        let response = call(&platform, "GET", &format!("/_local/{path}"), "").await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
    platform.settle(Duration::from_secs(5)).await.unwrap();
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_process_outlives_the_platform() {
    let platform = platform().await;
    let pid = |looked: Response<Bytes>| PathBuf::from(format!("/proc/{}", body(&looked)["pid"]));
    let stopped = pid(invoke(&platform, "probe", json!({"do": "look"})).await);
    platform.stop().await;
    assert!(!stopped.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_started_says_why_in_one_line() {
    let first = platform().await;
    let port: u16 = first.base_url().rsplit(':').next().unwrap().parse().unwrap();
    let taken = Platform::start(Options { port, ..options() }).await.unwrap_err();
    assert!(matches!(taken, StartError::Port { .. }), "{taken}");
    first.stop().await;

    let file = tempfile::NamedTempFile::new().unwrap();
    let data = Data::Folder(file.path().join("data"));
    let unwritable = Platform::start(Options { data, ..options() }).await.unwrap_err();
    assert!(matches!(unwritable, StartError::Data { .. }), "{unwritable}");

    let folder = tempfile::tempdir().unwrap();
    let data = Data::Folder(folder.path().join("data"));
    let first = Platform::start(Options {
        data: data.clone(),
        ..options()
    })
    .await
    .unwrap();
    let second = Platform::start(Options {
        data: data.clone(),
        ..options()
    })
    .await
    .unwrap_err();
    assert!(matches!(second, StartError::DataInUse(_)), "{second}");
    first.stop().await;
    Platform::start(Options { data, ..options() })
        .await
        .unwrap()
        .stop()
        .await;

    let template = folder.path().join("template.yaml");
    for (text, refusal) in [
        (
            "Resources: {A: {Type: AWS::EC2::Instance}}",
            "template: A: the type AWS::EC2::Instance is not understood",
        ),
        ("Resources: [", "template: "),
    ] {
        std::fs::write(&template, text).unwrap();
        let refused = Platform::start(Options {
            template: template.clone(),
            ..options()
        })
        .await
        .unwrap_err()
        .to_string();
        assert!(refused.starts_with(refusal) && !refused.contains('\n'), "{refused}");
    }
    let built = Source::Built(Binaries::new());
    let missing = Platform::start(Options {
        functions: built,
        ..options()
    })
    .await
    .unwrap_err();
    assert!(matches!(missing, StartError::NoSuchBinary { .. }), "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_function_is_started_anew() {
    let folder = tempfile::tempdir().unwrap();
    let binary = folder.path().join("probe");
    let build = || {
        // As cargo does: another file takes the name.
        let next = folder.path().join("next");
        std::fs::copy(built().join("probe"), &next).unwrap();
        std::fs::rename(next, &binary).unwrap();
    };
    build();
    let functions = Source::Built(Binaries::from([("probe".to_owned(), binary.clone())]));
    let platform = Platform::start(Options { functions, ..options() }).await.unwrap();
    let mut pids = Vec::new();
    for rebuilt in [false, false, true] {
        if rebuilt {
            build();
        }
        pids.push(body(&invoke(&platform, "lonely", json!({"do": "look"})).await)["pid"].clone());
    }
    assert_eq!(pids[0], pids[1]);
    assert_ne!(pids[1], pids[2]);
    platform.stop().await;
}
