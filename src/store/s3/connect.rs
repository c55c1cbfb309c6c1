//! How S3 is reached: options and the usual environment go in, a configured client comes out.
//!
//! Building it makes no request: the region is never asked of the instance metadata service
//! (a bucket that lies elsewhere names its region itself), and credentials are looked up by the
//! first request. Retries are not the SDK's: [`super::retry`] covers bodies too.

use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::identity::IdentityCache;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig, imds};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    Builder, ConfigBag, Credentials, Intercept, RuntimeComponents, SharedCredentialsProvider,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextRef;

use super::super::StoreOptions;
use super::super::error::{StoreError, shown};
use super::super::url::without_user;

/// Where S3 is asked when nobody says where; the bucket's real region is followed from there.
const DEFAULT_REGION: &str = "us-east-1";
/// An `aws sso` or `credential_process` look-up may take so long.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(30);
/// Off EC2 nobody answers at the metadata address: what a machine without credentials waits.
const IMDS_TIMEOUT: Duration = Duration::from_secs(1);
const IMDS_ATTEMPTS: u32 = 2;
const IMDS_WHOLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Checks what can be checked before anything is sent.
pub(crate) fn check(options: &StoreOptions) -> Result<(), StoreError> {
    let Some(endpoint) = &options.endpoint_url else {
        return Ok(());
    };
    let bad = |reason: String| StoreError::BadOption { option: "--endpoint-url", reason };
    let text = shown(&without_user(endpoint));
    let Some((scheme, rest)) = endpoint.split_once("://") else {
        return Err(bad(format!("{text} has no scheme; write https://host:port")));
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(bad(format!(
            "{text} holds a user name or a password; give credentials by --profile or the \
             environment"
        )));
    }
    if authority.is_empty() || !matches!(scheme, "http" | "https") {
        return Err(bad(format!("{text} can't be used; write https://host:port")));
    }
    if options.allow_http || !is_open_http(endpoint) {
        return Ok(());
    }
    Err(StoreError::PlainHttp { endpoint: text })
}

/// True for `http://` to this machine.
pub(crate) fn is_loopback_http(uri: &str) -> bool {
    uri.starts_with("http://") && !is_open_http(uri)
}

/// True for `http://` to anything but this machine.
fn is_open_http(uri: &str) -> bool {
    let Some(rest) = uri.strip_prefix("http://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let host = host.to_ascii_lowercase();
    let loopback = match host.parse::<std::net::IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    };
    !loopback
}

/// Refuses a request over plain HTTP to another machine, wherever its endpoint came from: the
/// environment and profiles can name one too.
#[derive(Debug)]
pub(crate) struct OnlySafeHttp;

/// The error of [`OnlySafeHttp`], to be found again in the SDK's chain of causes.
#[derive(Debug, thiserror::Error)]
#[error("plain http to {endpoint}")]
pub(super) struct OpenHttp {
    pub(super) endpoint: String,
}

impl Intercept for OnlySafeHttp {
    fn name(&self) -> &'static str {
        "OnlySafeHttp"
    }

    fn read_before_signing(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let uri = context.request().uri();
        if !is_open_http(uri) {
            return Ok(());
        }
        let host = uri["http://".len()..].split('/').next();
        Err(Box::new(OpenHttp { endpoint: shown(&format!("http://{}", host.unwrap_or_default())) }))
    }
}

/// Region, timeouts, endpoint and credentials. Reads the environment and the AWS configuration files.
pub(crate) async fn shared_config(options: &StoreOptions) -> SdkConfig {
    let mut profile_region = ProfileFileRegionProvider::builder();
    if let Some(profile) = &options.profile {
        profile_region = profile_region.profile_name(profile);
    }
    let region = RegionProviderChain::first_try(options.region.clone().map(Region::new))
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(profile_region.build())
        .or_else(Region::from_static(DEFAULT_REGION))
        .region()
        .await;

    let timeouts = TimeoutConfig::builder()
        .connect_timeout(options.connect_timeout)
        .read_timeout(options.stall_timeout)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .region(region.clone())
        .timeout_config(timeouts)
        .identity_cache(IdentityCache::lazy().load_timeout(CREDENTIALS_TIMEOUT).build());
    if let Some(profile) = &options.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(endpoint) = &options.endpoint_url {
        loader = loader.endpoint_url(endpoint);
    }
    loader = match options.no_sign_request {
        true => loader.no_credentials(),
        false => loader.credentials_provider(credentials(options, region).await),
    };
    loader.load().await
}

/// The client for a source.
pub(super) async fn client(options: &StoreOptions) -> Client {
    let shared = shared_config(options).await;
    let from_env = std::env::var_os("AWS_ENDPOINT_URL_S3").is_some_and(|url| !url.is_empty());
    let mut config = Builder::from(&shared)
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // Servers other than AWS seldom have a host name for each bucket.
        .force_path_style(shared.endpoint_url().is_some() || from_env);
    if options.no_sign_request {
        config = config.allow_no_auth();
    }
    if !options.allow_http {
        config = config.interceptor(OnlySafeHttp);
    }
    Client::from_conf(config.build())
}

async fn credentials(options: &StoreOptions, region: Option<Region>) -> SharedCredentialsProvider {
    if let Some(keys) = &options.access_keys {
        return SharedCredentialsProvider::new(Credentials::new(
            &keys.access_key_id,
            &keys.secret_access_key,
            keys.session_token.clone(),
            None,
            "rawcat",
        ));
    }
    let config = ProviderConfig::without_region().with_region(region.clone());
    if let Some(profile) = &options.profile {
        // The default chain would prefer credentials in the environment to the profile asked for.
        let provider =
            ProfileFileCredentialsProvider::builder().configure(&config).profile_name(profile);
        return SharedCredentialsProvider::new(provider.build());
    }
    let metadata = imds::Client::builder()
        .configure(&config)
        .connect_timeout(IMDS_TIMEOUT)
        .read_timeout(IMDS_TIMEOUT)
        .operation_attempt_timeout(IMDS_TIMEOUT)
        .operation_timeout(IMDS_WHOLE_TIMEOUT)
        .max_attempts(IMDS_ATTEMPTS)
        .build();
    let chain =
        DefaultCredentialsChain::builder().region(region).configure(config).imds_client(metadata);
    SharedCredentialsProvider::new(chain.build().await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for safe in [
            "http://localhost:9000",
            "http://bucket.localhost:9000/x",
            "http://127.0.0.1",
            "http://127.8.8.8:1/",
            "http://[::1]:9000/bucket",
            "https://example.com",
        ] {
            assert!(!is_open_http(safe), "{safe}");
        }
        for open in [
            "http://example.com",
            "http://localhost.example.com",
            "http://10.0.0.1:9000",
            "http://127.0.0.1@example.com/",
            "http://[2001:db8::1]/",
            "http://",
        ] {
            assert!(is_open_http(open), "{open}");
        }
    }

    #[test]
    fn an_endpoint_is_checked_before_anything_is_sent() {
        let with = |endpoint: &str| StoreOptions {
            endpoint_url: Some(endpoint.to_string()),
            ..StoreOptions::default()
        };
        assert!(check(&with("http://127.0.0.1:9000")).is_ok());
        assert!(check(&with("https://minio.example.com")).is_ok());
        for (endpoint, kind, part) in [
            ("http://minio.example.com", "plain_http", "--allow-http"),
            ("minio:9000", "bad_option", "https://host:port"),
            ("ftp://minio", "bad_option", "https://host:port"),
            ("https://", "bad_option", "https://host:port"),
            ("https://me:s3cr3t@minio", "bad_option", "--profile"),
        ] {
            let error = check(&with(endpoint)).unwrap_err();
            assert_eq!(error.kind(), kind, "{endpoint}");
            let text = error.to_string();
            assert!(text.contains(part) && !text.contains("s3cr3t"), "{text}");
        }
        let mut allowed = with("http://minio.example.com");
        allowed.allow_http = true;
        assert!(check(&allowed).is_ok());
    }
}
