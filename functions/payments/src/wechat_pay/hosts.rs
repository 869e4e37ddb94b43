//! Where WeChat Pay is reached.

use cloud::settings::SettingError;
use http::Uri;

/// The base URLs, the one to use first, first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hosts(Vec<String>);

impl Hosts {
    /// `base` and, where the first can not be reached, `backup`; each with the name of its setting. Only the local stage may
    /// do without TLS.
    pub(super) fn new(
        base: (&'static str, &str),
        backup: Option<(&'static str, &str)>,
        stage: &str,
    ) -> Result<Self, SettingError> {
        let url = |(name, url)| checked(url, stage).map_err(|reason| wrong(name, reason));
        [Some(base), backup]
            .into_iter()
            .flatten()
            .map(url)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Their URLs of `path`, which begins with a slash and has the query with it.
    pub(super) fn urls(&self, path: &str) -> impl Iterator<Item = String> {
        self.0.iter().map(move |base| format!("{base}{path}"))
    }
}

/// The path of `url` with its query: what is signed. A base URL may have a path of its own.
pub(super) fn signed_path(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    uri.path_and_query().map(|path| path.as_str().to_owned())
}

fn checked(url: &str, stage: &str) -> Result<String, &'static str> {
    let uri: Uri = url.parse().map_err(|_| "it is no URL")?;
    if uri.host().is_none_or(str::is_empty) {
        return Err("it names no host");
    }
    if uri.query().is_some() || url.contains('#') {
        return Err("it must have no query and no fragment");
    }
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if stage == "local" => {}
        _ => return Err("it must begin with https://"),
    }
    Ok(url.trim_end_matches('/').to_owned())
}

pub(super) fn wrong(name: &'static str, reason: &str) -> SettingError {
    SettingError::Wrong {
        name,
        reason: reason.to_owned(),
    }
}
