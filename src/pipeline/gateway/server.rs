//! Connections → requests: accepted up to a number, each with its deadlines, and ended gracefully.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;

use super::Peer;

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// At the same time; further ones wait.
    pub connections: usize,
    /// Until the head of a request is there, also of the next one on a connection.
    pub head_time: Duration,
    pub head_bytes: usize,
    /// A client that does not read its answers for so long is dropped.
    pub unread_time: Duration,
    /// What requests under way get once the end has come.
    pub grace: Duration,
}

impl Default for ServerLimits {
    fn default() -> ServerLimits {
        ServerLimits {
            connections: 16_384,
            head_time: Duration::from_secs(15),
            head_bytes: 64 << 10,
            unread_time: Duration::from_secs(60),
            grace: Duration::from_secs(5),
        }
    }
}

/// Connections that nobody has accepted yet: a burst of them must not be turned away.
const WAITING: u32 = 4_096;
/// Files that are open beside connections: the store, objects, the log.
const OTHER_FILES: u64 = 128;
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What a machine without free files or memory gets before the next connection is tried.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// An address that can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}: {source}")]
pub struct ServeError {
    address: SocketAddr,
    source: io::Error,
}

/// Listens. The port that was taken is the listener's.
pub async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |source| ServeError { address, source };
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let socket = socket.map_err(failed)?;
    // As others do: a port that was in use a moment ago is free.
    socket.set_reuseaddr(true).map_err(failed)?;
    socket.bind(address).map_err(failed)?;
    let listener = socket.listen(WAITING).map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok((listener, local))
}

/// Serves until the end has come, and then what is under way.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ServerLimits,
    is_over: impl Fn() -> bool,
) {
    let graceful = GracefulShutdown::new();
    let mut server = auto::Builder::new(TokioExecutor::new()).http1_only();
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_buf_size(limits.head_bytes);
    let free = Arc::new(Semaphore::new(limits.connections.min(files_for_connections())));
    while !is_over() {
        let place = tokio::time::timeout(LOOK_EVERY, Arc::clone(&free).acquire_owned()).await;
        let Ok(Ok(place)) = place else { continue };
        let stream = match tokio::time::timeout(LOOK_EVERY, listener.accept()).await {
            Err(_) => continue,
            Ok(Err(_)) => {
                tokio::time::sleep(AFTER_FAILURE).await;
                continue;
            }
            Ok(Ok(accepted)) => accepted,
        };
        let (stream, address) = stream;
        let _ = stream.set_nodelay(true);
        drop_if_unread(&stream, limits.unread_time);
        let service = TowerToHyperService::new(router.clone().layer(Extension(Peer(address))));
        let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
        let watched = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that goes away, or sends nonsense, concerns nobody else.
            let _ = watched.await;
            drop(place);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(limits.grace, graceful.shutdown()).await;
}

/// How many connections this process may have, after it has asked for as many files as it gets.
fn files_for_connections() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let files = current.unwrap_or(u64::MAX).saturating_sub(OTHER_FILES).max(16);
    usize::try_from(files).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}

#[cfg(target_os = "linux")]
fn drop_if_unread(stream: &TcpStream, after: Duration) {
    let after_ms = u32::try_from(after.as_millis()).unwrap_or(u32::MAX);
    let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, after_ms);
}

/// Elsewhere the system's own patience counts.
#[cfg(not(target_os = "linux"))]
fn drop_if_unread(_: &TcpStream, _: Duration) {}
