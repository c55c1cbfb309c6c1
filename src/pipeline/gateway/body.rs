//! The bodies of requests, within limits of size, time and of all bodies together.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;

/// A body must be there within this, and none of its parts may be further apart than the pause.
const WHOLE_TIME: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(10);
/// Of all bodies that are being read or put.
const MOST_BYTES: usize = 256 << 20;

/// Bytes of bodies that are held at the moment.
#[derive(Debug, Default)]
pub struct Bodies {
    held: AtomicUsize,
}

/// Why a body was not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BodyProblem {
    #[error("the body is longer than {most} bytes")]
    TooLarge { most: usize },
    #[error("the body did not come within {} s", WHOLE_TIME.as_secs())]
    Slow,
    #[error("the body broke off")]
    Broken,
    #[error("too many bodies come in at the same time: try again")]
    TooMany,
}

/// A body that counts as held until it is dropped.
#[derive(Debug)]
pub struct Held<'a> {
    pub bytes: Bytes,
    bodies: &'a Bodies,
    counted: usize,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.bodies.held.fetch_sub(self.counted, Ordering::Relaxed);
    }
}

impl Bodies {
    /// Reads a body of at most so many bytes.
    pub async fn read(
        &self,
        headers: &HeaderMap,
        body: Body,
        most: usize,
    ) -> Result<Held<'_>, BodyProblem> {
        let length = headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if length.is_some_and(|length| length > most) {
            return Err(BodyProblem::TooLarge { most });
        }
        let mut held = Held { bytes: Bytes::new(), bodies: self, counted: 0 };
        let read = self.read_into(&mut held, body, most);
        match tokio::time::timeout(WHOLE_TIME, read).await {
            Ok(done) => done.map(|()| held),
            Err(_) => Err(BodyProblem::Slow),
        }
    }

    async fn read_into(
        &self,
        held: &mut Held<'_>,
        mut body: Body,
        most: usize,
    ) -> Result<(), BodyProblem> {
        let mut whole: Vec<u8> = Vec::new();
        loop {
            let next = tokio::time::timeout(PAUSE, body.frame()).await;
            let part = match next.map_err(|_| BodyProblem::Slow)? {
                None => break,
                Some(frame) => frame.map_err(|_| BodyProblem::Broken)?,
            };
            let Ok(part) = part.into_data() else { continue };
            if held.counted + part.len() > most {
                return Err(BodyProblem::TooLarge { most });
            }
            if self.held.fetch_add(part.len(), Ordering::Relaxed) + part.len() > MOST_BYTES {
                self.held.fetch_sub(part.len(), Ordering::Relaxed);
                return Err(BodyProblem::TooMany);
            }
            held.counted += part.len();
            // Nearly every body comes in one part, which need not be copied.
            match held.bytes.is_empty() && whole.is_empty() {
                true => held.bytes = part,
                false => {
                    if whole.is_empty() {
                        whole.extend(&held.bytes);
                    }
                    whole.extend(&part);
                }
            }
        }
        if !whole.is_empty() {
            held.bytes = whole.into();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bodies: &Bodies, body: Body, most: usize) -> Result<Vec<u8>, BodyProblem> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let headers = HeaderMap::new();
        let read = bodies.read(&headers, body, most);
        runtime.block_on(read).map(|held| held.bytes.to_vec())
    }

    #[test]
    fn a_body_is_whole_or_too_long_and_nothing_stays_held() {
        let bodies = Bodies::default();
        assert_eq!(read(&bodies, Body::empty(), 10).unwrap(), b"");
        assert_eq!(read(&bodies, Body::from("abcde"), 5).unwrap(), b"abcde");
        let long = read(&bodies, Body::from("abcdef"), 5);
        assert_eq!(long, Err(BodyProblem::TooLarge { most: 5 }));
        assert_eq!(bodies.held.load(Ordering::Relaxed), 0);
    }
}
