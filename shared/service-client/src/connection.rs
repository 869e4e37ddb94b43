//! Plain HTTP calls: the connection pool, TLS, the time limit.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use cloud::rehearsal::{self, Effect, Facts, Refused};
use cloud::{Cloud, roots};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::Header;

/// An answer larger than this is none that anybody here waits for: Lambda itself answers no more.
const MAX_ANSWER: usize = 6 * 1024 * 1024;

type Pool = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Calls over a pool of connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Connection {
    client: Pool,
    user_agent: String,
    /// Whether a GET changes nothing there: our own services promise it.
    get_only_reads: bool,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Received {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// All of its body.
    pub body: Bytes,
}

/// A call that got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The URL or a header can not be sent.
    #[error("the request can not be sent: {0}")]
    Request(#[from] http::Error),
    /// No answer within the time limit.
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Failed(String),
    /// Nothing was sent, because this is a rehearsal.
    #[error(transparent)]
    Rehearsed(#[from] Refused),
}

impl Connection {
    /// Calls within AWS: they trust its roots and name the calling function in `User-Agent`.
    #[must_use]
    pub fn new(cloud: &Cloud) -> Self {
        Self {
            get_only_reads: true,
            ..Self::over(&AWS_POOL, cloud)
        }
    }

    /// Calls to hosts of other companies: they trust the roots that Mozilla's browsers trust.
    #[must_use]
    pub fn to_the_web(cloud: &Cloud) -> Self {
        Self::over(&WEB_POOL, cloud)
    }

    /// The same for whoever is no function, such as a test: `name` stands in `User-Agent`.
    #[must_use]
    pub fn to_the_web_as(name: &str) -> Self {
        Self::named(&WEB_POOL, name)
    }

    fn over(pool: &Pool, cloud: &Cloud) -> Self {
        let function = cloud.settings().optional("AWS_LAMBDA_FUNCTION_NAME");
        Self::named(pool, function.as_deref().unwrap_or("unknown"))
    }

    fn named(pool: &Pool, name: &str) -> Self {
        Self {
            client: pool.clone(),
            user_agent: format!("cfmp/{name}"),
            get_only_reads: false,
        }
    }

    fn stop_before(&self, method: &Method, url: &str) -> Result<(), Refused> {
        if self.get_only_reads && *method == Method::GET {
            return Ok(());
        }
        // What stands in the query is the other side's business, and may be a person's.
        let target = url.split('?').next().unwrap_or_default();
        rehearsal::stop_before(|| Effect {
            action: method.to_string(),
            target: target.to_owned(),
            before: Facts::new(),
            after: Facts::new(),
        })
    }

    /// Sends one request and reads the whole answer. Redirects are not followed.
    ///
    /// # Errors
    /// [`ConnectionError`]. Whether the request was acted upon is then unknown.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[Header],
        body: Bytes,
        limit: Duration,
    ) -> Result<Received, ConnectionError> {
        self.stop_before(&method, url)?;
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header(header::USER_AGENT, &self.user_agent);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body))?;
        let answered = async {
            let answer = self.client.request(request).await.map_err(|error| failed(&error))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, MAX_ANSWER)
                .collect()
                .await
                .map_err(|error| ConnectionError::Failed(error.to_string()))?;
            Ok(Received {
                status: head.status,
                headers: head.headers,
                body: body.to_bytes(),
            })
        };
        tokio::time::timeout(limit, answered)
            .await
            .unwrap_or(Err(ConnectionError::TimedOut(limit)))
    }
}

/// One pool for the process: each would read the roots, and shake hands with the same hosts, anew.
static AWS_POOL: LazyLock<Pool> = LazyLock::new(|| {
    let mut trusted = rustls::RootCertStore::empty();
    trusted.add_parsable_certificates(
        roots::AMAZON
            .into_iter()
            .filter_map(|pem| CertificateDer::from_pem_slice(pem).ok()),
    );
    pool(trusted)
});

/// Made by the first call to another company's host: most functions never make one.
static WEB_POOL: LazyLock<Pool> = LazyLock::new(|| {
    pool(rustls::RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    })
});

fn pool(trusted: rustls::RootCertStore) -> Pool {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_root_certificates(trusted).with_no_client_auth());
    let mut plain = HttpConnector::new();
    plain.enforce_http(false);
    plain.set_connect_timeout(Some(Duration::from_millis(1_000)));
    plain.set_nodelay(true);
    let builder = hyper_rustls::HttpsConnectorBuilder::new();
    let connector = match tls {
        Ok(tls) => builder.with_tls_config(tls),
        // Unreachable with the built-in provider; an empty trust store refuses every TLS connection.
        Err(_) => builder.with_tls_config(
            rustls::ClientConfig::builder()
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth(),
        ),
    }
    .https_or_http()
    .enable_http1()
    .wrap_connector(plain);
    Client::builder(TokioExecutor::new()).build(connector)
}

fn failed(error: &hyper_util::client::legacy::Error) -> ConnectionError {
    let cause = std::error::Error::source(error)
        .map(|source| format!(": {source}"))
        .unwrap_or_default();
    ConnectionError::Failed(format!("{error}{cause}"))
}
