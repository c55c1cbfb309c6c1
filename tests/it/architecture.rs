//! `ARCHITECTURE.md` and `src/lib.rs` against the files: the page names every source file, what
//! it names is there, and data flows one way.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Imports against the order of `src/lib.rs`, each with its reason in `ARCHITECTURE.md`.
const EXCEPTIONS: [(&str, &str); 5] = [
    ("job", "progress"),
    ("send", "progress"),
    ("trace", "progress"),
    ("progress", "config"),
    ("config", "cli"),
];

/// Rooms that talk to the network.
const ASYNC: [&str; 4] = ["src/store/", "src/streams/", "src/pipeline/", "src/send/"];

const ROOTS: [&str; 10] = [
    "src/",
    "tests/",
    "fuzz/",
    "scripts/",
    "benches/",
    "sample_data/",
    "notebooks/",
    "assets/",
    "docs/",
    ".ci/",
];

#[test]
fn every_source_file_is_on_the_page() {
    let named = named_paths();
    let missing: Vec<String> =
        source_files().into_iter().filter(|file| !named.contains(file)).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md lacks {missing:#?}");
}

#[test]
fn every_path_on_the_page_is_there() {
    let gone: Vec<String> = named_paths()
        .into_iter()
        .filter(|path| ROOTS.iter().any(|root| path.starts_with(root)))
        .filter(|path| !repository().join(path).exists())
        .collect();
    assert!(gone.is_empty(), "ARCHITECTURE.md names what is not there: {gone:#?}");
}

#[test]
fn no_room_uses_a_later_one() {
    let rooms = rooms();
    let place = |room: &str| rooms.iter().position(|name| name == room);
    let mut against = Vec::new();
    let mut excused = BTreeSet::new();
    for file in source_files() {
        let Some(room) = room_of(&file) else { continue };
        let here = place(&room).unwrap_or_else(|| panic!("{file} belongs to no room of lib.rs"));
        for used in used_rooms(&fs::read_to_string(repository().join(&file)).unwrap()) {
            let there = place(&used).unwrap_or_else(|| panic!("{file} uses crate::{used}"));
            if there <= here {
                continue;
            }
            match EXCEPTIONS.iter().find(|(from, to)| *from == room && *to == used) {
                Some(exception) => drop(excused.insert(*exception)),
                None => against.push(format!("{file} uses crate::{used}")),
            }
        }
    }
    assert!(against.is_empty(), "against the order of src/lib.rs: {against:#?}");
    let unused: Vec<_> = EXCEPTIONS.iter().filter(|one| !excused.contains(*one)).collect();
    assert!(unused.is_empty(), "exceptions that are no longer needed: {unused:?}");
    for (from, to) in EXCEPTIONS {
        let row = format!("| `{from}` → `{to}` |");
        assert!(page().contains(&row), "ARCHITECTURE.md gives no reason for {row}");
    }
}

#[test]
fn async_code_lies_where_the_network_is() {
    let outside: Vec<String> = source_files()
        .into_iter()
        .filter(|file| !ASYNC.iter().any(|room| file.starts_with(room)))
        .filter(|file| {
            let text = fs::read_to_string(repository().join(file)).unwrap();
            code_of(&text).any(|line| {
                line.contains("async fn") || line.contains(".await") || line.contains("tokio::")
            })
        })
        .collect();
    assert!(outside.is_empty(), "async code outside of {ASYNC:?}: {outside:#?}");
}

#[test]
fn imports_are_found_however_they_are_written() {
    let text = "//! [`crate::job`]\nuse crate::json::Frame;\nuse crate::{schema::Path, time};\n\
                fn f() -> crate::window::Hour {}\nuse crate::{\n    codec::{Step, Decoder},\n    store,\n};\n";
    let expected = ["codec", "json", "schema", "store", "time", "window"];
    assert_eq!(used_rooms(text), expected.map(str::to_string).into());
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page() -> String {
    fs::read_to_string(repository().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there")
}

/// What stands in backticks or is linked on the page.
fn named_paths() -> BTreeSet<String> {
    let page = page();
    let ticked = page.split('`').skip(1).step_by(2);
    let linked = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    ticked.chain(linked).map(str::to_string).collect()
}

/// Every `.rs` file below `src/`, as `src/json/scan.rs`, sorted.
fn source_files() -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![repository().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path.strip_prefix(repository()).unwrap();
                let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
                files.push(parts.join("/"));
            }
        }
    }
    files.sort();
    assert!(files.len() > 100, "the sources were not found");
    files
}

/// The modules of `src/lib.rs`, in their order.
fn rooms() -> Vec<String> {
    let lib = fs::read_to_string(repository().join("src/lib.rs")).unwrap();
    let modules = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    modules.map(str::to_string).collect()
}

/// `json` for `src/json/scan.rs` and for `src/json.rs`; none for `lib.rs` and `main.rs`.
fn room_of(file: &str) -> Option<String> {
    let name = file.strip_prefix("src/")?.split('/').next()?;
    let name = name.strip_suffix(".rs").unwrap_or(name);
    (!matches!(name, "lib" | "main")).then(|| name.to_string())
}

/// The lines that are no comments.
fn code_of(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// The rooms that a file reaches by `crate::`.
fn used_rooms(text: &str) -> BTreeSet<String> {
    let code: String = code_of(text).flat_map(|line| [line, "\n"]).collect();
    let word = |text: &str| -> String {
        text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    let mut used = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => drop(used.insert(word(rest))),
            Some(list) => used.extend(first_names(list).iter().map(|name| word(name))),
        }
    }
    used.remove("");
    used
}

/// The first words of the members of a braced list whose `{` is gone.
fn first_names(list: &str) -> Vec<String> {
    let mut names = vec![String::new()];
    let mut depth = 0;
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(String::new()),
            c if depth == 0 && !c.is_whitespace() => {
                names.last_mut().expect("one name at least").push(c);
            }
            _ => {}
        }
    }
    names
}
