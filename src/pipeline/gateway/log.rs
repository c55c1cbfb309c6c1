//! The access log: a line of JSON for each request, with the members that API Gateway's own log has:
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-variables-for-access-logging.html>.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use axum::http::Version;
use chrono::{DateTime, Utc};
use serde::Serialize;

/// Where lines go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogTo {
    Nowhere,
    Stdout,
    File(PathBuf),
}

/// A file that has grown so far becomes `<name>.1`, and a new one is begun.
const MOST_BYTES: u64 = 64 << 20;
/// Lines that are held back, until they are flushed.
const HELD_BYTES: usize = 64 << 10;

/// When a request came.
#[derive(Clone, Copy, Debug)]
pub struct LogTime(DateTime<Utc>);

impl LogTime {
    pub fn now() -> LogTime {
        LogTime(Utc::now())
    }
}

/// A request and how it was answered.
#[derive(Clone, Copy, Debug)]
pub struct LogLine<'a> {
    pub request_id: &'a str,
    pub ip: Option<IpAddr>,
    pub request_time: LogTime,
    pub http_method: &'a str,
    pub path: &'a str,
    pub protocol: Version,
    pub status: u16,
    /// `None` where it is not known beforehand.
    pub response_length: Option<u64>,
    pub response_latency_ms: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    request_id: &'a str,
    ip: Option<IpAddr>,
    request_time: String,
    http_method: &'a str,
    path: &'a str,
    protocol: String,
    status: u16,
    response_length: Option<u64>,
    response_latency: f64,
}

/// The log, open.
#[derive(Debug)]
pub struct AccessLog(Option<Mutex<Open>>);

#[derive(Debug)]
enum Open {
    Stdout(BufWriter<io::Stdout>),
    File { path: PathBuf, file: BufWriter<File>, bytes: u64 },
}

impl AccessLog {
    /// Opens the file, at the end of what is there.
    pub fn open(to: &LogTo) -> io::Result<AccessLog> {
        Ok(AccessLog(match to {
            LogTo::Nowhere => None,
            LogTo::Stdout => {
                Some(Mutex::new(Open::Stdout(BufWriter::with_capacity(HELD_BYTES, io::stdout()))))
            }
            LogTo::File(path) => {
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder)?;
                }
                Some(Mutex::new(Open::at(path)?))
            }
        }))
    }

    /// Adds a line. A log that can't be written is no reason to refuse a record.
    pub fn write(&self, line: &LogLine<'_>) {
        let Some(open) = &self.0 else { return };
        let line = Line {
            request_id: line.request_id,
            ip: line.ip,
            request_time: line.request_time.0.format("%d/%b/%Y:%H:%M:%S %z").to_string(),
            http_method: line.http_method,
            path: line.path,
            protocol: format!("{:?}", line.protocol),
            status: line.status,
            response_length: line.response_length,
            response_latency: (line.response_latency_ms * 1e3).round() / 1e3,
        };
        let mut text = serde_json::to_vec(&line).expect("texts and numbers are JSON");
        text.push(b'\n');
        open.lock().unwrap_or_else(PoisonError::into_inner).write(&text);
    }

    pub fn flush(&self) {
        let Some(open) = &self.0 else { return };
        let _ = match &mut *open.lock().unwrap_or_else(PoisonError::into_inner) {
            Open::Stdout(out) => out.flush(),
            Open::File { file, .. } => file.flush(),
        };
    }
}

impl Open {
    fn at(path: &Path) -> io::Result<Open> {
        let file = File::options().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        let file = BufWriter::with_capacity(HELD_BYTES, file);
        Ok(Open::File { path: path.to_path_buf(), file, bytes })
    }

    fn write(&mut self, text: &[u8]) {
        match self {
            Open::Stdout(out) => drop(out.write_all(text)),
            Open::File { path, file, bytes } => {
                let _ = file.write_all(text);
                *bytes += text.len() as u64;
                if *bytes < MOST_BYTES {
                    return;
                }
                let _ = file.flush();
                let mut name = path.clone().into_os_string();
                name.push(".1");
                // Where it can't be put aside, it goes on growing.
                if std::fs::rename(&*path, name).is_ok()
                    && let Ok(next) = Open::at(&path.clone())
                {
                    *self = next;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_asked_for_what_and_how_it_went() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let log = AccessLog::open(&LogTo::File(path.clone())).unwrap();
        log.write(&LogLine {
            request_id: "a-b",
            ip: Some([127, 0, 0, 1].into()),
            request_time: LogTime("2022-04-17T15:30:05Z".parse().unwrap()),
            http_method: "POST",
            path: "/PROD/v1\n",
            protocol: Version::HTTP_11,
            status: 200,
            response_length: Some(7),
            response_latency_ms: 1.23456,
        });
        log.flush();
        let line = r#"{"requestId":"a-b","ip":"127.0.0.1","requestTime":"17/Apr/2022:15:30:05 +0000","httpMethod":"POST","path":"/PROD/v1\n","protocol":"HTTP/1.1","status":200,"responseLength":7,"responseLatency":1.235}"#;
        assert_eq!(std::fs::read_to_string(path).unwrap(), format!("{line}\n"));
    }
}
