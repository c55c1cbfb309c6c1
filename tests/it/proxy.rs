//! A TCP proxy for faults below HTTP: connections that are reset, closed, stand still, trickle or talk nonsense,
//! anywhere in what a server says, headers included.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// What happens to a connection at some byte of what the server says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mishap {
    Reset,
    Close,
    Stall,
    /// A byte each millisecond from here on.
    Trickle,
    /// No HTTP at all, instead of the first answer. Later it would be a body's bytes, which nobody can tell from
    /// others where there is no checksum.
    Nonsense,
}

/// A running proxy; it ends when this is dropped.
pub struct Proxy {
    endpoint: String,
    struck: Arc<Mutex<Vec<String>>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Every other connection meets it, at one of so many bytes: an answer or two.
const BYTES: u64 = 6_000;

impl Proxy {
    /// Stands before the server at `endpoint`. Which connection is struck, and where, follows from
    /// its number.
    pub fn start(endpoint: &str, mishap: Mishap, seed: u64) -> Proxy {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let own = format!("http://{}", listener.local_addr().unwrap());
        let server = endpoint.trim_start_matches("http://").to_string();
        let struck = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&struck);
        runtime.spawn(async move {
            for number in 0_u64.. {
                let Ok((client, _)) = listener.accept().await else { return };
                let draw = xxhash_rust::xxh3::xxh3_64_with_seed(&number.to_le_bytes(), seed);
                let at = match mishap {
                    _ if draw & 1 == 1 => None,
                    Mishap::Nonsense => Some(0),
                    _ => Some((draw >> 1) % BYTES),
                };
                if let Some(at) = at {
                    let event = format!("connection {number}: {mishap:?} at byte {at}");
                    log.lock().unwrap().push(event);
                }
                let server = server.clone();
                tokio::spawn(async move {
                    let _ = relay(client, &server, mishap, at).await;
                });
            }
        });
        Proxy { endpoint: own, struck, runtime: Some(runtime) }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub fn struck(&self) -> Vec<String> {
        self.struck.lock().unwrap().clone()
    }
}

async fn relay(client: TcpStream, server: &str, mishap: Mishap, at: Option<u64>) -> io::Result<()> {
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    let (mut asked, mut told) = client.into_split();
    let (mut answers, mut questions) = server.into_split();
    let up = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut asked, &mut questions).await;
        // Held open: whoever has asked everything may still wait for the answer.
        (asked, questions)
    });
    let passed = pass(&mut answers, &mut told, mishap, at).await;
    if at.is_some() && mishap == Mishap::Reset {
        told.as_ref().set_zero_linger()?;
        told.forget();
    }
    up.abort();
    passed
}

async fn pass(
    answers: &mut OwnedReadHalf,
    told: &mut OwnedWriteHalf,
    mishap: Mishap,
    at: Option<u64>,
) -> io::Result<()> {
    let mut left = at.unwrap_or(u64::MAX);
    let mut buf = vec![0; 16 << 10];
    loop {
        let came = answers.read(&mut buf).await?;
        if came == 0 {
            return Ok(());
        }
        let good = left.min(came as u64) as usize;
        told.write_all(&buf[..good]).await?;
        left -= good as u64;
        if good == came {
            continue;
        }
        match mishap {
            Mishap::Reset | Mishap::Close => return Ok(()),
            Mishap::Stall => std::future::pending().await,
            Mishap::Nonsense => return told.write_all(b"\x16\x03\x01 nonsense\r\n\r\n").await,
            Mishap::Trickle => {
                for byte in &buf[good..came] {
                    told.write_all(&[*byte]).await?;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    }
}
