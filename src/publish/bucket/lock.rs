//! The lock of a bucket's prefix: one run at a time.
//!
//! It is the object `.rawcat/lock`, made by a put that fails where the object exists
//! (`If-None-Match: *`). Its first line says who holds it, its second is the holder's own mark.
//! Unlike a folder's lock it does not end with its process: a killed run leaves it, and a person
//! removes it. A server that ignores the condition is found out before anything is published,
//! and refused.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::super::error::PublishError;
use super::super::lock::{OWN_FOLDER, holder_text};
use super::Bucket;
use super::scratch::random;
use crate::store::PutNew;

/// Times that the lock may vanish between being refused and being read.
const ATTEMPTS: usize = 5;
/// What removing a lock that is of no use may take.
const TAKE_BACK_PATIENCE: Duration = Duration::from_secs(5);
const TEXT: &str = "text/plain; charset=utf-8";

fn key() -> String {
    format!("{OWN_FOLDER}/lock")
}

/// A lock that was taken. It ends by [`Lock::release`].
#[derive(Debug)]
pub struct Lock {
    content: String,
}

impl Lock {
    /// Takes the lock, or says who has it. `started_utc` is for the next run to read.
    pub fn take(
        bucket: &Bucket,
        started_utc: &str,
        now_utc: DateTime<Utc>,
    ) -> Result<Lock, PublishError> {
        let content = format!("{}\n{:016x}{:016x}\n", holder_text(started_utc), random(), random());
        let lock = Lock { content };
        for _ in 0..ATTEMPTS {
            match lock.put(bucket)? {
                PutNew::Made => {
                    let locks = lock.check_that_it_locks(bucket);
                    return match locks {
                        Ok(()) => Ok(lock),
                        Err(error) => {
                            lock.release(bucket, TAKE_BACK_PATIENCE);
                            Err(error)
                        }
                    };
                }
                PutNew::Exists => {}
                PutNew::Unsupported { reply } => return Err(unsupported(bucket, reply)),
            }
            let Some(found) = read(bucket)? else { continue };
            // The answer to the put was lost, and it was made again.
            if found.content == lock.content {
                return Ok(lock);
            }
            return Err(PublishError::LockedBucket {
                out: bucket.url().to_string(),
                holder: holder(&found.content),
                age: found.made_utc.map(|made| age(now_utc - made)).unwrap_or_default(),
                remove: bucket.removal_of(&key()),
            });
        }
        Err(PublishError::LockedBucket {
            out: bucket.url().to_string(),
            holder: "other runs keep coming and going".to_string(),
            age: String::new(),
            remove: bucket.removal_of(&key()),
        })
    }

    fn put(&self, bucket: &Bucket) -> Result<PutNew, PublishError> {
        Ok(bucket.s3().put_new(&key(), self.content.as_bytes(), TEXT)?)
    }

    /// Servers that don't know the condition accept the same put again: then nobody is kept out.
    fn check_that_it_locks(&self, bucket: &Bucket) -> Result<(), PublishError> {
        if bucket.locks_are_known() {
            return Ok(());
        }
        if self.put(bucket)? == PutNew::Exists {
            bucket.locks_work();
            return Ok(());
        }
        Err(unsupported(bucket, "it replaced an object that was to be kept".to_string()))
    }

    /// Whether the lock is still this run's: a person may have removed it.
    pub fn check(&self, bucket: &Bucket) -> Result<(), PublishError> {
        match read(bucket)? {
            Some(found) if found.content == self.content => Ok(()),
            found => Err(PublishError::LostLock {
                out: bucket.url().to_string(),
                holder: found.map_or("nobody".to_string(), |found| holder(&found.content)),
            }),
        }
    }

    /// Gives the lock back. What fails here is told by the next run, which finds the lock.
    pub fn release(&self, bucket: &Bucket, patience: Duration) {
        if self.check(bucket).is_ok() {
            let _ = bucket.s3().delete_within(&key(), patience);
        }
    }
}

fn unsupported(bucket: &Bucket, reply: String) -> PublishError {
    PublishError::NoConditionalPut { out: bucket.url().to_string(), reply }
}

/// A lock as it lies in the bucket.
struct Found {
    content: String,
    /// By the server's clock.
    made_utc: Option<DateTime<Utc>>,
}

fn read(bucket: &Bucket) -> Result<Option<Found>, PublishError> {
    let Some(object) = bucket.find(&key())? else { return Ok(None) };
    let content = bucket.read_small(&object)?;
    Ok(content.map(|content| Found { content, made_utc: object.last_modified_utc }))
}

/// Who holds it, for a message.
fn holder(content: &str) -> String {
    let line = content.lines().next().unwrap_or_default();
    let text: String = line.chars().filter(|letter| !letter.is_control()).take(300).collect();
    match text.trim() {
        "" => "a run that does not say who it is".to_string(),
        text => text.to_string(),
    }
}

/// `, 3 h 5 min ago`
fn age(since: TimeDelta) -> String {
    let minutes = since.num_minutes();
    match (minutes / 60 / 24, minutes / 60 % 24, minutes % 60) {
        _ if minutes < 1 => ", less than a minute ago".to_string(),
        (0, 0, minutes) => format!(", {minutes} min ago"),
        (0, hours, minutes) => format!(", {hours} h {minutes} min ago"),
        (days, hours, _) => format!(", {days} d {hours} h ago"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_by_its_largest_units() {
        let text = |minutes| age(TimeDelta::minutes(minutes));
        assert_eq!(text(0), ", less than a minute ago");
        assert_eq!(text(-5), ", less than a minute ago");
        assert_eq!(text(59), ", 59 min ago");
        assert_eq!(text(185), ", 3 h 5 min ago");
        assert_eq!(text(60 * 24 * 3 + 61), ", 3 d 1 h ago");
    }

    #[test]
    fn a_holder_is_one_short_line_that_steers_no_terminal() {
        assert_eq!(holder("process 1 on host\nmark\n"), "process 1 on host");
        assert_eq!(holder("a\u{1b}[2Jb"), "a[2Jb");
        assert_eq!(holder("\n\n"), "a run that does not say who it is");
        assert_eq!(holder(&"x".repeat(5000)).len(), 300);
    }
}
