//! Objects of every encoding, made by encoders that share no code with rawcat
//! (`tests/fixtures/codecs/make_codecs.py`): whole, cut at every byte, and with every bit flipped.

use std::fs;
use std::path::Path;

use rawcat::codec::{DecodeError, DecodeLimits, Decoder, Encoding, Input, Step};
use rawcat::json::{Projection, Tally};

use crate::laws::reading::{options, read};
use crate::place::{Place, key};

const DAY: &str = "2022-04-18";
const RECORDS: u64 = 24;

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/codecs").join(name))
        .unwrap()
}

/// Every object, by its name. What is no object has a dot in its name.
fn fixtures() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/codecs");
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| !name.contains('.') && name != "text");
    names.sort();
    assert!(names.len() >= 25, "{names:?}");
    names.into_iter().map(|name| (name.clone(), fixture(&name))).collect()
}

/// What an object gave.
struct Got {
    encodings: Vec<Encoding>,
    /// The content that may be used.
    content: Vec<u8>,
    error: Option<DecodeError>,
    tally: Tally,
}

impl Got {
    fn of(bytes: &[u8]) -> Got {
        let mut decoder = Decoder::new(Input::Whole(bytes.to_vec()), DecodeLimits::default());
        let (mut content, mut error) = (Vec::new(), None);
        loop {
            match decoder.next_block(&mut content) {
                Ok(Step::More) => {}
                Ok(Step::End) => break,
                Err(found) => error = Some(found),
            }
        }
        if let Some(DecodeError::Contradicted { good_bytes, .. }) = error {
            content.truncate(good_bytes as usize);
        }
        let tally = read(&options(Projection::All), &[], &content, &[]).tally;
        let Tally { record_bytes, separator_bytes, quarantined_bytes, .. } = tally;
        assert_eq!(content.len() as u64, record_bytes + separator_bytes + quarantined_bytes);
        Got { encodings: decoder.encodings().to_vec(), content, error, tally }
    }

    /// Whether as many layers were opened as the object of this name has.
    fn has_layers_of(&self, name: &str) -> bool {
        self.encodings.len() == name.split("_in_").count()
    }

    /// Whether a run would name what is wrong.
    fn is_noticed(&self) -> bool {
        self.error.is_some() || self.tally.quarantined_bytes > 0
    }
}

/// Formats without a checksum: a flipped bit inside a string changes a record, and nobody can tell.
fn has_checksum(name: &str) -> bool {
    let bare = ["snappy_java", "snappy_hadoop", "snappy_raw"];
    !bare.iter().any(|form| name.starts_with(form)) || name.ends_with("_in_gzip")
}

#[test]
fn objects_of_every_encoder_decode_to_the_same_text() {
    let text = fixture("text");
    for (name, bytes) in fixtures() {
        let got = Got::of(&bytes);
        assert!(got.error.is_none(), "{name}: {:?}", got.error);
        assert!(got.content == text, "{name}");
        assert_eq!((got.tally.kept, got.tally.quarantined_bytes), (RECORDS, 0), "{name}");
        // The outermost encoding and the number of layers are those of the name.
        let expected = match name.split("_in_").last().unwrap() {
            name if name.starts_with("gzip") => Encoding::Gzip,
            name if name.starts_with("zstd") => Encoding::Zstd,
            name if name.starts_with("zip") => Encoding::Zip,
            name if name.starts_with("snappy_java") => Encoding::SnappyJava,
            name if name.starts_with("snappy_hadoop") => Encoding::SnappyHadoop,
            name if name.starts_with("snappy_framed") => Encoding::SnappyFramed,
            _ => Encoding::SnappyRaw,
        };
        assert_eq!(got.encodings[0], expected, "{name}");
        assert!(got.has_layers_of(&name), "{name}: {:?}", got.encodings);
    }
}

#[test]
fn a_day_of_objects_of_every_encoding_is_published_from_a_folder_and_from_a_bucket() {
    let place = Place::new();
    let fixtures = fixtures();
    for (serial, (_, bytes)) in fixtures.iter().enumerate() {
        place.put(&key("s", "2022-04-18T03:00:00", serial as u32), bytes);
    }
    let line = "fetch --day 2022-04-18 --tz Asia/Seoul --export records";
    place.run(line).ends(0);
    let rows = place.records(DAY).column("n");
    let expected: Vec<u64> = fixtures.iter().flat_map(|_| 0..RECORDS).collect();
    assert_eq!(serde_json::json!(rows), serde_json::json!(expected));
    let of_folder =
        place.published().remove(&format!("records/local_date={DAY}/part-00000.parquet"));
    place.s3_run(&place.serve(), line).ends(0);
    let of_bucket =
        place.published().remove(&format!("records/local_date={DAY}/part-00000.parquet"));
    assert!(of_folder == of_bucket);
    // Names of entries are hostile, and nothing was made of them.
    assert!(!place.path().join("etc").exists() && !place.out().join("folder").exists());
}

#[test]
fn an_object_that_is_cut_at_any_byte_gives_its_front_and_is_named_unless_it_was_cut_between_members()
 {
    let text = fixture("text");
    for (name, bytes) in fixtures() {
        let mut unnoticed = 0;
        for cut in 1..bytes.len() {
            let got = Got::of(&bytes[..cut]);
            // What is left of a magic number is content of nobody's.
            let is_known = got.has_layers_of(&name);
            assert!(text.starts_with(&got.content) || !is_known, "{name} at {cut}");
            let is_bare_header = got.content.is_empty();
            assert!(is_known || got.is_noticed() || is_bare_header, "{name} at {cut}");
            if !got.is_noticed() {
                unnoticed += 1;
            }
        }
        // Members that stand behind one another have ends like the object's own.
        let members = match &*name {
            "gzip_members" => 4,
            "snappy_java_twice" | "snappy_hadoop_blocks" | "snappy_framed_chunks" => 3,
            // The header alone, and three blocks.
            name if name.starts_with("snappy_java_b") || name.starts_with("snappy_framed") => 4,
            // The header alone.
            name if name.ends_with("snappy_java") => 1,
            _ => 0,
        };
        assert!(unnoticed <= members, "{name}: {unnoticed}");
    }
}

#[test]
fn any_flipped_bit_is_named_or_changes_nothing_where_there_is_a_checksum() {
    let text = fixture("text");
    for (name, bytes) in fixtures() {
        // Layers cost time: of them, every seventh bit.
        let step = if name.contains("_in_") { 7 } else { 1 };
        for bit in (0..bytes.len() * 8).step_by(step) {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let got = Got::of(&bytes);
            let is_fine = got.content == text && got.error.is_none();
            assert!(got.is_noticed() || is_fine || !has_checksum(&name), "{name}, bit {bit}");
            // Nothing that a checksum stands for is given when it is wrong; only a cut may be mistaken.
            let is_cut = matches!(got.error, Some(DecodeError::Truncated { .. }));
            let is_same = text.starts_with(&got.content) || is_cut || !got.has_layers_of(&name);
            assert!(is_same || !has_checksum(&name), "{name}, bit {bit}: {:?}", got.error);
        }
    }
}

#[test]
fn records_before_a_cut_are_kept() {
    // Half of an object holds about half of its records, also where one block or entry is all of it.
    for name in
        ["gzip", "zip", "zip_stored", "snappy_java", "snappy_hadoop", "snappy_framed", "snappy_raw"]
    {
        let bytes = fixture(name);
        let got = Got::of(&bytes[..bytes.len() / 2]);
        assert!(
            matches!(got.error, Some(DecodeError::Truncated { .. })),
            "{name}: {:?}",
            got.error
        );
        assert!(got.tally.kept >= 3, "{name}: {}", got.tally.kept);
    }
}

#[test]
fn damaged_objects_are_named_and_the_others_are_published() {
    let place = Place::new();
    place.put(&key("s", "2022-04-18T03:00:00", 0), fixture("zip"));
    let mut damaged = fixture("snappy_framed");
    damaged[40] ^= 1;
    place.put(&key("s", "2022-04-18T03:00:00", 1), &damaged);
    let mut secret = fixture("zip");
    secret[6] |= 1;
    place.put(&key("s", "2022-04-18T03:00:00", 2), &secret);
    let ran = place.run("fetch --day 2022-04-18 --tz Asia/Seoul --export records").ends(3);
    for word in
        ["framed snappy member 2 at byte 10 is damaged: the checksum", "zip member 1", "password"]
    {
        let quarantine = place.table(&format!("quarantine/local_date={DAY}/part-00000.parquet"));
        let reasons = serde_json::to_string(&quarantine.column("reason")).unwrap();
        assert!(reasons.contains(word), "{word}: {reasons}\n{}", ran.stdout);
    }
    assert_eq!(place.records(DAY).rows() as u64, RECORDS);
    place.manifest(DAY);
}
