//! What the service refused goes in; the [`StoreError`] that says what to do comes out.

use super::super::error::{StoreError, shown};
use super::failure::{BAD_CREDENTIALS, ELSEWHERE, Place, Target};

/// An answer with an error, and its text for messages.
pub(super) struct Reply<'a> {
    pub(super) status: u16,
    pub(super) code: &'a str,
    pub(super) message: &'a str,
    pub(super) text: String,
}

pub(super) fn refusal(
    reply: Reply<'_>,
    place: &Place,
    target: Target<'_>,
    used_region: &str,
    region: Option<String>,
) -> StoreError {
    let url = place.of(target);
    if BAD_CREDENTIALS.contains(&reply.code) {
        return StoreError::BadCredentials {
            url,
            reply: reply.text,
            advice: credentials_advice(reply.code),
        };
    }
    if matches!(reply.status, 301 | 307) || ELSEWHERE.contains(&reply.code) {
        return StoreError::WrongRegion { url, used: used_region.to_string(), region };
    }
    match (target, reply.code, reply.status) {
        (_, "NoSuchBucket", _) | (Target::List { .. }, _, 404) => {
            StoreError::NoBucket { bucket: place.bucket.clone(), endpoint: place.endpoint.clone() }
        }
        (Target::Get { key }, "InvalidObjectState", _) => {
            StoreError::Archived { key: key.to_string(), url }
        }
        (Target::Get { key }, _, 404) => StoreError::Gone { key: key.to_string(), url },
        (Target::Get { key }, _, 412 | 416) => {
            StoreError::Changed { key: key.to_string(), url, detail: reply.text }
        }
        (_, code, status) if status == 403 || code.starts_with("KMS.") => {
            denied(reply, place, target)
        }
        _ => StoreError::Refused { url, reply: reply.text },
    }
}

fn denied(reply: Reply<'_>, place: &Place, target: Target<'_>) -> StoreError {
    let kms = reply.code.starts_with("KMS.") || reply.message.to_ascii_lowercase().contains("kms");
    let url = place.of(target);
    let doing = match target {
        Target::List { .. } => "list",
        Target::Get { .. } => "read",
        Target::Put { .. } => "write",
        Target::Delete { .. } => "delete",
    };
    let (permission, advice) = match target {
        _ if !place.signed => (
            "anonymous access",
            "it is not open to everybody: leave out --no-sign-request and use credentials"
                .to_string(),
        ),
        Target::List { .. } => (
            "s3:ListBucket",
            format!(
                "the credentials need s3:ListBucket on bucket {} for this prefix (and \
                 --request-payer where the owner asks for it)",
                place.bucket
            ),
        ),
        Target::Get { .. } if kms => (
            "kms:Decrypt",
            "the credentials need kms:Decrypt on the key that encrypts the object".to_string(),
        ),
        Target::Get { .. } => (
            "s3:GetObject",
            "the credentials need s3:GetObject on it (and --request-payer where the owner asks \
             for it)"
                .to_string(),
        ),
        Target::Put { .. } if kms => (
            "kms:GenerateDataKey",
            "the credentials need kms:GenerateDataKey and kms:Decrypt on the key that encrypts \
             the bucket"
                .to_string(),
        ),
        Target::Put { .. } => (
            "s3:PutObject",
            "the credentials need s3:PutObject on it; `rawcat policy` prints all that is needed"
                .to_string(),
        ),
        Target::Delete { .. } => (
            "s3:DeleteObject",
            "the credentials need s3:DeleteObject on it; `rawcat policy` prints all that is needed"
                .to_string(),
        ),
    };
    StoreError::Denied { doing, url, permission, reply: reply.text, advice }
}

fn credentials_advice(code: &str) -> &'static str {
    match code {
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => {
            "they have expired: log in again (`aws sso login`) or fetch new ones, then run again"
        }
        "RequestTimeTooSkewed" | "RequestExpired" => {
            "this machine's clock is wrong: set it, then run again"
        }
        "SignatureDoesNotMatch" => {
            "the secret key does not belong to the access key: check AWS_SECRET_ACCESS_KEY or the \
             profile"
        }
        _ => "check --profile or AWS_ACCESS_KEY_ID, and --endpoint-url if the keys are not AWS's",
    }
}

pub(super) fn reply_text(status: u16, code: &str, message: &str) -> String {
    let mut text = status.to_string();
    for part in [code, message] {
        if !part.is_empty() && !text.ends_with(part) {
            text.push_str(if text.len() > 3 { ": " } else { " " });
            text.push_str(part.trim_end_matches('.'));
        }
    }
    shown(&text)
}

/// The SDK's chain of causes, without its own vocabulary where a plain sentence says the same.
pub(super) fn credentials_reason(text: &str) -> String {
    if text.contains("no credentials found in chain") {
        return "neither the environment nor a profile, a web identity, the container or the \
                instance gave any"
            .to_string();
    }
    let text = text.strip_prefix("dispatch failure: ").unwrap_or(text);
    let text = text.strip_prefix("other: ").unwrap_or(text);
    if text == "the credential provider was not enabled" {
        return "the profile does not exist or gives none".to_string();
    }
    shown(&text.replace('\n', " "))
}
