//! The destination of a delivery stream as the API of Firehose has it ↔ what a delivery is told.
//! By <https://docs.aws.amazon.com/firehose/latest/APIReference/API_ExtendedS3DestinationConfiguration.html>.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::arn::bucket_of;
use super::super::delivery::{
    Compression, Conversion, Deaggregation, DeliverySpec, Destination, Format, KeyQuery, Table,
    TransformSpec, Transformer, check_orc,
};
use super::protocol::ApiError;
use crate::layout::{ErrorPrefix, Expression, Naming};
use crate::store::{SourceUrl, StoreOptions};

/// Where the buckets and tables are that requests name.
#[derive(Clone, Debug)]
pub struct Places {
    pub buckets: BucketsAt,
    /// A folder with `<database>.<table>.json`, as `aws glue get-table` prints them.
    pub tables: Option<PathBuf>,
}

/// Where buckets are.
#[derive(Clone, Debug)]
pub enum BucketsAt {
    /// Folders in this one.
    Folder(PathBuf),
    S3(StoreOptions),
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Configuration {
    #[serde(rename = "BucketARN")]
    bucket_arn: String,
    prefix: Option<String>,
    error_output_prefix: Option<String>,
    buffering_hints: Hints,
    compression_format: Option<String>,
    custom_time_zone: Option<String>,
    file_extension: Option<String>,
    processing_configuration: Option<Processing>,
    data_format_conversion_configuration: Option<FormatConversion>,
    s3_backup_mode: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Hints {
    #[serde(rename = "SizeInMBs")]
    size_in_mbs: Option<u64>,
    #[serde(rename = "IntervalInSeconds")]
    interval_in_seconds: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Processing {
    enabled: bool,
    processors: Vec<Processor>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Processor {
    r#type: String,
    parameters: Vec<Parameter>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Parameter {
    parameter_name: String,
    parameter_value: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct FormatConversion {
    enabled: Option<bool>,
    schema_configuration: Schema,
    output_format_configuration: Value,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Schema {
    database_name: String,
    table_name: String,
}

const DEFAULT_MIB: u64 = 5;
const DEFAULT_SECONDS: u64 = 300;
/// What Lambda itself gives a function at most.
const TRANSFORM_TIME: Duration = Duration::from_secs(300);

/// What a delivery stream called `name` is told by its destination.
pub fn read(
    name: &str,
    configuration: &Value,
    places: &Places,
) -> Result<(DeliverySpec, Destination), ApiError> {
    let read: Configuration = serde_json::from_value(configuration.clone())
        .map_err(|problem| ApiError::new("ValidationException", problem.to_string()))?;
    let bucket = bucket_of(&read.bucket_arn).ok_or_else(|| {
        invalid(&format!("BucketARN '{}' is none: write arn:aws:s3:::bucket", read.bucket_arn))
    })?;
    if read.s3_backup_mode.as_deref() == Some("Enabled") {
        return Err(invalid("S3BackupMode is not here: leave it out"));
    }
    let prefix = match read.prefix.as_deref() {
        None | Some("") => Expression::hourly(),
        Some(text) => text.parse().map_err(|problem| invalid(&format!("Prefix: {problem}")))?,
    };
    let errors: Option<ErrorPrefix> = match read.error_output_prefix.as_deref() {
        None | Some("") => None,
        Some(text) => {
            let parsed = text.parse();
            Some(parsed.map_err(|problem| invalid(&format!("ErrorOutputPrefix: {problem}")))?)
        }
    };
    let zone = read.custom_time_zone.as_deref().unwrap_or("UTC");
    let tz = zone.parse().map_err(|_| invalid(&format!("CustomTimeZone '{zone}' is none")))?;
    let compression = read.compression_format.as_deref().unwrap_or("UNCOMPRESSED");
    let compression = Compression::of_name(compression)
        .ok_or_else(|| invalid(&format!("CompressionFormat '{compression}' is none")))?;
    let conversion = conversion_of(&read, places)?;
    if conversion.is_some() && compression != Compression::Uncompressed {
        return Err(invalid("CompressionFormat must be UNCOMPRESSED where records are converted"));
    }
    if let Some(extension) = read.file_extension.as_deref().filter(|given| !given.is_empty()) {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if !extension.starts_with('.') || !extension.chars().all(is_part) {
            return Err(invalid(&format!("FileExtension '{extension}' is none: write .json")));
        }
    }
    let mib = read.buffering_hints.size_in_mbs.unwrap_or(DEFAULT_MIB);
    let seconds = read.buffering_hints.interval_in_seconds.unwrap_or(DEFAULT_SECONDS);
    if !(1..=128).contains(&mib) || seconds > 900 {
        return Err(invalid("BufferingHints: 1 to 128 MiB and 0 to 900 s are taken"));
    }
    let mut spec = DeliverySpec {
        name: name.to_string(),
        naming: Naming::of(&prefix, tz),
        errors: Naming::of_errors(&prefix, errors.as_ref(), tz),
        compression,
        extension: read.file_extension.clone().filter(|extension| !extension.is_empty()),
        buffer_bytes: (mib as usize) << 20,
        buffer_time: Duration::from_secs(seconds),
        newline: false,
        deaggregation: None,
        transform: None,
        keys: Vec::new(),
        conversion,
    };
    let processing = read.processing_configuration.filter(|processing| processing.enabled);
    for processor in processing.map(|processing| processing.processors).unwrap_or_default() {
        process(&mut spec, &processor)?;
    }
    let (url, options) = match &places.buckets {
        BucketsAt::Folder(folder) => {
            (SourceUrl::Folder(folder.join(safe(bucket)?)), StoreOptions::default())
        }
        BucketsAt::S3(options) => {
            let url = SourceUrl::S3 { bucket: bucket.to_string(), prefix: String::new() };
            (url, options.clone())
        }
    };
    Ok((spec, Destination { url, options }))
}

fn invalid(message: &str) -> ApiError {
    ApiError::invalid(message)
}

/// A name that may become a folder's.
fn safe(name: &str) -> Result<&str, ApiError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match name.chars().all(is_plain) && !name.starts_with('.') {
        true => Ok(name),
        false => {
            Err(invalid(&format!("'{name}' is no name that a bucket or a table can have here")))
        }
    }
}

fn conversion_of(read: &Configuration, places: &Places) -> Result<Option<Conversion>, ApiError> {
    let Some(conversion) = &read.data_format_conversion_configuration else { return Ok(None) };
    if conversion.enabled == Some(false) {
        return Ok(None);
    }
    let serializer = &conversion.output_format_configuration;
    let format = match serializer.pointer("/Serializer/OrcSerDe") {
        Some(_) => Format::Orc,
        None => Format::Parquet,
    };
    let Schema { database_name, table_name } = &conversion.schema_configuration;
    let Some(folder) = &places.tables else {
        return Err(invalid(
            "record format conversion needs tables: start the pipeline with --tables DIR, which has \
             <database>.<table>.json as aws glue get-table prints it",
        ));
    };
    let name = format!("{}.{}.json", safe(database_name)?, safe(table_name)?);
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path)
        .map_err(|error| invalid(&format!("can't read {}: {error}", path.display())))?;
    let table = Table::from_json(&text)
        .map_err(|problem| invalid(&format!("{}: {problem}", path.display())))?;
    if format == Format::Orc {
        check_orc(&table).map_err(|problem| invalid(&problem.to_string()))?;
    }
    Ok(Some(Conversion { format, table }))
}

fn process(spec: &mut DeliverySpec, processor: &Processor) -> Result<(), ApiError> {
    let parameter = |name: &str| {
        let mut named = processor.parameters.iter().filter(|one| one.parameter_name == name);
        named.next().map(|one| one.parameter_value.as_str())
    };
    match processor.r#type.as_str() {
        "AppendDelimiterToRecord" => {
            // It comes as the two characters, or as what they stand for.
            if !matches!(parameter("Delimiter"), None | Some("\\n" | "\n")) {
                return Err(invalid("AppendDelimiterToRecord: the delimiter is \\n"));
            }
            spec.newline = true;
        }
        "RecordDeAggregation" => {
            spec.deaggregation = Some(match parameter("SubRecordType") {
                Some("JSON") => Deaggregation::Json,
                Some("DELIMITED") => {
                    let text = parameter("Delimiter").unwrap_or_default();
                    let delimiter = STANDARD.decode(text).ok().filter(|bytes| !bytes.is_empty());
                    Deaggregation::Delimited(delimiter.ok_or_else(|| {
                        invalid(&format!("RecordDeAggregation: '{text}' is no delimiter in base64"))
                    })?)
                }
                _ => {
                    return Err(invalid("RecordDeAggregation: SubRecordType is JSON or DELIMITED"));
                }
            });
        }
        "MetadataExtraction" => {
            let query = parameter("MetadataExtractionQuery").unwrap_or_default();
            let inner = query.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            let inner = inner.ok_or_else(|| {
                invalid(&format!("MetadataExtractionQuery '{query}' is none: write {{key:.field}}"))
            })?;
            for part in inner.split(',') {
                let (name, path) = part.split_once(':').unwrap_or((part, ""));
                let key = KeyQuery::of(name.trim().trim_matches('"'), path);
                spec.keys.push(key.map_err(|problem| invalid(&problem.to_string()))?);
            }
        }
        "Lambda" => {
            let arn = parameter("LambdaArn").unwrap_or_default();
            let is_web = arn.starts_with("http://") || arn.starts_with("https://");
            let url = arn.parse().ok().filter(|_| is_web).ok_or_else(|| {
                invalid(&format!(
                    "no Lambda runs here: give the URL of an endpoint that keeps its contract as \
                     LambdaArn, not '{arn}'"
                ))
            })?;
            let text = parameter("BufferSizeInMBs").unwrap_or("1");
            let mib = text.parse().ok().filter(|mib| (0.2..=3.0).contains(mib));
            let mib: f64 = mib.ok_or_else(|| {
                invalid(&format!("BufferSizeInMBs is '{text}': 0.2 to 3 are taken"))
            })?;
            spec.transform = Some(TransformSpec {
                by: Transformer::Url(url),
                timeout: TRANSFORM_TIME,
                batch_bytes: (mib * 1_048_576.0) as usize,
            });
        }
        other => return Err(invalid(&format!("the processor {other} is not here"))),
    }
    Ok(())
}

/// What `DescribeDeliveryStream` says of a destination: what was asked for, and what is so without asking.
pub fn description(configuration: &Value) -> Value {
    let mut described = json!({
        "RoleARN": "arn:aws:iam::000000000000:role/local",
        "Prefix": "",
        "BufferingHints": { "SizeInMBs": DEFAULT_MIB, "IntervalInSeconds": DEFAULT_SECONDS },
        "CompressionFormat": "UNCOMPRESSED",
        "CustomTimeZone": "UTC",
        "EncryptionConfiguration": { "NoEncryptionConfig": "NoEncryption" },
        "CloudWatchLoggingOptions": { "Enabled": false },
        "S3BackupMode": "Disabled",
    });
    if let (Some(described), Some(asked)) = (described.as_object_mut(), configuration.as_object()) {
        described.extend(asked.clone());
    }
    described
}
