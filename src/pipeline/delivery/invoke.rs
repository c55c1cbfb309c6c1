//! A transformation is asked: an event goes to a program's standard input or to an endpoint, its answer
//! comes back.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use tokio::runtime::Handle;

use crate::store::chain;
use crate::web::{self, WebClient};

/// Who transforms, and how long it may take.
#[derive(Clone, Debug)]
pub struct TransformSpec {
    pub by: Transformer,
    /// Of one invocation.
    pub timeout: Duration,
    /// Bytes of records that one invocation gets, at least one record.
    pub batch_bytes: usize,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Transformer {
    /// A command of the shell: the event on its standard input, the answer on its standard output.
    Program(String),
    /// The event is posted, the answer is the body of the reply: what Lambda's runtime emulator does.
    Url(Uri),
}

impl Transformer {
    /// Who it is, for error records.
    pub fn name(&self) -> String {
        match self {
            Transformer::Program(command) => command.clone(),
            Transformer::Url(url) => url.to_string(),
        }
    }
}

/// Lambda's own limit of a response.
const ANSWER_BYTES: usize = 6 << 20;
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Why an invocation gave no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InvokeError {
    pub code: &'static str,
    pub message: String,
}

fn failed(message: impl Into<String>) -> InvokeError {
    InvokeError { code: "Lambda.FunctionError", message: message.into() }
}

/// A transformation that can be asked.
pub struct Invoker {
    pub spec: TransformSpec,
    runtime: Handle,
    client: WebClient,
}

impl Invoker {
    /// # Errors
    /// Where the machine's certificates can't be read.
    pub fn new(spec: TransformSpec, runtime: Handle) -> io::Result<Invoker> {
        Ok(Invoker { spec, runtime, client: web::client()? })
    }

    /// One invocation; for a thread of its own.
    pub fn invoke(&self, event: Vec<u8>) -> Result<Vec<u8>, InvokeError> {
        match &self.spec.by {
            Transformer::Program(command) => self.run(command, event),
            Transformer::Url(url) => self.runtime.block_on(self.post(url, event)),
        }
    }

    fn timed_out(&self) -> InvokeError {
        let message = format!("no answer within {} s", self.spec.timeout.as_secs_f64());
        InvokeError { code: "Lambda.FunctionTimedOut", message }
    }

    fn run(&self, command: &str, event: Vec<u8>) -> Result<Vec<u8>, InvokeError> {
        let started = Instant::now();
        // In a group of its own, so that what the shell starts ends with it.
        let mut child = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| failed(format!("it can't be started: {error}")))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        // Both at once: a program may answer before it has read everything.
        let writing = std::thread::spawn(move || {
            // One that does not read its input says so by its answer.
            let _ = stdin.map(|mut stdin| stdin.write_all(&event));
        });
        let (told, reading) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut answer = Vec::new();
            let read =
                stdout.map(|stdout| stdout.take(ANSWER_BYTES as u64 + 1).read_to_end(&mut answer));
            let _ = told.send(read.transpose().map(|_| answer));
        });
        let status = loop {
            match child.try_wait() {
                Err(error) => return Err(failed(error.to_string())),
                Ok(Some(status)) => break status,
                // Nobody reads the rest of an answer that is too long.
                Ok(None) if started.elapsed() > self.spec.timeout => {
                    end(&mut child);
                    return Err(self.timed_out());
                }
                Ok(None) => std::thread::sleep(LOOK_EVERY),
            }
        };
        // What it left running would keep its output open.
        end_group(&child);
        drop(writing);
        // What left its group may keep the output open.
        let left = self.spec.timeout.saturating_sub(started.elapsed()).max(LOOK_EVERY);
        let answer = reading.recv_timeout(left).map_err(|_| self.timed_out())?;
        let answer =
            answer.map_err(|error| failed(format!("its answer can't be read: {error}")))?;
        if !status.success() {
            return Err(failed(format!("it ended with {status}")));
        }
        within_limit(answer)
    }

    async fn post(&self, url: &Uri, event: Vec<u8>) -> Result<Vec<u8>, InvokeError> {
        let request = Request::post(url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(event)))
            .map_err(|error| failed(error.to_string()))?;
        let exchange = async {
            let reply = self.client.request(request).await;
            let (parts, body) = reply.map_err(|error| failed(chain(&error)))?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| failed(format!("its answer: {error}")))?.to_bytes();
            if !parts.status.is_success() {
                let said: String = String::from_utf8_lossy(&body).chars().take(200).collect();
                return Err(failed(format!("{}: {said}", parts.status)));
            }
            if parts.headers.contains_key("x-amz-function-error") {
                let said: String = String::from_utf8_lossy(&body).chars().take(200).collect();
                return Err(failed(said));
            }
            within_limit(body.to_vec())
        };
        match tokio::time::timeout(self.spec.timeout, exchange).await {
            Ok(done) => done,
            Err(_) => Err(self.timed_out()),
        }
    }
}

fn within_limit(answer: Vec<u8>) -> Result<Vec<u8>, InvokeError> {
    match answer.len() > ANSWER_BYTES {
        true => Err(failed("its answer is longer than 6 MiB")),
        false => Ok(answer),
    }
}

/// Ends a program and what it started.
fn end(child: &mut Child) {
    end_group(child);
    let _ = child.wait();
}

fn end_group(child: &Child) {
    if let Some(group) = rustix::process::Pid::from_raw(child.id() as i32) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}
