//! From options to what was meant, for `pipeline`.

use std::path::{Path, PathBuf};

use super::meaning::{Meaning, s3};
use super::{PipelineConfig, SourceUrl};
use crate::cli;
use crate::error::{Error, say};
use crate::layout::Naming;
use crate::pipeline::{
    BucketsAt, Compression, Conversion, Deaggregation, DeliverySpec, Destination, EndpointSpec,
    Format, GatewaySpec, LogTo, PipelineSpec, Places, Table, Token, TransformSpec, Transformer,
    check_orc,
};
use crate::store::StoreOptions;

/// Bytes of records that one invocation of a transformation gets, at most.
const MOST_TRANSFORMED: u64 = 3 << 20;
/// Where nobody says which region: it stands in ARNs, and nothing depends on it.
const DEFAULT_REGION: &str = "us-east-1";

impl Meaning<'_> {
    pub fn pipeline(&self, args: &cli::PipelineArgs) -> Result<PipelineConfig, Error> {
        let (gateway, delivery) = (&args.gateway, &args.delivery);
        self.check_who_may_put(args)?;
        let state = self.path(&gateway.state);
        let s3 = s3(&args.s3);
        let url = match self.url("deliver", &delivery.deliver)? {
            SourceUrl::Folder(folder) => SourceUrl::Folder(self.path(&folder)),
            bucket => bucket,
        };
        let spec = PipelineSpec {
            listen: gateway.listen,
            gateway: self.gateway(args, &s3.store_options()),
            log: match gateway.access_log.as_deref() {
                None => LogTo::File(state.join("access.log")),
                Some("-") => LogTo::Stdout,
                Some("none") => LogTo::Nowhere,
                Some(file) => LogTo::File(self.path(Path::new(file))),
            },
            shards: gateway.shards.get() as u32,
            retention: gateway.retention,
            limited: gateway.limits,
            delivery: self.delivery(delivery, &args.keys)?,
            destination: Destination { url, options: s3.store_options() },
            region: s3.region.unwrap_or_else(|| DEFAULT_REGION.to_string()),
            state,
            tell: |line| say(&format!("rawcat: {line}")),
        };
        Ok(PipelineConfig { spec, mode: self.mode(&args.talk)? })
    }

    fn check_who_may_put(&self, args: &cli::PipelineArgs) -> Result<(), Error> {
        let token = args.token.token.as_deref();
        if token == Some("") {
            let hint = "give one, or leave it out";
            return Err(self.settings.refuse("token", "an empty token keeps nobody out", hint));
        }
        if !args.gateway.listen.ip().is_loopback() && token.is_none() {
            return Err(self.settings.refuse(
                "listen",
                "other machines reach this address, and anybody there could put records",
                "set RAWCAT_TOKEN, or listen on 127.0.0.1",
            ));
        }
        Ok(())
    }

    /// From the working directory, and without `.` in it: the same place has the same name from wherever
    /// the next run begins.
    fn path(&self, path: &Path) -> PathBuf {
        self.around.working_dir.join(path).components().collect()
    }

    fn gateway(&self, args: &cli::PipelineArgs, s3: &StoreOptions) -> GatewaySpec {
        let gateway = &args.gateway;
        let path_of = |field: &String| field.split('.').map(str::to_string).collect();
        GatewaySpec {
            endpoint: EndpointSpec {
                max_body_bytes: bytes(gateway.max_body),
                key_field: args.shard.partition_key.as_ref().map(path_of),
                split_arrays: gateway.split_arrays,
            },
            token: args.token.token.clone().map(Token::new),
            places: Places {
                buckets: match gateway.buckets.as_str() {
                    "s3" => BucketsAt::S3(s3.clone()),
                    folder => BucketsAt::Folder(self.path(Path::new(folder))),
                },
                tables: gateway.tables.as_deref().map(|folder| self.path(folder)),
            },
        }
    }

    fn delivery(
        &self,
        args: &cli::DeliveryArgs,
        keys: &cli::KeyArgs,
    ) -> Result<DeliverySpec, Error> {
        let Some(tz) = keys.prefix_tz.only() else {
            let hint = "give one, as Asia/Seoul";
            return Err(self.settings.refuse("prefix_tz", "a stream writes in one zone", hint));
        };
        let conversion = self.conversion(args)?;
        if conversion.is_some() && args.compression != cli::CompressionKind::None {
            return Err(self.settings.refuse(
                "compression",
                "converted files are compressed within",
                "leave it out with --parquet and --orc",
            ));
        }
        Ok(DeliverySpec {
            name: args.stream.clone(),
            naming: Naming::of(&args.prefix, tz),
            errors: Naming::of_errors(&args.prefix, keys.error_prefix.as_ref(), tz),
            compression: match args.compression {
                cli::CompressionKind::None => Compression::Uncompressed,
                cli::CompressionKind::Gzip => Compression::Gzip,
                cli::CompressionKind::Zip => Compression::Zip,
                cli::CompressionKind::Snappy => Compression::Snappy,
                cli::CompressionKind::HadoopSnappy => Compression::HadoopSnappy,
            },
            extension: args.file_extension.clone(),
            buffer_bytes: bytes(args.buffer_size),
            buffer_time: args.buffer_time.to_std().unwrap_or_default(),
            newline: args.newline,
            deaggregation: match args.deaggregate.as_deref() {
                None => None,
                Some("json") => Some(Deaggregation::Json),
                Some("") => {
                    return Err(self.settings.refuse(
                        "deaggregate",
                        "nothing stands between records",
                        "give json, or the text between them",
                    ));
                }
                Some(text) => Some(Deaggregation::Delimited(text.as_bytes().to_vec())),
            },
            transform: args.transform.as_deref().map(|by| self.transform(by, args)).transpose()?,
            keys: args.partition_by.clone(),
            conversion,
        })
    }

    fn transform(&self, by: &str, args: &cli::DeliveryArgs) -> Result<TransformSpec, Error> {
        if by.trim().is_empty() {
            let hint = "give a command or http://…";
            return Err(self.settings.refuse("transform", "nothing transforms", hint));
        }
        let is_web = by.starts_with("http://") || by.starts_with("https://");
        let by = match is_web {
            false => Transformer::Program(by.to_string()),
            true => Transformer::Url(by.parse().map_err(|_| {
                self.settings.refuse(
                    "transform",
                    &format!("'{by}' is no address of an endpoint"),
                    "write it as http://host:port/path",
                )
            })?),
        };
        if args.transform_size > MOST_TRANSFORMED {
            return Err(self.settings.refuse(
                "transform_size",
                "an answer has 6 MiB at most, in base64",
                "give at most 3MiB",
            ));
        }
        Ok(TransformSpec {
            by,
            timeout: args.transform_timeout.to_std().unwrap_or_default(),
            batch_bytes: bytes(args.transform_size),
        })
    }

    fn conversion(&self, args: &cli::DeliveryArgs) -> Result<Option<Conversion>, Error> {
        let (format, file) = match (&args.parquet, &args.orc) {
            (None, None) => return Ok(None),
            (Some(file), None) => (Format::Parquet, file),
            (None, Some(file)) => (Format::Orc, file),
            (Some(_), Some(_)) => {
                return Err(Error::usage("--parquet and --orc are both given", "give one of them"));
            }
        };
        let table = table(&self.path(file))?;
        if format == Format::Orc {
            check_orc(&table)
                .map_err(|problem| Error::Usage { message: problem.to_string(), hint: None })?;
        }
        Ok(Some(Conversion { format, table }))
    }
}

fn bytes(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// The columns that a file names.
fn table(file: &Path) -> Result<Table, Error> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Error::io(format!("can't read {}", file.display()), error))?;
    Table::from_json(&text).map_err(|problem| {
        Error::usage(format!("{} gives no columns", file.display()), problem.to_string())
    })
}
