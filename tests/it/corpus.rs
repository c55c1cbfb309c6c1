//! Every input of `fuzz/corpus/`, by the laws that the fuzz targets check: what the fuzzer found
//! once stays found, and the seeds mean what their names say.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::laws;

#[test]
fn every_record_of_the_corpus_keeps_the_laws() {
    replay("records", laws::records::check);
}

#[test]
fn every_object_of_the_corpus_keeps_the_laws() {
    replay("codecs", laws::codecs::check);
}

#[test]
fn every_time_of_the_corpus_keeps_the_laws() {
    replay("time", laws::time::check);
}

#[test]
fn every_key_of_the_corpus_keeps_the_laws() {
    replay("keys", laws::keys::check);
}

#[test]
fn the_corpus_stays_small() {
    let inputs: Vec<_> =
        ["records", "codecs", "time", "keys"].iter().flat_map(|t| corpus(t)).collect();
    let bytes: usize = inputs.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(inputs.len() < 400, "{} files", inputs.len());
    assert!(bytes < 300_000, "{bytes} bytes");
}

/// The inputs of a target by their names.
fn corpus(target: &str) -> BTreeMap<String, Vec<u8>> {
    // These tests are part of two crates: the program's, and the one around the corpus.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fuzz = if root.join("corpus").exists() { root.to_path_buf() } else { root.join("fuzz") };
    let folder = fuzz.join("corpus").join(target);
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| (path.file_name().unwrap().to_string_lossy().into(), fs::read(&path).unwrap()))
        .collect()
}

fn replay(target: &str, check: fn(&[u8])) {
    let inputs = corpus(target);
    assert!(inputs.len() > 10, "the corpus of {target} is there");
    let mut broken = Vec::new();
    for (name, bytes) in &inputs {
        // The message of the panic is on the standard error above the name.
        if std::panic::catch_unwind(|| check(bytes)).is_err() {
            broken.push(format!("fuzz/corpus/{target}/{name}"));
        }
    }
    assert!(broken.is_empty(), "laws are broken by {broken:#?}");
}
