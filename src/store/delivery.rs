//! The name of a delivery stream goes in; where it delivers, and how it makes its keys, comes out.
//! One request to Firehose, for people who know their stream and not its settings.

use aws_sdk_firehose::Client;
use aws_sdk_firehose::config::retry::RetryConfig;
use aws_sdk_firehose::config::timeout::TimeoutConfig;
use aws_sdk_firehose::error::ProvideErrorMetadata;
use aws_sdk_firehose::types::{
    DataFormatConversionConfiguration, ExtendedS3DestinationDescription,
};

use super::error::{StoreError, shown};
use super::{StoreOptions, s3};

/// What a delivery stream says of its objects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    pub bucket: String,
    /// Empty where none is configured.
    pub prefix: String,
    pub error_prefix: Option<String>,
    /// `None`: UTC.
    pub time_zone: Option<String>,
    /// Records are converted to ORC.
    pub converts_to_orc: bool,
}

/// Attempts for the one request.
const MOST_ATTEMPTS: u32 = 3;
/// Names an endpoint for Firehose alone, as all AWS tools understand it.
const ENDPOINT_VARIABLE: &str = "AWS_ENDPOINT_URL_FIREHOSE";

/// Asks Firehose about a stream. `--endpoint-url` holds for it too, unless the environment names an
/// endpoint for Firehose.
///
/// # Errors
/// [`StoreError::Stream`]; [`StoreError::BadOption`] and [`StoreError::PlainHttp`] for an endpoint
/// that can't be used.
pub fn describe(name: &str, options: &StoreOptions) -> Result<Delivery, StoreError> {
    s3::check(options)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|source| StoreError::Io { path: "the network".to_string(), source })?;
    runtime.block_on(ask(name, options))
}

async fn ask(name: &str, options: &StoreOptions) -> Result<Delivery, StoreError> {
    let own_endpoint = std::env::var_os(ENDPOINT_VARIABLE).is_some_and(|url| !url.is_empty());
    let mut options = options.clone();
    if own_endpoint {
        options.endpoint_url = None;
    }
    let shared = s3::shared_config(&options).await;
    let region = shared.region().map(ToString::to_string).unwrap_or_default();
    // The read timeout ends with the headers; an answer that begins must end, too.
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(options.connect_timeout)
        .read_timeout(options.stall_timeout)
        .operation_attempt_timeout(options.stall_timeout.saturating_mul(2))
        .build();
    let mut config = aws_sdk_firehose::config::Builder::from(&shared)
        .retry_config(RetryConfig::standard().with_max_attempts(MOST_ATTEMPTS))
        .timeout_config(timeouts);
    if !options.allow_http {
        config = config.interceptor(s3::OnlySafeHttp);
    }
    let client = Client::from_conf(config.build());
    let failed = |reason: String, advice: &'static str| StoreError::Stream {
        name: shown(name),
        region: region.clone(),
        reason,
        advice,
    };
    let answer = client.describe_delivery_stream().delivery_stream_name(name).send().await;
    let answer = answer.map_err(|error| {
        let reason = match (error.code(), error.message()) {
            (Some(code), Some(message)) => shown(&format!("{code}: {message}")),
            (Some(code), None) => shown(code),
            _ => shown(&causes(&error)),
        };
        failed(reason, advice(error.code()))
    })?;
    let destinations = answer
        .delivery_stream_description
        .map(|description| description.destinations)
        .unwrap_or_default();
    let to_s3 = destinations.into_iter().find_map(|one| one.extended_s3_destination_description);
    let Some(to_s3) = to_s3 else {
        let reason = "it does not deliver to S3".to_string();
        return Err(failed(reason, "give the place of its backup by --source"));
    };
    delivery(to_s3).ok_or_else(|| {
        failed("its bucket has no name".to_string(), "give the place by --source and --layout")
    })
}

/// An error and its causes, each once.
fn causes(error: &dyn std::error::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        let text = cause.to_string();
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        next = cause.source();
    }
    texts.join(": ")
}

fn delivery(to_s3: ExtendedS3DestinationDescription) -> Option<Delivery> {
    // arn:aws:s3:::bucket, whatever the partition.
    let (_, bucket) = to_s3.bucket_arn.rsplit_once(':').filter(|(_, bucket)| !bucket.is_empty())?;
    let conversion = to_s3.data_format_conversion_configuration;
    Some(Delivery {
        bucket: bucket.to_string(),
        prefix: to_s3.prefix.unwrap_or_default(),
        error_prefix: to_s3.error_output_prefix.filter(|prefix| !prefix.is_empty()),
        time_zone: to_s3.custom_time_zone.filter(|zone| !zone.is_empty()),
        converts_to_orc: conversion.is_some_and(|conversion| is_to_orc(&conversion)),
    })
}

fn is_to_orc(conversion: &DataFormatConversionConfiguration) -> bool {
    let output = conversion.output_format_configuration.as_ref();
    let serializer = output.and_then(|output| output.serializer.as_ref());
    conversion.enabled == Some(true) && serializer.is_some_and(|kind| kind.orc_ser_de.is_some())
}

fn advice(code: Option<&str>) -> &'static str {
    match code {
        Some("ResourceNotFoundException") => "check its name, --region and --profile",
        Some(code) if code.contains("AccessDenied") => {
            "the credentials need firehose:DescribeDeliveryStream on it; or give --source and --layout"
        }
        Some(_) => "check the credentials, or give --source and --layout",
        None => "check --region, --profile and the network, or give --source and --layout",
    }
}
