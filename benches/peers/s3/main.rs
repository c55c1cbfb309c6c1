//! Both ends of a loopback S3, for `benches/peers/run.py --s3`.
//!
//! ```text
//! bench-s3 serve ROOT [GBIT]       folders below ROOT are buckets; says its endpoint, ends with its stdin
//! bench-s3 get ENDPOINT REQUESTS   GETs the paths on stdin, one a line, so many at a time; says the bytes
//! ```
//!
//! The server is `s3s` over `s3s-fs`, but bodies come from memory once they were read: the server
//! stands for machines elsewhere, and each of its CPU seconds would be taken from who reads. With
//! GBIT all its connections together send so many Gbit/s, as a network does. The client is the
//! limit that rawcat is held against: nothing but blocking sockets that stay open, and a buffer
//! that is used again. It looks at statuses and lengths and reads every body whole. Nothing is
//! signed.

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use s3s::dto::{
    ETag, GetObjectInput, GetObjectOutput, ListObjectsV2Input, ListObjectsV2Output, StreamingBlob,
};
use s3s::service::S3ServiceBuilder;
use s3s::{Body, S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep, sleep_until};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", root] => serve(Path::new(root), None),
        ["serve", root, gbit] => serve(Path::new(root), Some(gbit.parse()?)),
        ["get", endpoint, requests] => get(endpoint, requests.parse()?),
        _ => {
            Err("usage: bench-s3 serve ROOT [GBIT] | bench-s3 get ENDPOINT REQUESTS <paths".into())
        }
    }
}

// ---------------------------------------------------------------- the server

/// `s3s-fs` with ETags in listings, and with whole objects from memory.
struct Shelf {
    files: FileSystem,
    root: PathBuf,
    bodies: Mutex<HashMap<PathBuf, Bytes>>,
}

impl Shelf {
    fn path(&self, bucket: &str, key: &str) -> S3Result<PathBuf> {
        if key.split('/').any(|part| part == "..") {
            return Err(s3_error!(NoSuchKey));
        }
        Ok(self.root.join(bucket).join(key))
    }

    /// Changes with the file, and needs no reading.
    fn etag(path: &Path) -> Option<ETag> {
        let meta = std::fs::metadata(path).ok()?;
        let nanos = meta.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_nanos();
        Some(ETag::Strong(format!("{nanos:x}-{:x}", meta.len())))
    }

    fn body(&self, path: &Path) -> S3Result<Bytes> {
        if let Some(body) = self.bodies.lock().unwrap_or_else(PoisonError::into_inner).get(path) {
            return Ok(body.clone());
        }
        let body = Bytes::from(std::fs::read(path).map_err(|_| s3_error!(NoSuchKey))?);
        let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        bodies.insert(path.to_path_buf(), body.clone());
        Ok(body)
    }
}

#[async_trait::async_trait]
impl S3 for Shelf {
    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let bucket = request.input.bucket.clone();
        let mut response = self.files.list_objects_v2(request).await?;
        for object in response.output.contents.iter_mut().flatten() {
            let key = object.key.as_deref().unwrap_or_default();
            object.e_tag = Shelf::etag(&self.path(&bucket, key)?);
        }
        Ok(response)
    }

    async fn get_object(
        &self,
        mut request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let path = self.path(&request.input.bucket, &request.input.key)?;
        let e_tag = Shelf::etag(&path);
        if request.input.range.is_some() {
            request.input.if_match = None;
            let mut response = self.files.get_object(request).await?;
            response.output.e_tag = e_tag;
            return Ok(response);
        }
        let body = self.body(&path)?;
        Ok(S3Response::new(GetObjectOutput {
            content_length: Some(body.len() as i64),
            body: Some(StreamingBlob::from(Body::from(body))),
            e_tag,
            ..GetObjectOutput::default()
        }))
    }
}

fn serve(root: &Path, gbit: Option<f64>) -> Result<()> {
    let shelf = Shelf {
        files: FileSystem::new(root).map_err(|error| format!("{error:?}"))?,
        root: root.to_path_buf(),
        bodies: Mutex::default(),
    };
    let service = S3ServiceBuilder::new(shelf).build();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    println!("http://{}", listener.local_addr()?);
    runtime.spawn(async move {
        let link = gbit.map(|gbit| Arc::new(Link::new(gbit)));
        while let Ok((socket, _)) = listener.accept().await {
            let service = service.clone();
            let _ = socket.set_nodelay(true);
            let socket = Socket { socket, link: link.clone(), waits: None };
            tokio::spawn(async move {
                let http = auto::Builder::new(TokioExecutor::new());
                // A client that goes away is no matter of the server's.
                let _ = http.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    // Whoever started this holds the other end, and may be killed.
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

/// What all connections together may send.
struct Link {
    bytes_per_s: f64,
    /// When everything that was let through so far is on its way.
    clear: Mutex<Instant>,
}

/// How much time's worth of bytes may go at once: timers wake a millisecond late.
const BURST: Duration = Duration::from_millis(4);
/// The most bytes of one write, so that connections take turns.
const TURN_BYTES: usize = 256 << 10;

impl Link {
    fn new(gbit: f64) -> Link {
        Link { bytes_per_s: gbit * 1e9 / 8.0, clear: Mutex::new(Instant::now()) }
    }

    /// When the next bytes may go; none: now.
    fn wait(&self) -> Option<Instant> {
        let clear = *self.clear.lock().unwrap_or_else(PoisonError::into_inner);
        (clear > Instant::now() + BURST).then(|| clear - BURST)
    }

    fn took(&self, bytes: usize) {
        let mut clear = self.clear.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        *clear = (*clear).max(now) + Duration::from_secs_f64(bytes as f64 / self.bytes_per_s);
    }
}

/// A connection whose answers go through a link, if there is one.
struct Socket {
    socket: TcpStream,
    link: Option<Arc<Link>>,
    waits: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(link) = self.link.clone() else {
            return Pin::new(&mut self.socket).poll_write(context, bytes);
        };
        loop {
            if let Some(waits) = &mut self.waits {
                ready!(waits.as_mut().poll(context));
                self.waits = None;
            }
            match link.wait() {
                None => break,
                Some(until) => self.waits = Some(Box::pin(sleep_until(until))),
            }
        }
        let turn = &bytes[..bytes.len().min(TURN_BYTES)];
        let sent = ready!(Pin::new(&mut self.socket).poll_write(context, turn))?;
        link.took(sent);
        Poll::Ready(Ok(sent))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.link.is_none() {
            return Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        }
        let first = slices.iter().find(|slice| !slice.is_empty());
        self.poll_write(context, first.map_or(&[], |slice| slice))
    }

    /// Otherwise bodies would be copied before they are written.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

// ---------------------------------------------------------------- plain GETs

/// What one read may take from a socket.
const BUFFER_BYTES: usize = 256 << 10;

fn get(endpoint: &str, requests: usize) -> Result<()> {
    let address = endpoint.strip_prefix("http://").ok_or("the endpoint is no http:// one")?;
    let paths = io::stdin().lock().lines().collect::<io::Result<Vec<_>>>()?;
    let next = AtomicUsize::new(0);
    let bytes = std::thread::scope(|scope| {
        let worker = || -> Result<u64> {
            let mut connection = Connection::open(address)?;
            let mut bytes = 0;
            while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                bytes += connection.get(path)?;
            }
            Ok(bytes)
        };
        let workers: Vec<_> = (0..requests).map(|_| scope.spawn(worker)).collect();
        let done = workers.into_iter().map(|worker| worker.join().expect("no worker panics"));
        done.sum::<Result<u64>>()
    })?;
    println!("{bytes}");
    Ok(())
}

/// A connection that is kept, and what was read from it.
struct Connection<'a> {
    address: &'a str,
    socket: std::net::TcpStream,
    buffer: Vec<u8>,
}

impl Connection<'_> {
    fn open(address: &str) -> Result<Connection<'_>> {
        let socket = std::net::TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        Ok(Connection { address, socket, buffer: vec![0; BUFFER_BYTES] })
    }

    /// One object, read whole; its bytes.
    fn get(&mut self, path: &str) -> Result<u64> {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        self.socket.write_all(head.as_bytes())?;
        let (mut filled, mut head_end) = (0, None);
        while head_end.is_none() {
            match self.socket.read(&mut self.buffer[filled..])? {
                0 => return Err(format!("{path}: the answer was cut").into()),
                read => filled += read,
            }
            let seen = &self.buffer[..filled];
            head_end = seen.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        }
        let head_end = head_end.expect("the loop ended");
        let head = std::str::from_utf8(&self.buffer[..head_end])?.to_ascii_lowercase();
        if !head.starts_with("http/1.1 200 ") {
            return Err(format!("{path}: {}", head.lines().next().unwrap_or_default()).into());
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: u64 = length.ok_or("an answer without its length")?.trim().parse()?;
        let mut left = length - (filled - head_end) as u64;
        while left > 0 {
            let most = left.min(BUFFER_BYTES as u64) as usize;
            match self.socket.read(&mut self.buffer[..most])? {
                0 => return Err(format!("{path}: the body was cut").into()),
                read => left -= read as u64,
            }
        }
        Ok(length)
    }
}
