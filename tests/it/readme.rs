//! `README.md` as it is written: its console blocks are run, one after another, in a folder that
//! looks like a fresh clone; its other commands are parsed.

use std::fs;
use std::path::Path;

use clap::Parser;
use rawcat::cli::Cli;

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// The README's first command, which builds the program. The tests have it already.
const CARGO_RUN: &str = "cargo run --release -- ";

#[test]
fn the_console_blocks_show_what_the_program_prints() {
    let blocks = blocks_of(&readme(), "console");
    assert!(blocks.len() >= 5, "the README lost its console blocks");
    let folder = tempfile::tempdir().expect("a folder for the copy");
    let case = folder.path().join("README.md");
    let clone = folder.path().join("README.in");
    fresh_clone(&clone);
    fs::write(&case, blocks.iter().map(|block| as_case(block)).collect::<String>()).unwrap();
    let nowhere = folder.path().join("home").display().to_string();
    trycmd::TestCases::new()
        .register_bin("rawcat", Path::new(env!("CARGO_BIN_EXE_rawcat")).to_path_buf())
        .env("HOME", &nowhere)
        .env("XDG_CONFIG_HOME", &nowhere)
        .env("NO_COLOR", "1")
        .case(&case);
}

#[test]
fn the_other_commands_are_ones_that_the_program_knows() {
    let mut commands = 0;
    let page = fs::read_to_string(Path::new(REPOSITORY).join("docs/pipeline.md")).unwrap();
    let both = blocks_of(&readme(), "sh").into_iter().chain(blocks_of(&page, "sh"));
    for block in both {
        let rawcat = block.lines().filter(|line| line.starts_with("rawcat "));
        for line in rawcat {
            // What a shell would take: up to the pipe, the redirection, the comment or the `&`.
            let typed = line.split(['|', '>', '#', '&']).next().unwrap_or(line);
            let parsed = Cli::try_parse_from(typed.split_whitespace());
            assert!(parsed.is_ok(), "{line}\n{}", parsed.unwrap_err());
            commands += 1;
        }
    }
    assert!(commands >= 5, "the README lost its commands");
}

#[test]
fn the_settings_file_is_one_that_the_program_understands() {
    for block in blocks_of(&readme(), "toml") {
        let folder = tempfile::tempdir().expect("a folder for the file");
        fs::write(folder.path().join("rawcat.toml"), &block).unwrap();
        let shown = std::process::Command::new(env!("CARGO_BIN_EXE_rawcat"))
            .arg("config")
            .current_dir(folder.path())
            .output()
            .expect("rawcat starts");
        let messages = String::from_utf8_lossy(&shown.stderr);
        assert!(shown.status.success() && messages.is_empty(), "{messages}");
    }
}

#[test]
fn links_lead_somewhere() {
    for page in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "docs/pipeline.md"] {
        let text = fs::read_to_string(Path::new(REPOSITORY).join(page)).unwrap();
        // What stands in a comment is not on the page.
        let shown = text.split("<!--").map(|part| part.split("-->").last().unwrap_or(part));
        for link in shown.flat_map(|part| part.split("](").skip(1)) {
            let target = link.split([')', '#']).next().unwrap_or("");
            let outside = target.is_empty() || target.contains("://");
            let folder = Path::new(REPOSITORY).join(page);
            let beside = folder.parent().unwrap().join(target);
            assert!(outside || beside.exists(), "{page}: {target}");
        }
    }
}

fn readme() -> String {
    fs::read_to_string(Path::new(REPOSITORY).join("README.md")).expect("README.md is there")
}

/// The contents of fenced blocks of one language.
fn blocks_of(page: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<(bool, String)> = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(info), None) => open = Some((info.trim() == language, String::new())),
            (Some(_), Some((wanted, block))) => {
                if *wanted {
                    blocks.push(std::mem::take(block));
                }
                open = None;
            }
            (None, Some((_, block))) => block.push_str(&format!("{line}\n")),
            (None, None) => {}
        }
    }
    blocks
}

/// What a clone has that the commands need.
fn fresh_clone(to: &Path) {
    let from = Path::new(REPOSITORY);
    fs::create_dir_all(to).unwrap();
    fs::copy(from.join("rawcat.toml"), to.join("rawcat.toml")).unwrap();
    copy_folder(&from.join("sample_data/rawdata"), &to.join("sample_data/rawdata"));
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        match from.is_dir() {
            true => copy_folder(&from, &to.join(name)),
            false => fs::copy(&from, to.join(name)).map(drop).unwrap(),
        }
    }
}

/// A console block in trycmd's own form: `$ echo $?` and its answer become the status of the
/// command before, and what depends on the machine or on the encoder is left out.
fn as_case(block: &str) -> String {
    let mut steps: Vec<(String, String, String)> = Vec::new();
    let mut asks_status = false;
    for line in block.lines() {
        if line == "$ echo $?" {
            asks_status = true;
        } else if let Some(command) = line.strip_prefix("$ ") {
            let command = command.replace(CARGO_RUN, "rawcat ");
            steps.push((command, String::new(), String::new()));
        } else if let Some((_, status, output)) = steps.last_mut() {
            match std::mem::take(&mut asks_status) {
                true => *status = format!("? {line}\n"),
                false => output.push_str(&format!("{}\n", elided(line))),
            }
        }
    }
    let steps = steps.iter().map(|(command, status, output)| {
        // A blank line keeps the newline at the end of the output.
        let gap = if output.is_empty() || output.ends_with("\n\n") { "" } else { "\n" };
        format!("$ {command}\n{status}{output}{gap}")
    });
    format!("```console\n{}```\n\n", steps.collect::<String>())
}

/// The line without the duration, without the sizes of files that an encoder may change, and
/// without what the page leaves out at its end.
fn elided(line: &str) -> String {
    if line.starts_with("  took ") {
        return "  took [..]".to_string();
    }
    if let Some(beginning) = line.strip_suffix('…') {
        return format!("{beginning}[..]");
    }
    match line.split_once("out/") {
        Some((margin, path)) if line.ends_with('B') => {
            format!("{margin}out/{} [..]", path.split(' ').next().unwrap_or(path))
        }
        _ => line.to_string(),
    }
}
