//! From options to what was meant: typed settings go in, the configuration of one command comes
//! out. Here options meet each other: what needs what, and what contradicts what.

use std::path::{Path, PathBuf};

use super::day::selection;
use super::layers::Settings;
use super::origin::{Origin, flag};
use super::{
    AggregateConfig, CatConfig, CatWhat, ChartConfig, DedupConfig, DiffWith, ErrorsConfig, Exports,
    FetchConfig, InputConfig, PictureConfig, PolicyConfig, S3Config, Same, SchemaConfig, Source,
    SourceUrl, Surroundings,
};
use crate::cli;
use crate::error::Error;
use crate::progress::Mode;
use crate::publish;
use crate::schema::{ColumnType, Pins};

/// The settings of a run, and what each command makes of them.
pub struct Meaning<'a> {
    pub(super) settings: &'a Settings,
    pub(super) around: &'a Surroundings,
}

impl<'a> Meaning<'a> {
    pub fn new(settings: &'a Settings, around: &'a Surroundings) -> Meaning<'a> {
        Meaning { settings, around }
    }

    pub fn fetch(&self, args: &cli::FetchArgs) -> Result<FetchConfig, Error> {
        let config = self.fetch_of(args)?;
        // Where a stream delivers is known once it was asked.
        if let Source::Place(source) = &config.input.source {
            let layout = config.input.layout.as_ref();
            let below = layout.map_or("", |layout| layout.literal_folders());
            self.apart(&source.below(below), &config.out)?;
        }
        Ok(config)
    }

    fn fetch_of(&self, args: &cli::FetchArgs) -> Result<FetchConfig, Error> {
        Ok(FetchConfig {
            days: selection(self.settings, &args.day, self.around.now)?,
            input: InputConfig {
                types: self.types(&args.types)?,
                schema: args.types.schema.clone(),
                ..self.input(
                    &args.source,
                    &args.layout,
                    &args.time,
                    &args.listing,
                    &args.limits,
                    &args.s3,
                    &args.run,
                )?
            },
            out: self.out(&args.out)?,
            export: self.exports(&args.publish.export)?,
            aggregate: AggregateConfig {
                by: once_each(&args.group.by),
                metrics: metrics(&args.bucket),
                every: args.bucket.every,
                max_groups: args.group.max_groups,
            },
            chart: picture(&args.picture),
            provenance: args.publish.provenance,
            recover: args.publish.recover,
            again: args.publish.again,
            drift: args.publish.drift,
            dedup: self.dedup(&args.dedup)?,
            settle: args.publish.settle,
            accept_incomplete: args.publish.accept_incomplete,
            json: args.json.json,
            mode: self.mode(&args.talk)?,
        })
    }

    pub fn cat(&self, args: &cli::CatArgs) -> Result<CatConfig, Error> {
        self.print_options_agree(&args.print)?;
        let mode = self.mode(&args.talk)?;
        let Some(key) = &args.key else {
            let days =
                selection(self.settings, &args.day, self.around.now).map_err(|error| {
                    match (&args.day.day, &args.day.from, &args.day.to) {
                        (None, None, None) => Error::usage(
                            "neither a day nor an object is given",
                            "give --day 2022-04-18, or a key, a prefix, a path or an s3:// URL",
                        ),
                        _ => error,
                    }
                })?;
            let input = self.input(
                &args.source,
                &args.layout,
                &args.time,
                &args.listing,
                &args.limits,
                &args.s3,
                &args.run,
            )?;
            return Ok(self.printing(args, CatWhat::Days(days), input, mode));
        };
        for option in ["day", "from", "to"] {
            if *self.settings.origin(option) == Origin::Flag {
                return Err(Error::usage(
                    format!("{} and the key {key} are both given", flag(option)),
                    "give a day for its records, or a key for all records of an object",
                ));
            }
        }
        let from_stdin = key == "-";
        let (source, key) = match from_stdin {
            true => (".".to_string(), String::new()),
            false => self.place(key, &args.source)?,
        };
        let source = cli::SourceArgs { source: Some(source) };
        // Keys and paths have their place with them.
        let layout = cli::LayoutArgs { delivery_stream: None, ..args.layout.clone() };
        let input = self.input(
            &source,
            &layout,
            &args.time,
            &args.listing,
            &args.limits,
            &args.s3,
            &args.run,
        )?;
        let what = if from_stdin { CatWhat::Stdin } else { CatWhat::Key(key) };
        Ok(self.printing(args, what, input, mode))
    }

    fn printing(
        &self,
        args: &cli::CatArgs,
        what: CatWhat,
        input: InputConfig,
        mode: Mode,
    ) -> CatConfig {
        CatConfig {
            what,
            input,
            csv: args.print.csv,
            excel_safe: args.print.excel_safe,
            raw: args.print.raw,
            columns: once_each(&args.print.columns),
            mode,
        }
    }

    fn print_options_agree(&self, args: &cli::PrintArgs) -> Result<(), Error> {
        if args.raw && args.csv {
            return Err(Error::usage(
                "--raw prints the records' own bytes, and --csv rewrites them: only one can be meant",
                "leave out one of the two",
            ));
        }
        if args.raw && !args.columns.is_empty() {
            return Err(Error::usage(
                "--raw prints whole records, and --columns chooses fields: only one can be meant",
                "leave out one of the two",
            ));
        }
        if !args.columns.is_empty() && !args.csv && *self.settings.origin("columns") == Origin::Flag
        {
            return Err(Error::usage("--columns chooses the columns of CSV", "add --csv"));
        }
        if args.excel_safe && !args.csv && *self.settings.origin("excel_safe") == Origin::Flag {
            return Err(Error::usage("--excel-safe is about CSV", "add --csv"));
        }
        Ok(())
    }

    /// The source and the key below it that `cat`'s KEY means.
    ///
    /// A key is relative to --source. A URL, a path that begins with `/`, `./` or `../`, and,
    /// where no source is set, any other path, is a place of its own: its folder is the source.
    fn place(&self, key: &str, args: &cli::SourceArgs) -> Result<(String, String), Error> {
        let a_path = ["/", "./", "../"].iter().any(|start| key.starts_with(start))
            || key == "."
            || key == "..";
        let a_url = key.contains("://");
        match &args.source {
            Some(source) if !a_path && !a_url => return Ok((source.clone(), key.to_string())),
            _ => {}
        }
        if a_path || !a_url {
            let path = Path::new(key);
            if !self.around.working_dir.join(path).exists() {
                return Err(Error::usage(
                    format!("there is no file or folder {key}"),
                    match &args.source {
                        Some(source) => {
                            format!("a key below {source} is given without ./ in front")
                        }
                        None => "give --source for a key, or the path of an object".to_string(),
                    },
                ));
            }
            if self.around.working_dir.join(path).is_dir() {
                return Ok((key.to_string(), String::new()));
            }
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let folder = match path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => folder.display().to_string(),
                _ => ".".to_string(),
            };
            return Ok((folder, name.unwrap_or_default()));
        }
        // s3://bucket/some/prefix/object: the last part is the key, unless it ends in `/`.
        let start = key.find("://").map_or(0, |at| at + 3);
        match key[start..].rfind('/') {
            Some(cut) => {
                let cut = start + cut + 1;
                Ok((key[..cut].to_string(), key[cut..].to_string()))
            }
            None => Ok((key.to_string(), String::new())),
        }
    }

    pub fn schema(&self, args: &cli::SchemaArgs) -> Result<SchemaConfig, Error> {
        Ok(SchemaConfig {
            days: selection(self.settings, &args.day, self.around.now)?,
            input: InputConfig {
                types: self.types(&args.types)?,
                schema: args.types.schema.clone(),
                ..self.input(
                    &args.source,
                    &args.layout,
                    &args.time,
                    &args.listing,
                    &args.limits,
                    &args.s3,
                    &args.run,
                )?
            },
            pin: args.pin.pin.clone(),
            diff: args.pin.diff.as_ref().map(|what| match what.parse() {
                Ok(date) => DiffWith::Day(date),
                Err(_) => DiffWith::File(self.around.working_dir.join(what)),
            }),
            json: args.json.json,
            mode: self.mode(&args.talk)?,
        })
    }

    pub fn errors(&self, args: &cli::ErrorsArgs) -> Result<ErrorsConfig, Error> {
        if args.raw && args.json.json {
            return Err(Error::usage(
                "--raw prints the records' own bytes, and --json what was counted: only one can be meant",
                "leave out one of the two",
            ));
        }
        Ok(ErrorsConfig {
            days: selection(self.settings, &args.day, self.around.now)?,
            input: self.input(
                &args.source,
                &args.layout,
                &args.time,
                &args.listing,
                &args.limits,
                &args.s3,
                &args.run,
            )?,
            raw: args.raw,
            json: args.json.json,
            mode: self.mode(&args.talk)?,
        })
    }

    pub fn chart(&self, args: &cli::ChartArgs) -> Result<ChartConfig, Error> {
        if args.terminal.width.is_some()
            && !args.terminal.term
            && *self.settings.origin("width") == Origin::Flag
        {
            return Err(Error::usage(
                "--width is the width of --term in characters",
                "add --term, or give --size 1200x700 for pictures",
            ));
        }
        Ok(ChartConfig {
            days: selection(self.settings, &args.day, self.around.now)?,
            out: self.out(&args.out)?,
            s3: s3(&args.s3),
            metrics: metrics(&args.bucket),
            every: args.bucket.every,
            picture: picture(&args.picture),
            term: args.terminal.term.then_some(args.terminal.width),
            mode: self.mode(&args.talk)?,
        })
    }

    pub fn policy(&self, args: &cli::PolicyArgs) -> Result<PolicyConfig, Error> {
        Ok(PolicyConfig {
            source: self.url("source", self.source_text(&args.source)?)?,
            out: self.out(&args.out)?,
            partition: args.partition.partition,
        })
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn input(
        &self,
        source: &cli::SourceArgs,
        layout: &cli::LayoutArgs,
        time: &cli::TimeArgs,
        listing: &cli::ListingArgs,
        limits: &cli::LimitArgs,
        s3_args: &cli::S3Args,
        run: &cli::RunArgs,
    ) -> Result<InputConfig, Error> {
        if time.fallback_key && time.time_field.is_none() {
            return Err(self.settings.refuse(
                "fallback_key",
                "it says what to do where --time-field fails, and there is no --time-field",
                "add --time-field; without one the object's time is taken anyway",
            ));
        }
        let place = self.raw_objects(source, layout)?;
        Ok(InputConfig {
            prefix_tz: Some(layout.keys.prefix_tz.clone())
                .filter(|_| *self.settings.origin("prefix_tz") != Origin::Default),
            error_prefix: layout.keys.error_prefix.clone(),
            envelope: layout.envelope,
            layout: layout.layout.clone().filter(|_| matches!(place, Source::Place(_))),
            source: place,
            s3: s3(s3_args),
            look_back: listing.look_back,
            look_ahead: listing.look_ahead,
            max_late: listing.max_late,
            time_field: time.time_field.clone(),
            field_tz: time.field_tz,
            fallback_key: time.fallback_key,
            types: Pins::new(),
            schema: None,
            max_object_bytes: limits.max_object_bytes,
            max_record_bytes: limits.max_record_bytes,
            jobs: run.jobs.unwrap_or(self.around.cpus),
        })
    }

    /// What drops copies: what was said later in the chain wins.
    fn dedup(&self, args: &cli::DedupArgs) -> Result<DedupConfig, Error> {
        let rank = |option| self.settings.origin(option).rank();
        let key = Some(once_each(&args.dedup_key)).filter(|key| !key.is_empty());
        let by_key_rank = rank("dedup_key").cmp(&rank("dedup_hash"));
        let copies = match (key, args.dedup_hash) {
            (Some(_), true) if by_key_rank.is_eq() => {
                return Err(Error::usage(
                    "--dedup-key and --dedup-hash say in two ways what the same record is",
                    "leave out one of the two",
                ));
            }
            (Some(_), true) if by_key_rank.is_lt() => Some(Same::Bytes),
            (Some(key), _) => Some(Same::Fields(key)),
            (None, true) => Some(Same::Bytes),
            (None, false) => None,
        };
        Ok(DedupConfig { copies, memory_bytes: args.dedup_memory })
    }

    /// The source, or the stream that knows it: what was said later in the chain wins.
    fn raw_objects(
        &self,
        source: &cli::SourceArgs,
        layout: &cli::LayoutArgs,
    ) -> Result<Source, Error> {
        let Some(stream) = &layout.delivery_stream else {
            return self.source(source).map(Source::Place);
        };
        let rank = |option| self.settings.origin(option).rank();
        let others = [("source", source.source.is_some()), ("layout", layout.layout.is_some())];
        for (option, is_set) in others {
            if is_set && rank(option) == rank("delivery_stream") {
                return Err(Error::usage(
                    format!("--delivery-stream and {} say the same in two ways", flag(option)),
                    "leave out one of the two",
                ));
            }
        }
        match source.source.is_some() && rank("source") > rank("delivery_stream") {
            true => self.source(source).map(Source::Place),
            false => Ok(Source::DeliveryStream(stream.clone())),
        }
    }

    fn source_text<'t>(&self, args: &'t cli::SourceArgs) -> Result<&'t str, Error> {
        args.source.as_deref().ok_or_else(|| {
            Error::usage(
                "no source is given",
                "give --source s3://bucket/prefix/ or a folder, \
                 or write source = \"…\" into rawcat.toml",
            )
        })
    }

    /// The source; a folder must be there, so that a typing mistake is not an empty day.
    fn source(&self, args: &cli::SourceArgs) -> Result<SourceUrl, Error> {
        let url = self.url("source", self.source_text(args)?)?;
        if let SourceUrl::Folder(path) = &url {
            let there = self.around.working_dir.join(path);
            if !there.is_dir() {
                let path = path.display();
                return Err(self.settings.refuse(
                    "source",
                    &match there.exists() {
                        true => format!("{path} is a file"),
                        false => format!("the folder {path} is not there"),
                    },
                    "give the folder that holds the folders of years, or s3://bucket/prefix/",
                ));
            }
        }
        Ok(url)
    }

    fn out(&self, args: &cli::OutArgs) -> Result<SourceUrl, Error> {
        let url = self.url("out", &args.out)?;
        if let SourceUrl::Folder(path) = &url
            && self.around.working_dir.join(path).is_file()
        {
            return Err(self.settings.refuse(
                "out",
                &format!("{} is a file", path.display()),
                "give a folder; it is made where it is missing",
            ));
        }
        Ok(url)
    }

    /// What is published must not lie among the raw objects, nor these where rawcat removes files.
    fn apart(&self, source: &SourceUrl, out: &SourceUrl) -> Result<(), Error> {
        let (inside, owned) = match (source, out) {
            (SourceUrl::Folder(source), SourceUrl::Folder(out)) => {
                let (source, out) = (self.real(source), self.real(out));
                let owned = source.strip_prefix(&out).ok().and_then(|below| {
                    let first = below.components().next()?.as_os_str().to_str()?.to_string();
                    Some(first)
                });
                (out.starts_with(&source), owned)
            }
            (
                SourceUrl::S3 { bucket: one, prefix: source },
                SourceUrl::S3 { bucket: other, prefix: out },
            ) if one == other => {
                let whole = source.is_empty() || source.ends_with('/');
                let owned = source.strip_prefix(out.as_str());
                let owned = owned.and_then(|below| below.split('/').next()).map(str::to_string);
                (whole && out.starts_with(source.as_str()), owned)
            }
            _ => (false, None),
        };
        if inside {
            return Err(self.settings.refuse(
                "out",
                &format!("{out} lies inside --source, {source}"),
                "give an --out beside the source, so that nothing published is taken for raw data",
            ));
        }
        if let Some(folder) = owned.filter(|name| publish::FOLDERS.contains(&name.as_str())) {
            return Err(self.settings.refuse(
                "source",
                &format!("{source} lies in {folder}/ of --out, where rawcat replaces files"),
                "give an --out beside the source",
            ));
        }
        Ok(())
    }

    /// The path with its links followed, as far as it is there.
    fn real(&self, path: &Path) -> PathBuf {
        let whole = self.around.working_dir.join(path);
        let there = whole.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
        match there {
            Some((above, real)) => match whole.strip_prefix(above) {
                Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
                _ => real,
            },
            None => whole,
        }
    }

    pub(super) fn url(&self, option: &str, text: &str) -> Result<SourceUrl, Error> {
        if text.is_empty() {
            let label = self.settings.origin(option).label(option);
            return Err(Error::usage(
                format!("{label} is empty"),
                "give a folder, as data/raw or /data/raw, or s3://bucket/prefix/",
            ));
        }
        text.parse().map_err(|error| {
            let error: &dyn std::error::Error = &error;
            self.settings.refuse(
                option,
                &error.to_string(),
                "places are s3://bucket/prefix/ or a folder, as data/raw or /data/raw",
            )
        })
    }

    fn exports(&self, list: &[cli::Export]) -> Result<Exports, Error> {
        let has = |export| list.contains(&export);
        if list.is_empty() {
            return Err(self.settings.refuse(
                "export",
                "nothing is to be published",
                "give records, aggregates or chart; `rawcat plan` publishes nothing",
            ));
        }
        Ok(Exports {
            records: has(cli::Export::Records),
            aggregates: has(cli::Export::Aggregates),
            chart: has(cli::Export::Chart),
        })
    }

    fn types(&self, args: &cli::TypeArgs) -> Result<Pins, Error> {
        let mut pins = Pins::new();
        for typed in &args.types {
            let before: Option<ColumnType> = pins.insert(typed.column.clone(), typed.column_type);
            if let Some(before) = before.filter(|before| *before != typed.column_type) {
                return Err(self.settings.refuse(
                    "type",
                    &format!(
                        "{} is given two types, {before} and {}",
                        typed.column, typed.column_type
                    ),
                    "give each column one type",
                ));
            }
        }
        Ok(pins)
    }

    pub(super) fn mode(&self, args: &cli::TalkArgs) -> Result<Mode, Error> {
        if !(args.quiet && args.verbose) {
            return Ok(Mode::of(args.quiet, args.verbose));
        }
        // One of them may stand in the file; what was said later in the chain wins.
        let rank = |option| self.settings.origin(option).rank();
        match rank("quiet").cmp(&rank("verbose")) {
            std::cmp::Ordering::Less => Ok(Mode::of(false, true)),
            std::cmp::Ordering::Greater => Ok(Mode::of(true, false)),
            std::cmp::Ordering::Equal => Err(Error::usage(
                "--quiet and --verbose contradict each other",
                "leave out one of the two",
            )),
        }
    }
}

pub(super) fn s3(args: &cli::S3Args) -> S3Config {
    S3Config {
        region: args.region.clone(),
        profile: args.profile.clone(),
        endpoint_url: args.endpoint_url.clone(),
        no_sign_request: args.no_sign_request,
        request_payer: args.request_payer,
        allow_http: args.allow_http,
        max_requests: args.max_requests,
        stall_timeout: args.stall_timeout,
    }
}

fn metrics(args: &cli::BucketArgs) -> Option<Vec<String>> {
    Some(once_each(&args.metric)).filter(|names| !names.is_empty())
}

fn picture(args: &cli::PictureArgs) -> PictureConfig {
    PictureConfig { size: args.size, panels: args.panels }
}

fn once_each(names: &[String]) -> Vec<String> {
    let mut unique: Vec<String> = Vec::with_capacity(names.len());
    for name in names {
        if !unique.contains(name) {
            unique.push(name.clone());
        }
    }
    unique
}
