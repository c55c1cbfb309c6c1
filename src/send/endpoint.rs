//! One HTTP endpoint, asked by a thread that waits for each answer.

use std::sync::atomic::AtomicBool;

use axum::body::Bytes;
use axum::http::Uri;
use tokio::runtime::Runtime;

use super::SendError;
use super::feed::Item;
use super::post::{PostSpec, Poster};
use super::target::{SendTo, Sent, Target};

/// An endpoint, and pages of its server.
pub struct Endpoint {
    runtime: Runtime,
    target: Target,
    pages: Poster,
}

impl Endpoint {
    /// Makes no request yet.
    ///
    /// # Errors
    /// [`SendError::Network`] where the machine has no threads or certificates for it.
    pub fn open(spec: &PostSpec, attempts: u32) -> Result<Endpoint, SendError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(SendError::Network)?;
        let target = runtime.block_on(Target::open(&SendTo::Http(spec.clone()), attempts))?;
        let pages = Poster::new(spec.clone()).map_err(SendError::Network)?;
        Ok(Endpoint { runtime, target, pages })
    }

    /// Sends one body, and again while that may help and `stop` is not up.
    ///
    /// # Errors
    /// None that a body is to blame for: see [`Sent::Refused`].
    pub fn post(&self, body: Bytes, key: String, stop: &AtomicBool) -> Result<Sent, SendError> {
        let mut became = Sent::Refused("it was not sent".to_string());
        let item = Item { row: 1, body, key: Some(key) };
        let mut tell = |_: &Item, sent: Sent, _| became = sent;
        self.runtime.block_on(self.target.send(vec![item], stop, &mut tell))?;
        Ok(became)
    }

    /// A page as text, or why there is none.
    pub fn get(&self, url: &Uri) -> Result<String, String> {
        self.runtime.block_on(self.pages.get(url.clone()))
    }
}
