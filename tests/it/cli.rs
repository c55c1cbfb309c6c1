//! The command line as users meet it: help texts, `config`, and what mistakes are answered.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

/// A folder with an empty source `raw/`, and `rawcat` run in it with nothing inherited.
struct Place {
    folder: tempfile::TempDir,
    environment: Vec<(&'static str, String)>,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("raw")).unwrap();
        Place { folder, environment: Vec::new() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn with_file(self, text: &str) -> Place {
        std::fs::write(self.path().join("rawcat.toml"), text).unwrap();
        self
    }

    fn with_env(mut self, name: &'static str, value: &str) -> Place {
        self.environment.push((name, value.to_string()));
        self
    }

    fn run_in(&self, folder: &Path, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_rawcat"))
            .args(args)
            .env_clear()
            .env("HOME", self.path().join("home"))
            .envs(self.environment.iter().map(|(name, value)| (*name, value.as_str())))
            .current_dir(folder)
            .output()
            .unwrap()
    }

    fn run(&self, args: &[&str]) -> Output {
        self.run_in(self.path(), args)
    }

    /// `$ rawcat …`, what came on stdout and stderr, and the exit code.
    fn transcript(&self, line: &str) -> String {
        let args = words(line);
        let output = self.run(&args.iter().map(String::as_str).collect::<Vec<_>>());
        let mut text = format!("$ rawcat {line}\n");
        text.push_str(&self.anonymous(&output.stdout));
        text.push_str(&self.anonymous(&output.stderr));
        let _ = writeln!(text, "[exit code {}]\n", output.status.code().unwrap());
        text
    }

    /// The text with this folder's random name replaced.
    fn anonymous(&self, text: &[u8]) -> String {
        let here = self.path().canonicalize().unwrap();
        let text = String::from_utf8(text.to_vec()).unwrap();
        let text = text.replace(here.to_str().unwrap(), "[HERE]");
        text.replace(self.path().to_str().unwrap(), "[HERE]")
    }
}

/// Words as a shell would split them; quotes keep blanks.
fn words(line: &str) -> Vec<String> {
    let parts = line.split('\'').enumerate();
    parts
        .flat_map(|(at, part)| match at % 2 {
            1 => vec![part.to_string()],
            _ => part.split_whitespace().map(str::to_string).collect(),
        })
        .collect()
}

/// The line with the blanks between its columns as two.
fn in_columns(line: &str) -> String {
    let mut columns = line.split("  ").map(str::trim_start).filter(|column| !column.is_empty());
    let first = columns.next().unwrap_or_default();
    let indent = if line.starts_with(' ') { "  " } else { "" };
    let rest: String = columns.map(|column| format!("  {column}")).collect();
    format!("{indent}{first}{rest}\n")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn short_helps_fit_a_screen() {
    let place = Place::new();
    let mut all = String::new();
    for command in [
        "", "fetch", "plan", "cat", "schema", "chart", "pipeline", "send", "trace", "policy",
        "config", "man",
    ] {
        let text = place.transcript(format!("{command} -h").trim());
        assert!(text.lines().count() < 62, "{command}: {} lines", text.lines().count());
        all.push_str(&text);
    }
    insta::assert_snapshot!(all);
}

#[test]
fn long_helps_explain_every_option() {
    let place = Place::new();
    let all: String = [
        "",
        "fetch",
        "cat",
        "schema",
        "chart",
        "pipeline",
        "send",
        "trace",
        "policy",
        "completions",
    ]
    .map(|command| place.transcript(format!("{command} --help").trim()))
    .concat();
    insta::assert_snapshot!(all);
}

#[test]
fn no_command_shows_the_help_and_is_wrong_usage() {
    let output = Place::new().run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stdout(&output).is_empty());
    assert!(stderr(&output).contains("Commands:"));
}

#[test]
fn mistakes_in_what_is_typed_are_answered_with_what_to_do() {
    let place = Place::new();
    let z = "--source raw --tz Asia/Seoul";
    let lines = [
        format!("fetch --day 2022-4-18 {z}"),
        format!("fetch --day 18/04/2022 {z}"),
        format!("fetch --day 03/04/2022 {z}"),
        format!("fetch --day 2022-04-31 {z}"),
        "fetch --day 2022-04-18 --source raw --tz KST".into(),
        "fetch --day 2022-04-18 --source raw --tz UTC+9".into(),
        "fetch --day 2022-04-18 --source raw".into(),
        format!("fetch {z}"),
        format!("fetch --day 2022-04-18 --from 2022-04-17 --to 2022-04-18 {z}"),
        format!("fetch --from 2022-04-17 {z}"),
        format!("fetch --from 2022-04-18 --to 2022-04-17 {z}"),
        format!("fetch --from 2022-04-18T06:00 --to 2022-04-18T06:00 {z}"),
        format!("fetch --from 2022-04-18 --to 2022-04-18T12:00 {z}"),
        format!("fetch --from 2022-04-18T00:00Z --to 2022-04-18T12:00Z {z}"),
        format!("fetch --day 2022-04-18 {z} --every 1hour"),
        format!("fetch --day 2022-04-18 {z} --every 0"),
        format!("fetch --day 2022-04-18 {z} --export recrods"),
        format!("fetch --day 2022-04-18 {z} --export records,"),
        format!("fetch --day 2022-04-18 {z} --by type,,os"),
        format!("fetch --day 2022-04-18 {z} --type value=flaot"),
        format!("fetch --day 2022-04-18 {z} --type value"),
        format!("fetch --day 2022-04-18 {z} --type value=int --type value=float"),
        format!("fetch --day 2022-04-18 {z} --fallback-key"),
        format!("fetch --day 2022-04-18 {z} --jobs 0"),
        format!("fetch --day 2022-04-18 {z} --jobs 99999999999"),
        format!("fetch --day 2022-04-18 {z} --jobs -1"),
        format!("fetch --day 2022-04-18 {z} -j -1"),
        format!("fetch --day 2022-04-18 {z} --settle -2h --look-back 1h"),
        format!("fetch --day 2022-04-18 {z} --look-back -1h"),
        format!("fetch --day 2022-04-18 {z} --panels -1"),
        format!("fetch --day 2022-04-18 {z} --size -1"),
        format!("fetch --day 2022-04-18 {z} --max-requests 1025"),
        format!("fetch --day 2022-04-18 {z} --max-groups 99999999999999999999"),
        format!("fetch --day 2022-04-18 {z} --max-object-bytes 99999999999GiB"),
        format!("fetch --day -1 {z}"),
        format!("fetch --day 2022-02-30 {z}"),
        format!("fetch --day 2022-13-01 {z}"),
        format!("fetch --day 2022-04-18T00:00 {z}"),
        format!("fetch --from 2022-04-18T24:00 --to 2022-04-20T00:00 {z}"),
        format!("fetch --from 2022-04-18T06 --to 2022-04-20T00:00 {z}"),
        format!("fetch --from 2022-04-18T25:00 --to 2022-04-20T00:00 {z}"),
        format!("fetch --from 2022-02-30T00:00 --to 2022-04-20T00:00 {z}"),
        format!("fetch --day 2022-04-18 {z} --out ''"),
        format!("fetch --day 2022-04-18 {z} --out raw/days"),
        "fetch --day 2022-04-18 --tz Asia/Seoul --source /etc/passwd".into(),
        "help fecth".into(),
        format!("fetch --day 2022-04-18 {z} --size 10"),
        format!("fetch --day 2022-04-18 {z} --size"),
        format!("fetch --day 2022-04-18 {z} --max-object-bytes 4G"),
        format!("fetch --day 2022-04-18 {z} -q -v"),
        format!("fetch --day 2022-04-18 --day 2022-04-19 {z}"),
        format!("fetch --dya 2022-04-18 {z}"),
        "policy --by type".into(),
        "--day 2022-04-18 fetch".into(),
        "fetch 2022-04-18".into(),
        "fetch --day 2022-04-18 --tz Asia/Seoul".into(),
        "fetch --day 2022-04-18 --tz Asia/Seoul --source s3:/bucket".into(),
        "fetch --day 2022-04-18 --tz Asia/Seoul --source nowhere/".into(),
        "fetch --day 2022-04-18 --tz Asia/Seoul --source 'evil\u{1b}[2J'".into(),
        "cat".into(),
        "cat nowhere.gz".into(),
        "cat --day 2022-04-18 raw".into(),
        "cat --raw --csv ./raw".into(),
        "cat --excel-safe ./raw".into(),
        "cat firehose://events".into(),
        "cat kinesis://".into(),
        "cat kinesis://events --day 2022-04-18".into(),
        "cat --follow ./raw".into(),
        "send --file - ".into(),
        "send --file - --to s3://events".into(),
        "send --file - --to http://127.0.0.1:7117/".into(),
        "send --file - --to kinesis://events --url http://127.0.0.1:7117/".into(),
        "send --file - --to firehose://events --partition-key id".into(),
        "trace".into(),
        "trace --mark x".into(),
        "trace --url 127.0.0.1:7117".into(),
        "trace --url http://127.0.0.1:7117/ --stream firehose://events".into(),
        "chart --width 50 --day 2022-04-18 --tz UTC".into(),
        "fecth".into(),
        "sync".into(),
        "man".into(),
        "completions tcsh".into(),
    ];
    let mut all = String::new();
    for line in &lines {
        let transcript = place.transcript(line);
        assert!(transcript.contains("[exit code 2]"), "{transcript}");
        assert!(transcript.contains("\nrawcat: "), "{transcript}");
        assert!(transcript.contains("\nhint: "), "{transcript}");
        all.push_str(&transcript);
    }
    insta::assert_snapshot!(all);
}

#[test]
fn mistakes_in_the_file_are_named_with_their_line() {
    let files = [
        "souce = \"raw\"\n",
        "# team\nlook-back = \"1h\"\n",
        "tz = Asia/Seoul\n",
        "tz = \"KST\"\n",
        "every = \"1hour\"\n",
        "every = [\"5m\", \"1h\"]\n",
        "json = \"maybe\"\n",
        "jobs = 0\n",
        "export = [\"records\", \"recrods\"]\n",
        "[s3]\nregion = \"eu-west-1\"\n",
        "tz = \"UTC\"\ntz = \"UTC\"\n",
        "pin = \"rawcat.schema.json\"\n",
        "by = [[\"type\"]]\n",
        "nonsense\n",
    ];
    let mut all = String::new();
    for text in files {
        let transcript = Place::new().with_file(text).transcript("config");
        assert!(transcript.contains("rawcat: [HERE]/rawcat.toml:"), "{transcript}");
        assert!(transcript.contains("\nhint: "), "{transcript}");
        assert!(transcript.contains("[exit code 2]"), "{transcript}");
        let _ = write!(all, "{text}{transcript}");
    }
    insta::assert_snapshot!(all);
}

#[test]
fn a_folder_named_in_the_file_that_is_not_there_is_named_with_its_line() {
    let place = Place::new().with_file("tz = \"UTC\"\nsource = \"nowhere\"\n");
    let transcript = place.transcript("fetch --day 2022-04-18");
    let wanted = "rawcat: [HERE]/rawcat.toml:2: source: the folder [HERE]/nowhere is not there\n";
    assert!(transcript.contains(wanted), "{transcript}");
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_and_not_skipped() {
    let place = Place::new();
    std::fs::write(place.path().join("rawcat.toml"), b"tz = \"\xff\"").unwrap();
    let output = place.run(&["config"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("can't read"), "{}", stderr(&output));
}

#[test]
fn mistakes_in_the_environment_are_named_with_their_variable() {
    let place = Place::new().with_env("RAWCAT_EVERY", "1hour");
    let error = stderr(&place.run(&["config"]));
    assert!(
        error.starts_with("rawcat: RAWCAT_EVERY: '1hour' is not a length of time\n"),
        "{error}"
    );

    let place = Place::new().with_env("RAWCAT_JSON", "maybe");
    let error = stderr(&place.run(&["config"]));
    assert!(error.starts_with("rawcat: RAWCAT_JSON: 'maybe' is neither true"), "{error}");

    let place = Place::new().with_env("RAWCAT_EVREY", "1h");
    let output = place.run(&["config"]);
    assert_eq!(output.status.code(), Some(0));
    let warning = "RAWCAT_EVREY is set, and no option has that name; did you mean RAWCAT_EVERY?";
    assert!(stderr(&output).contains(warning));
    // A typing mistake is said everywhere, a name that is somebody else's by `config` alone.
    let place = place.with_env("RAWCAT_HELPER_DIR", "/x");
    let place = place.with_file("source = \"raw\"\n");
    let plan = stderr(&place.run(&["plan", "--day", "2022-04-18", "--tz", "UTC"]));
    assert!(plan.contains(warning) && !plan.contains("RAWCAT_HELPER_DIR"), "{plan}");
    assert!(stderr(&place.run(&["config"])).contains("RAWCAT_HELPER_DIR is set"));
}

#[test]
fn flag_wins_over_environment_over_file_over_default() {
    let place = Place::new()
        .with_file("every = \"2h\"\nsettle = \"3h\"\nlook_back = \"4h\"\nno_sign_request = true\n")
        .with_env("RAWCAT_EVERY", "5m")
        .with_env("RAWCAT_SETTLE", "6m")
        .with_env("RAWCAT_NO_SIGN_REQUEST", "false")
        .with_env("RAWCAT_MAX_LATE", "");
    let output = place.run(&["config", "--every", "7m", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let options = shown["options"].as_array().unwrap();
    let option = |name: &str| {
        let option = options.iter().find(|option| option["name"] == name).unwrap();
        (option["value"].clone(), option["from"].as_str().unwrap().to_string())
    };
    assert_eq!(option("every"), ("7m".into(), "flag".into()));
    assert_eq!(option("settle"), ("6m".into(), "env".into()));
    assert_eq!(option("look_back"), ("4h".into(), "file".into()));
    assert_eq!(option("look_ahead"), ("1h".into(), "default".into()));
    assert_eq!(option("no_sign_request"), (false.into(), "env".into()));
    // An empty variable counts as unset.
    assert_eq!(option("max_late"), ("24h".into(), "default".into()));
}

#[test]
fn config_shows_each_value_and_its_origin() {
    let place = Place::new()
        .with_file(
            "source = \"raw\"\ntz = \"Asia/Seoul\"\nday = 2022-04-18\nby = [\"type\", \"os\"]\n\
             jobs = 3\ntype = { value = \"float\" }\n\
             endpoint_url = \"http://key:secret@localhost:9000\"\n",
        )
        .with_env("RAWCAT_METRIC", "value,lat");
    std::fs::write(place.path().join("rawcat.schema.json"), "{}").unwrap();
    let line = "config --every 5m -v";
    let json = place.transcript("config --json --every 5m");
    // How wide a column is depends on the folder's name, which has no fixed length.
    let table = place.transcript(line).lines().map(in_columns).collect::<String>();
    insta::assert_snapshot!(format!("{table}{json}"));
}

#[test]
fn without_a_file_config_says_where_it_looked() {
    let place = Place::new().with_env("XDG_CONFIG_HOME", "/xdg");
    let text = place.anonymous(&place.run(&["config"]).stdout);
    assert!(text.starts_with("file: no rawcat.toml found; looked for\n"), "{text}");
    assert!(text.contains("[HERE]/rawcat.toml\n"), "{text}");
    assert!(text.contains("      /xdg/rawcat/rawcat.toml\n"), "{text}");
}

#[test]
fn the_file_is_found_upward_then_among_the_users_own() {
    let place = Place::new();
    let deep = place.path().join("a/b");
    std::fs::create_dir_all(&deep).unwrap();
    let user = place.path().join("home/.config/rawcat");
    std::fs::create_dir_all(&user).unwrap();
    std::fs::write(user.join("rawcat.toml"), "source = \"mine\"\n").unwrap();
    let source = |place: &Place| {
        let shown = stdout(&place.run_in(&deep, &["config", "--json"]));
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        let options = shown["options"].as_array().unwrap();
        let option = options.iter().find(|option| option["name"] == "source").unwrap();
        place.anonymous(option["value"].as_str().unwrap().as_bytes())
    };
    assert_eq!(source(&place), "[HERE]/home/.config/rawcat/mine");
    let place = place.with_file("source = \"raw\"\n");
    assert_eq!(source(&place), "[HERE]/raw");
}

#[test]
fn a_folder_that_cannot_be_searched_has_no_file() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let user = place.path().join("home/.config/rawcat");
    std::fs::create_dir_all(&user).unwrap();
    std::fs::write(user.join("rawcat.toml"), "tz = \"UTC\"\n").unwrap();
    let allow = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    // Nothing is closed to root.
    let is_root = |path: &Path| std::fs::read_dir(path).is_ok();
    allow(&user, 0o000);
    let output = place.run(&["config"]);
    let closed = !is_root(&user);
    allow(&user, 0o755);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&output).contains("no rawcat.toml found"), closed);
    // A file that is found and can't be read is an error, as before.
    allow(&user.join("rawcat.toml"), 0o000);
    let unreadable = std::fs::read(user.join("rawcat.toml")).is_err();
    let output = place.run(&["config"]);
    assert_eq!(output.status.code(), Some(if unreadable { 2 } else { 0 }));
    // A home that is a file holds none either, whoever asks.
    let place = Place::new().with_env("XDG_CONFIG_HOME", "/dev/null");
    assert_eq!(place.run(&["config"]).status.code(), Some(0));
}

#[test]
fn help_is_a_command_too() {
    let place = Place::new();
    for (help, flag) in
        [(vec!["help"], vec!["--help"]), (vec!["help", "plan"], vec!["plan", "--help"])]
    {
        let output = place.run(&help);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(stdout(&output), stdout(&place.run(&flag)));
    }
}

#[test]
fn typed_dates_silence_the_files_day() {
    let place = Place::new().with_file("source = \"raw\"\ntz = \"UTC\"\nday = \"yesterday\"\n");
    let error = stderr(&place.run(&["fetch", "--from", "2022-04-18", "--to", "2022-04-17"]));
    // The range itself is what is wrong; the file's day is no contradiction.
    assert!(error.contains("2022-04-18 is after --to 2022-04-17"), "{error}");
}

#[test]
fn help_shows_the_programs_defaults_and_not_the_files() {
    let place = Place::new().with_file("every = \"5m\"\n");
    assert!(stdout(&place.run(&["fetch", "-h"])).contains("[default: 1h]"));
}

#[test]
fn a_broken_file_does_not_stop_completions_or_man_pages() {
    let place = Place::new().with_file("nonsense\n");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = place.run(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        assert!(stdout(&output).contains("look-back"), "{shell}");
    }
    let pages = place.path().join("pages/man1");
    assert_eq!(place.run(&["man", pages.to_str().unwrap()]).status.code(), Some(0));
    let page = std::fs::read_to_string(pages.join("rawcat-fetch.1")).unwrap();
    assert!(page.contains(r"\-\-max\-late"), "{page}");
    assert!(pages.join("rawcat.1").is_file());
}

#[test]
fn policy_prints_json_for_s3_and_a_sentence_for_folders() {
    let place = Place::new();
    let output = place.run(&["policy", "--source", "s3://team-events/rawdata/"]);
    assert_eq!(output.status.code(), Some(0));
    let policy: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(policy["Statement"][0]["Condition"]["StringLike"]["s3:prefix"], "rawdata/*");

    let output = place.run(&["policy", "--source", "raw"]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), ""));
    assert!(stderr(&output).contains("no permission is needed"));
}

#[test]
fn a_reader_that_goes_away_ends_the_program_quietly() {
    let place = Place::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_rawcat"))
        .args(["completions", "zsh"])
        .current_dir(place.path())
        .env_clear()
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(stderr(&output), "");
    assert_eq!(output.status.code(), Some(0));
}
