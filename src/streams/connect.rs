//! How streams are reached: the options of S3 and the usual environment go in, clients come out.
//!
//! An endpoint of this machine needs no set-up of AWS: the local pipeline takes the access key of a
//! signature as its token, and whatever else stands in there is signed with a word.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_kinesis::config::StalledStreamProtectionConfig;
use aws_sdk_kinesis::config::retry::RetryConfig;

use super::failure::StreamError;
use crate::store::{
    AccessKeys, OnlySafeHttp, StoreOptions, check, is_loopback_http, shared_config,
};

/// What it takes to reach a stream.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    pub options: StoreOptions,
    /// Of the local pipeline.
    pub token: Option<String>,
    /// How long an answer may take; `None`: as the options say for bodies that stand still.
    pub timeout: Option<Duration>,
}

/// The secret of signatures that nobody checks, and their access key where there is no token.
const WORD: &str = "rawcat";

impl Reach {
    pub(super) async fn kinesis(&self) -> Result<aws_sdk_kinesis::Client, StreamError> {
        let shared = self.shared("AWS_ENDPOINT_URL_KINESIS").await?;
        let mut config = aws_sdk_kinesis::config::Builder::from(&shared)
            .retry_config(RetryConfig::disabled())
            .timeout_config(self.timeouts())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if self.options.no_sign_request {
            config = config.allow_no_auth();
        }
        if !self.options.allow_http {
            config = config.interceptor(OnlySafeHttp);
        }
        Ok(aws_sdk_kinesis::Client::from_conf(config.build()))
    }

    pub(super) async fn firehose(&self) -> Result<aws_sdk_firehose::Client, StreamError> {
        let shared = self.shared("AWS_ENDPOINT_URL_FIREHOSE").await?;
        let mut config = aws_sdk_firehose::config::Builder::from(&shared)
            .retry_config(RetryConfig::disabled())
            .timeout_config(self.timeouts())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if self.options.no_sign_request {
            config = config.allow_no_auth();
        }
        if !self.options.allow_http {
            config = config.interceptor(OnlySafeHttp);
        }
        Ok(aws_sdk_firehose::Client::from_conf(config.build()))
    }

    /// Region, endpoint and credentials. `variable` names an endpoint for one service alone, as all AWS
    /// tools understand it.
    pub(super) async fn shared(&self, variable: &str) -> Result<SdkConfig, StreamError> {
        let mut options = self.options.clone();
        let own_endpoint = std::env::var(variable).ok().filter(|url| !url.is_empty());
        options.endpoint_url = own_endpoint.or(options.endpoint_url);
        check(&options)?;
        let has_keys = options.profile.is_some() || std::env::var_os("AWS_ACCESS_KEY_ID").is_some();
        if options.endpoint_url.as_deref().is_some_and(is_loopback_http)
            && options.access_keys.is_none()
            && (self.token.is_some() || !has_keys)
        {
            options.access_keys = Some(AccessKeys {
                access_key_id: self.token.clone().unwrap_or_else(|| WORD.to_string()),
                secret_access_key: WORD.to_string(),
                session_token: None,
            });
        }
        Ok(shared_config(&options).await)
    }

    fn timeouts(&self) -> TimeoutConfig {
        let read = self.timeout.unwrap_or(self.options.stall_timeout);
        // The read timeout ends with the headers; an answer that begins must end, too.
        TimeoutConfig::builder()
            .connect_timeout(self.options.connect_timeout)
            .read_timeout(read)
            .operation_attempt_timeout(read.saturating_mul(2))
            .build()
    }
}

/// `http://127.0.0.1:7117` of `http://127.0.0.1:7117/PROD/v1`; `None` for another machine.
pub fn origin_of_loopback(url: &str) -> Option<&str> {
    let path = url.strip_prefix("http://")?.find(['/', '?', '#']);
    let origin = path.map_or(url, |at| &url[.."http://".len() + at]);
    is_loopback_http(origin).then_some(origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_local_pipeline_speaks_all_its_protocols_at_one_origin() {
        let origin = "http://127.0.0.1:7117";
        assert_eq!(origin_of_loopback("http://127.0.0.1:7117/PROD/v1"), Some(origin));
        assert_eq!(origin_of_loopback(origin), Some(origin));
        assert_eq!(origin_of_loopback("https://127.0.0.1/x"), None);
        assert_eq!(origin_of_loopback("http://example.org/127.0.0.1"), None);
    }
}
