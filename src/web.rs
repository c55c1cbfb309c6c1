//! HTTP clients, for whoever posts: one way to connect, with the machine's certificates.

use std::io;
use std::time::Duration;

use axum::body::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// A client that keeps its connections. Its clones share them.
pub type WebClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A connection that nobody used for so long is closed, before a server does it.
const IDLE: Duration = Duration::from_secs(5);

/// A new client.
///
/// # Errors
/// Where the machine's certificates can't be read.
pub fn client() -> io::Result<WebClient> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let connector = HttpsConnectorBuilder::new().with_native_roots()?;
    let connector = connector.https_or_http().enable_http1().wrap_connector(tcp);
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .build(connector))
}
