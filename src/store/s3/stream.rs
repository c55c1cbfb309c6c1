//! The reading end of a streamed body: chunks from the network go in, [`std::io::Read`] comes out.
//! It never says "end" before every byte of the object was read.

use std::io::{self, Read};
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use super::super::STREAM_AHEAD_BYTES;
use super::super::error::StoreError;

/// A piece of a body, as the network gave it.
pub(super) type Chunk = Box<dyn AsRef<[u8]> + Send + Sync>;

/// A chunk's share of the window. A chunk larger than the window takes all of it.
pub(super) fn share(chunk: &Chunk) -> u32 {
    (chunk.as_ref().as_ref().len() as u64).min(STREAM_AHEAD_BYTES) as u32
}

/// The reading end of a streamed body.
pub(super) struct StreamReader {
    inbox: mpsc::UnboundedReceiver<Result<Chunk, StoreError>>,
    window: Arc<Semaphore>,
    current: Option<(Chunk, usize)>,
    left: u64,
    url: String,
}

impl StreamReader {
    /// Reads the chunks of `inbox`, `bytes` in all. `window` has a permit for each byte that may
    /// be read ahead; the sender takes them and the reader gives them back.
    pub(super) fn new(
        inbox: mpsc::UnboundedReceiver<Result<Chunk, StoreError>>,
        window: Arc<Semaphore>,
        bytes: u64,
        url: String,
    ) -> StreamReader {
        StreamReader { inbox, window, current: None, left: bytes, url }
    }
}

impl Read for StreamReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some((chunk, at)) = &mut self.current {
                let rest = &chunk.as_ref().as_ref()[*at..];
                if !rest.is_empty() {
                    let size = rest.len().min(buf.len());
                    buf[..size].copy_from_slice(&rest[..size]);
                    *at += size;
                    self.left -= size as u64;
                    return Ok(size);
                }
                self.window.add_permits(share(chunk) as usize);
                self.current = None;
            }
            match self.inbox.blocking_recv() {
                Some(Ok(chunk)) => self.current = Some((chunk, 0)),
                Some(Err(error)) => return Err(io::Error::other(error)),
                None if self.left == 0 => return Ok(0),
                None => {
                    return Err(io::Error::other(StoreError::Stopped { url: self.url.clone() }));
                }
            }
        }
    }
}

impl Drop for StreamReader {
    fn drop(&mut self) {
        // Wakes the transfer where it waits for room, so that it ends.
        self.window.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: u64) -> (mpsc::UnboundedSender<Result<Chunk, StoreError>>, StreamReader) {
        let (chunks, inbox) = mpsc::unbounded_channel();
        let window = Arc::new(Semaphore::new(0));
        (chunks, StreamReader::new(inbox, window, bytes, "s3://b/k".into()))
    }

    #[test]
    fn chunks_are_read_in_order_and_their_room_is_given_back() {
        let (chunks, mut reader) = reader(5);
        for part in ["ab", "", "cde"] {
            assert!(chunks.send(Ok(Box::new(part))).is_ok());
        }
        drop(chunks);
        let mut first = [0; 3];
        reader.read_exact(&mut first).unwrap();
        assert_eq!((&first, reader.window.available_permits()), (b"abc", 2));
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert_eq!((&rest[..], reader.window.available_permits()), (&b"de"[..], 5));
    }

    #[test]
    fn a_sender_that_dies_is_an_error_and_no_end() {
        let (chunks, mut reader) = reader(5);
        assert!(chunks.send(Ok(Box::new("abc"))).is_ok());
        drop(chunks);
        let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(StoreError::from_read(error, "").kind(), "stopped");
    }
}
