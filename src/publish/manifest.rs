//! The manifest of a published day: what was read, what became of every byte and record, and which
//! files hold it.
//!
//! Its field names are stable and documented here. Everything but `run` is a function of the
//! input and the options: the same input gives the same bytes. Clock, durations and counts that
//! depend on the machine stand in `run` alone.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::inputs::Inputs;

/// The version of the manifest's own form.
pub const MANIFEST_VERSION: u32 = 1;

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Manifest {
    /// [`MANIFEST_VERSION`].
    pub version: u32,
    pub window: WindowNote,
    /// The version of the time zone data, as `2026a`.
    pub zone_data: String,
    /// The source's URL, without secrets.
    pub source: String,
    /// The options in force that decide the result, by their flag names.
    pub options: BTreeMap<String, serde_json::Value>,
    pub listing: ListingNote,
    pub objects: ObjectsNote,
    pub bytes: BytesNote,
    pub records: RecordsNote,
    pub envelopes: EnvelopesNote,
    pub time: TimeNote,
    /// Keys that came twice in one record; the last value won.
    pub duplicate_keys: u64,
    /// The columns of `records`, rawcat's own excepted.
    pub columns: Vec<ColumnNote>,
    pub metrics: Vec<MetricEntry>,
    /// How the columns differ from those of `--schema`; null without such a file, or where not all columns
    /// were read.
    pub drift: Option<DriftNote>,
    /// What was quarantined, by reason.
    pub quarantine: Vec<QuarantineNote>,
    pub verdict: Verdict,
    /// xxh3 (128 bits, hex) over keys, sizes and ETags of the objects read; see [`inputs_digest`].
    pub inputs_digest: String,
    /// The files of this day, this manifest excepted, sorted by path.
    pub files: Vec<FileNote>,
    pub run: RunNote,
}

/// Records that were themselves wrapped, such as those of CloudWatch Logs.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EnvelopesNote {
    pub opened: u64,
    /// Records in them; these are among `records.parsed`, envelopes are not.
    pub records: u64,
    /// Of the opened ones, control messages without a record.
    pub control: u64,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DriftNote {
    /// JSON Pointers of columns that are not pinned.
    pub new: Vec<String>,
    /// Pinned columns that no record has.
    pub lost: Vec<String>,
}

impl DriftNote {
    /// True where the columns are not the pinned ones.
    pub fn is_other(&self) -> bool {
        !self.new.is_empty() || !self.lost.is_empty()
    }
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WindowNote {
    /// The local date; null for a window that is no whole day.
    pub date: Option<String>,
    /// IANA name.
    pub tz: String,
    /// RFC 3339, inclusive.
    pub start_utc: String,
    /// RFC 3339, exclusive.
    pub end_utc: String,
    /// Length in hours.
    pub hours: f64,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ListingNote {
    /// The first UTC hour listed, RFC 3339.
    pub first_hour: String,
    /// The last UTC hour listed, inclusive.
    pub last_hour: String,
    pub prefixes: Vec<PrefixNote>,
    /// The layout under `options` was not given: keys of the source told it.
    pub layout_inferred: bool,
    /// Listed hours of the window without any object, RFC 3339.
    pub empty_hours: Vec<String>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PrefixNote {
    pub prefix: String,
    pub objects: u64,
    pub bytes: u64,
    /// Why the prefix could not be listed.
    pub error: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ObjectsNote {
    pub listed: u64,
    pub read: u64,
    pub failed: Vec<FailedObject>,
    pub excluded: Vec<ExcludedObjects>,
    /// Objects whose content another object of the day has, too. Their records count: only
    /// `--dedup-key` and `--dedup-hash` drop any.
    pub same_objects: SameObjectsNote,
    /// Objects that were read although their names tell no time, by reason.
    pub names_unparsed: Vec<ReasonCount>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SameObjectsNote {
    /// Those behind the first of each content, in the order of keys. The outermost hours' objects
    /// without a record of the day don't count.
    pub objects: u64,
    /// The first few.
    pub examples: Vec<SameObject>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SameObject {
    pub key: String,
    /// The first object with this content.
    pub same_as: String,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FailedObject {
    pub key: String,
    pub reason: String,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ExcludedObjects {
    pub reason: String,
    pub objects: u64,
    /// The first few keys.
    pub examples: Vec<String>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ReasonCount {
    pub reason: String,
    pub objects: u64,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BytesNote {
    /// Bytes of the objects read, as stored.
    pub stored: u64,
    pub decoded: u64,
    /// Decoded bytes inside records.
    pub records: u64,
    /// Decoded bytes between records: white space, commas, brackets of opened arrays.
    pub separators: u64,
    pub quarantined: u64,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RecordsNote {
    pub parsed: u64,
    /// Rows of the day.
    pub day: u64,
    pub before: u64,
    pub after: u64,
    /// Records of the day that were the same as an earlier one, by `--dedup-key` or `--dedup-hash`.
    pub duplicates_dropped: u64,
    /// Rows of the day that lack a field of `--dedup-key`: they are compared with none.
    pub without_dedup_key: u64,
    /// Of the rows of the day, those that Firehose had not delivered: `--recover`.
    pub recovered: u64,
    /// Records and other stretches of bytes that were quarantined; not among `parsed`.
    pub quarantined: u64,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TimeNote {
    /// How many records took their time from which field, or from `object name`, `prefix hour`.
    pub sources: BTreeMap<String, u64>,
    /// Records among those of `object name` and `prefix hour` that have a time field, which does not
    /// read as a time.
    pub unreadable: u64,
    /// Times with second 60, which became 59.999999.
    pub leap_clamped: u64,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ColumnNote {
    pub name: String,
    /// JSON Pointer of the value in its record.
    pub path: String,
    #[serde(rename = "type")]
    pub column_type: String,
    /// What was seen, as `int|text`.
    pub kinds: String,
    pub nulls: u64,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MetricEntry {
    /// The beginning of the metric's column names.
    pub name: String,
    /// JSON Pointer of the value in its record.
    pub path: String,
    pub numbers: u64,
    /// Values that are no number and were left out.
    pub not_numbers: u64,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct QuarantineNote {
    pub reason: String,
    pub records: u64,
    pub bytes: u64,
}

/// Whether anything can still change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Final,
    #[default]
    Provisional,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Verdict {
    pub state: State,
    /// No object, prefix or record was skipped.
    pub complete: bool,
    /// Why the day is provisional or incomplete.
    pub reasons: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FileNote {
    /// Relative to `--out`, with `/`.
    pub path: String,
    pub bytes: u64,
    /// Rows of a table; null for a picture.
    pub rows: Option<u64>,
    /// 64 bits, hex.
    pub xxh3: String,
}

/// What may differ between two runs over the same input.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RunNote {
    pub rawcat: String,
    /// RFC 3339.
    pub started_utc: String,
    pub duration_ms: u64,
    pub jobs: u64,
    /// The objects read, to tell later what came, what changed and what is gone. It is here and not above
    /// because files have no ETag but their time of last change, which differs from copy to copy.
    pub inputs: Inputs,
    /// What was published before, in whose place this was put.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced: Option<ReplacedNote>,
}

/// An earlier publish of the same day.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ReplacedNote {
    pub records: u64,
    /// Objects of which it was made, and which are gone.
    pub objects_gone: u64,
    /// Nothing was skipped.
    pub complete: bool,
}

/// An equation of the manifest that does not hold: something was lost or counted twice.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "the run's books do not balance: {total} = {left}, but {parts} = {right} ({terms}); \
     nothing was published, and this is a bug in rawcat: please report it"
)]
pub struct EquationError {
    pub total: &'static str,
    pub left: u64,
    pub parts: &'static str,
    pub right: u64,
    pub terms: Terms,
}

/// The right side's terms with their numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Terms(Vec<(&'static str, u64)>);

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, value)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{name} {value}")?;
        }
        Ok(())
    }
}

/// Checks that every listed object, decoded byte and parsed record is accounted for.
pub fn check_equations(manifest: &Manifest) -> Result<(), EquationError> {
    let Manifest { objects, bytes, records, quarantine, .. } = manifest;
    let excluded = objects.excluded.iter().map(|excluded| excluded.objects).sum();
    let failed = objects.failed.len() as u64;
    balance(
        ("objects listed", objects.listed),
        "read + failed + excluded",
        vec![("read", objects.read), ("failed", failed), ("excluded", excluded)],
    )?;
    balance(
        ("bytes decoded", bytes.decoded),
        "records + separators + quarantined",
        vec![
            ("records", bytes.records),
            ("separators", bytes.separators),
            ("quarantined", bytes.quarantined),
        ],
    )?;
    balance(
        ("records parsed", records.parsed),
        "day + before + after + duplicates dropped",
        vec![
            ("day", records.day),
            ("before", records.before),
            ("after", records.after),
            ("duplicates dropped", records.duplicates_dropped),
        ],
    )?;
    let by_reason = |count: fn(&QuarantineNote) -> u64| quarantine.iter().map(count).sum();
    balance(
        ("records quarantined", records.quarantined),
        "records quarantined by reason",
        vec![("by reason", by_reason(|note| note.records))],
    )?;
    balance(
        ("bytes quarantined", bytes.quarantined),
        "bytes quarantined by reason",
        vec![("by reason", by_reason(|note| note.bytes))],
    )
}

fn balance(
    (total, left): (&'static str, u64),
    parts: &'static str,
    terms: Vec<(&'static str, u64)>,
) -> Result<(), EquationError> {
    let right = terms.iter().map(|(_, value)| value).sum();
    if left == right {
        return Ok(());
    }
    Err(EquationError { total, left, parts, right, terms: Terms(terms) })
}

impl Manifest {
    /// The manifest as it stands in its file: indented JSON with a newline at its end.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("every key is a string");
        text.push('\n');
        text
    }

    /// Reads a manifest. Fields that it lacks have their empty values.
    ///
    /// # Errors
    /// No JSON, or a version that this rawcat does not know.
    pub fn from_json(text: &str) -> Result<Manifest, String> {
        let manifest: Manifest =
            serde_json::from_str(text).map_err(|problem| problem.to_string())?;
        match manifest.version {
            MANIFEST_VERSION => Ok(manifest),
            0 => Err("it has no version, so it is no manifest of rawcat".to_string()),
            newer => Err(format!(
                "its version is {newer} and this rawcat knows {MANIFEST_VERSION}: update rawcat"
            )),
        }
    }
}

/// A digest of what was read, whatever the order: (key, bytes, ETag) of each object.
pub fn inputs_digest<'a>(
    objects: impl IntoIterator<Item = (&'a str, u64, Option<&'a str>)>,
) -> String {
    let mut objects: Vec<_> = objects.into_iter().collect();
    objects.sort_unstable();
    let mut digest = xxhash_rust::xxh3::Xxh3::new();
    for (key, bytes, etag) in objects {
        // Lengths in front keep two different lists from reading alike.
        for text in [key, etag.unwrap_or("")] {
            digest.update(&(text.len() as u64).to_le_bytes());
            digest.update(text.as_bytes());
        }
        digest.update(&bytes.to_le_bytes());
    }
    format!("{:032x}", digest.digest128())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balanced() -> Manifest {
        Manifest {
            version: MANIFEST_VERSION,
            objects: ObjectsNote {
                listed: 6,
                read: 3,
                failed: vec![FailedObject { key: "a".into(), reason: "gone".into() }],
                excluded: vec![ExcludedObjects { objects: 2, ..Default::default() }],
                ..Default::default()
            },
            bytes: BytesNote {
                stored: 9,
                decoded: 100,
                records: 90,
                separators: 7,
                quarantined: 3,
            },
            records: RecordsNote {
                parsed: 10,
                day: 6,
                before: 1,
                after: 2,
                duplicates_dropped: 1,
                without_dedup_key: 0,
                recovered: 0,
                quarantined: 2,
            },
            quarantine: vec![QuarantineNote { reason: "utf8".into(), records: 2, bytes: 3 }],
            ..Default::default()
        }
    }

    #[test]
    fn books_that_balance_pass() {
        assert_eq!(check_equations(&balanced()), Ok(()));
        assert_eq!(check_equations(&Manifest::default()), Ok(()));
    }

    #[test]
    fn a_lost_record_byte_or_object_is_named_with_the_numbers() {
        let mut lost = balanced();
        lost.records.day -= 1;
        let problem = check_equations(&lost).expect_err("a record is lost").to_string();
        assert!(problem.starts_with(
            "the run's books do not balance: records parsed = 10, but day + before + after + \
             duplicates dropped = 9 (day 5, before 1, after 2, duplicates dropped 1); "
        ));
        let mut lost = balanced();
        lost.bytes.separators -= 1;
        assert_eq!(check_equations(&lost).expect_err("a byte").total, "bytes decoded");
        let mut lost = balanced();
        lost.objects.failed.clear();
        assert_eq!(check_equations(&lost).expect_err("an object").total, "objects listed");
        let mut lost = balanced();
        lost.quarantine.clear();
        assert_eq!(check_equations(&lost).expect_err("a reason").total, "records quarantined");
    }

    #[test]
    fn a_manifest_reads_back_as_it_was_written() {
        let mut manifest = balanced();
        manifest.columns.push(ColumnNote { column_type: "int".into(), ..Default::default() });
        let text = manifest.to_json();
        assert_eq!(Manifest::from_json(&text), Ok(manifest));
        assert!(text.contains("\"type\": \"int\""));
        assert!(text.contains("\"state\": \"provisional\""));
    }

    #[test]
    fn a_manifest_of_another_version_is_refused() {
        assert!(Manifest::from_json("{}").is_err());
        assert!(Manifest::from_json("{\"version\":2}").is_err_and(|text| text.contains("update")));
    }

    #[test]
    fn the_digest_knows_sizes_and_etags_and_not_the_order() {
        let digest = |objects: &[(&'static str, u64, Option<&'static str>)]| {
            inputs_digest(objects.iter().copied())
        };
        let one = digest(&[("a", 1, None), ("b", 2, Some("x"))]);
        assert_eq!(one, digest(&[("b", 2, Some("x")), ("a", 1, None)]));
        assert_ne!(one, digest(&[("a", 1, None), ("b", 2, Some("y"))]));
        assert_ne!(one, digest(&[("a", 1, None), ("b", 3, Some("x"))]));
        assert_ne!(digest(&[("ab", 1, Some(""))]), digest(&[("a", 1, Some("b"))]));
        assert_eq!(one.len(), 32);
    }
}
