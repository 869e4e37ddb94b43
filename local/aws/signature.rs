//! The part of a SigV4 signature that says who calls what.

use http::HeaderMap;
use http::header::AUTHORIZATION;

/// The credential scope of a signed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Access key id.
    pub access_key: String,
    /// Signing name of the service, e.g. `dynamodb`.
    pub service: String,
}

impl Credential {
    /// Reads `AWS4-HMAC-SHA256 Credential=<key>/<date>/<region>/<service>/aws4_request, ...`; `None` where the request
    /// is not signed like that.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let authorization = headers
            .get(AUTHORIZATION)?
            .to_str()
            .ok()?
            .strip_prefix("AWS4-HMAC-SHA256")?;
        let credential = authorization
            .split(',')
            .find_map(|part| part.trim().strip_prefix("Credential="))?;
        let mut parts = credential.rsplit('/');
        let (Some("aws4_request"), Some(service)) = (parts.next(), parts.next()) else {
            return None;
        };
        let access_key = credential.split('/').next()?;
        Some(Self {
            access_key: access_key.to_owned(),
            service: service.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(authorization: &'static str) -> Option<Credential> {
        Credential::of(&HeaderMap::from_iter([(AUTHORIZATION, authorization.parse().unwrap())]))
    }

    #[test]
    fn the_credential_scope_names_caller_and_service() {
        let signed = "AWS4-HMAC-SHA256 Credential=GetOrderFunction/20260131/us-east-1/dynamodb/aws4_request, \
                      SignedHeaders=host;x-amz-date, Signature=00";
        let expected = Credential {
            access_key: "GetOrderFunction".to_owned(),
            service: "dynamodb".to_owned(),
        };
        assert_eq!(credential(signed), Some(expected));
    }

    #[test]
    fn other_authorizations_are_none() {
        assert_eq!(credential("Bearer abc"), None);
        assert_eq!(credential("AWS4-HMAC-SHA256 Credential=x, Signature=00"), None);
    }
}
