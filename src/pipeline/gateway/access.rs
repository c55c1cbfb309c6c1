//! Who may put and read records, where a token is set. Pure.
//!
//! Clients of AWS send no token of their own. What they do send in plain text is the id of their access key,
//! so that for them the token is that id.

use std::fmt;

use axum::http::{HeaderMap, header};

/// What requests must carry. It is in no debug text.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    pub fn new(text: String) -> Token {
        Token(text)
    }

    /// In a time that says nothing of where the two differ.
    fn is(&self, given: &[u8]) -> bool {
        let own = self.0.as_bytes();
        own.len() == given.len() && own.iter().zip(given).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A request without the token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "the token is missing or wrong: send it as Authorization: Bearer TOKEN or as x-api-key, or sign with \
     it as the id of the access key"
)]
pub struct NoToken;

/// Whether a request may do what it asks for.
pub fn check(token: &Option<Token>, headers: &HeaderMap) -> Result<(), NoToken> {
    let Some(token) = token else { return Ok(()) };
    let authorization = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let bearer = authorization.and_then(|value| {
        let (scheme, token) = value.split_at_checked("bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
    });
    let api_key = headers.get("x-api-key").map(|value| value.as_bytes());
    let access_key = authorization.and_then(|value| scope(value)).map(|(key, _)| key.as_bytes());
    let mut given = [bearer, api_key, access_key].into_iter().flatten();
    given.any(|given| token.is(given)).then_some(()).ok_or(NoToken)
}

/// Names of this machine that a request without a token may ask for. A page of the web that made its own
/// name lead here would ask for that name.
#[derive(Clone, Copy, Debug)]
pub struct Hosts;

/// A request for a name that is none of this machine's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the host is none of this machine's: ask for 127.0.0.1 or localhost, or set RAWCAT_TOKEN")]
pub struct OtherHost;

impl Hosts {
    pub fn check(self, headers: &HeaderMap) -> Result<(), OtherHost> {
        let Some(host) = headers.get(header::HOST) else { return Ok(()) };
        let host = host.to_str().map_err(|_| OtherHost)?;
        let name = match host.strip_prefix('[') {
            Some(v6) => v6.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        let name = name.to_ascii_lowercase();
        let is_own = name == "localhost"
            || name.ends_with(".localhost")
            || name.parse::<std::net::IpAddr>().is_ok();
        is_own.then_some(()).ok_or(OtherHost)
    }
}

/// The access key and the region that a signature names:
/// `AWS4-HMAC-SHA256 Credential=KEY/20220418/REGION/kinesis/aws4_request, …`.
pub fn scope(authorization: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(authorization).ok()?;
    let credential = text.strip_prefix("AWS4-")?.split("Credential=").nth(1)?;
    let credential = credential.split([',', ' ']).next()?;
    // An access key may have slashes; what stands behind it has none.
    let mut parts = credential.rsplitn(5, '/');
    let region = parts.nth(2)?;
    Some((parts.nth(1)?, region))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_the_web_is_no_name_of_this_machine() {
        for (host, is_own) in [
            ("127.0.0.1:7117", true),
            ("localhost", true),
            ("[::1]:7117", true),
            ("x.localhost:1", true),
            ("evil.example:7117", false),
            ("localhost.evil.example", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            assert_eq!(Hosts.check(&headers).is_ok(), is_own, "{host}");
        }
        assert!(Hosts.check(&HeaderMap::new()).is_ok());
    }

    #[test]
    fn the_token_comes_in_one_of_three_ways() {
        let token = Some(Token::new("a/secret".to_string()));
        let signed = "AWS4-HMAC-SHA256 Credential=a/secret/20220418/ap-northeast-2/kinesis/aws4_request, \
                      SignedHeaders=host, Signature=00";
        for (name, value, is_let_in) in [
            ("authorization", "Bearer a/secret", true),
            ("authorization", "bearer a/secret", true),
            ("authorization", signed, true),
            ("x-api-key", "a/secret", true),
            ("authorization", "Bearer a/secreT", false),
            ("authorization", "a/secret", false),
            ("x-api-key", "", false),
            ("x-other", "a/secret", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            assert_eq!(check(&token, &headers).is_ok(), is_let_in, "{name}: {value}");
            assert_eq!(check(&None, &headers), Ok(()));
        }
        assert_eq!(scope(signed.as_bytes()), Some(("a/secret", "ap-northeast-2")));
        assert_eq!(scope(b"AWS4-HMAC-SHA256 Credential=x"), None);
    }
}
