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

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(base: &str, backup: Option<&str>, stage: &str) -> Result<Vec<String>, String> {
        let backup = backup.map(|url| ("BACKUP", url));
        let hosts = Hosts::new(("BASE", base), backup, stage).map_err(|error| error.to_string())?;
        Ok(hosts.urls("/v3/x?y=1").collect())
    }

    #[test]
    fn the_second_host_is_tried_after_the_first() {
        let both = hosts(
            "https://api.mch.weixin.qq.com/",
            Some("https://api2.mch.weixin.qq.com"),
            "production",
        );
        let urls = [
            "https://api.mch.weixin.qq.com/v3/x?y=1",
            "https://api2.mch.weixin.qq.com/v3/x?y=1",
        ];
        assert_eq!(both.unwrap(), urls);
        assert_eq!(hosts("https://a", None, "production").unwrap(), ["https://a/v3/x?y=1"]);
    }

    #[test]
    fn only_a_laptop_does_without_tls() {
        assert!(hosts("http://127.0.0.1:1/wechat", None, "local").is_ok());
        for (base, backup) in [("http://a", None), ("https://a", Some("http://a"))] {
            assert!(hosts(base, backup, "production").unwrap_err().contains("https"));
            assert!(hosts(base, backup, "staging").is_err());
        }
        for wrong in [
            "",
            "a",
            "/a",
            "https://",
            "ftp://a",
            "https://a?b=c",
            "https://a#b",
            "https://a b",
        ] {
            assert!(hosts(wrong, None, "local").unwrap_err().contains("BASE"), "{wrong}");
        }
    }

    #[test]
    fn the_path_of_the_base_url_is_signed_too() {
        let url = hosts("http://127.0.0.1:1/wechat/", None, "local").unwrap().remove(0);
        assert_eq!(signed_path(&url).as_deref(), Some("/wechat/v3/x?y=1"));
    }
}
