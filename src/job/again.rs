//! Objects are read again: for row groups whose columns turned out wider than some frame holds them,
//! their rows come out with the types of the day.
//!
//! Row groups that follow one another are read together, so that an object of many row groups
//! is not read once for each of them.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use super::read::{ObjectReader, ReadFailure};
use super::rows::{Part, encode_columns};
use super::{JobError, Run};
use crate::json::Frame;
use crate::publish::{EncodedChunk, RecordColumn, RowGroup, Slice};
use crate::schema::ColumnSpec;
use crate::store::ObjectMeta;

/// Row groups that one thread reads together, and of which encoded columns wait for the file at most.
const GROUPS_AT_ONCE: usize = 4;

/// A row group, and its columns that are to be encoded again.
type Rebuild = (usize, Vec<ColumnSpec>);
/// The chunks of a row group.
type Rebuilt = Result<Vec<EncodedChunk>, JobError>;
/// Takes the rows of a row group, by its place; `Break`: no more are wanted.
type Done<'d> = dyn FnMut(usize, RowGroup) -> Result<ControlFlow<()>, JobError> + 'd;

/// Encodes columns of row groups again, on all threads: `take` is given a function that returns the
/// chunks of the next of them. `columns` are all of the day: a JSON column swallows others.
pub(super) fn in_order<T>(
    run: &Run<'_>,
    parts: &[Vec<Part>],
    rebuilds: &[Rebuild],
    columns: &[ColumnSpec],
    take: impl FnOnce(&mut dyn FnMut() -> Rebuilt) -> T,
) -> T {
    let batches: Vec<&[Rebuild]> = rebuilds.chunks(GROUPS_AT_ONCE).collect();
    let jobs = run.spec.jobs.max(1).min(batches.len());
    std::thread::scope(|scope| {
        let queues: Vec<_> = (0..jobs)
            .map(|job| {
                let (to, from) = sync_channel(GROUPS_AT_ONCE);
                let batches = &batches;
                scope.spawn(move || {
                    let mut mine = batches.iter().skip(job).step_by(jobs);
                    mine.try_for_each(|batch| rebuild(run, parts, batch, columns, &to))
                });
                from
            })
            .collect();
        let mut taken = 0;
        take(&mut || {
            let queue = &queues[taken / GROUPS_AT_ONCE % jobs];
            taken += 1;
            queue.recv().expect("a thread ends behind its last row group, or after a failure")
        })
    })
}

/// Sends the chunks of a batch, or why there are none. `Break`: nobody wants more.
fn rebuild(
    run: &Run<'_>,
    parts: &[Vec<Part>],
    batch: &[Rebuild],
    columns: &[ColumnSpec],
    to: &SyncSender<Rebuilt>,
) -> ControlFlow<()> {
    let groups: Vec<&[Part]> = batch.iter().map(|(group, _)| &parts[*group][..]).collect();
    let outcome = read(run, &groups, columns, &mut |at, rows| {
        let fields = batch[at].1.iter().map(RecordColumn::Field);
        Ok(send(to, Ok(encode_columns(run, &rows, fields)?)))
    });
    outcome.unwrap_or_else(|error| {
        let _ = send(to, Err(error));
        ControlFlow::Break(())
    })
}

/// `Break` where the file has failed, so that nobody takes what is sent.
fn send(to: &SyncSender<Rebuilt>, rebuilt: Rebuilt) -> ControlFlow<()> {
    match to.send(rebuilt) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    }
}

/// Reads the objects of row groups again, which stand in the order of the day, so that frames come
/// out with the types of `columns`: (place among `groups`, its rows) → `done`, until that breaks.
pub(super) fn read(
    run: &Run<'_>,
    groups: &[&[Part]],
    columns: &[ColumnSpec],
    done: &mut Done<'_>,
) -> Result<ControlFlow<()>, JobError> {
    let mut reader = ObjectReader::new(run.read_spec.clone());
    reader.expect(columns);
    let mut wanted = Wanted::of(groups);
    while let Some(at) = wanted.object() {
        let object = run.object(at);
        let key: Arc<str> = object.key.as_str().into();
        let (content, _permit) = run.store.get(&object)?.into_parts();
        let mut before = 0;
        let mut go = ControlFlow::Continue(());
        let mut take = |frame: Frame| -> Result<(), Option<JobError>> {
            let slice = Slice::all(frame, key.clone());
            go = wanted.take(at, before, &slice, done)?;
            before += slice.rows.end;
            // Nothing is wanted of the rest of the object.
            if go.is_continue() && wanted.object() == Some(at) { Ok(()) } else { Err(None) }
        };
        let known = run.known(at);
        match reader.read(&object, content, known, &mut |_| (), &mut take) {
            Ok(_) | Err(ReadFailure::Taker(None)) => {}
            Err(failure) => return Err(again_failed(&object, failure)),
        }
        if go.is_break() {
            return Ok(go);
        }
        if wanted.object() == Some(at) {
            return Err(JobError::NotTheSame { key: object.key });
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// What is still to be read, in the order of the day.
struct Wanted<'p> {
    /// (row group, some of its rows, whether they are its last).
    parts: VecDeque<(usize, &'p Part, bool)>,
    /// The rows in hand of the first of these row groups.
    rows: RowGroup,
}

impl<'p> Wanted<'p> {
    fn of(groups: &[&'p [Part]]) -> Self {
        let parts = groups.iter().enumerate().flat_map(|(group, parts)| {
            let last = parts.len() - 1;
            parts.iter().enumerate().map(move |(at, part)| (group, part, at == last))
        });
        Wanted { parts: parts.collect(), rows: RowGroup::default() }
    }

    /// The object that is wanted next.
    fn object(&self) -> Option<usize> {
        self.parts.front().map(|(_, part, _)| part.object)
    }

    /// Takes what is wanted of the next rows of an object, `before` rows behind its first.
    fn take(
        &mut self,
        object: usize,
        before: usize,
        slice: &Slice,
        done: &mut Done<'_>,
    ) -> Result<ControlFlow<()>, JobError> {
        let end = before + slice.rows.end;
        while let Some(&(group, part, is_last)) = self.parts.front()
            && part.object == object
            && part.rows.start < end
        {
            let begin = part.rows.start.max(before);
            let rows = begin - before..part.rows.end.min(end) - before;
            if !rows.is_empty() {
                self.rows.slices.push(slice.part(rows));
            }
            if part.rows.end > end {
                break;
            }
            self.parts.pop_front();
            if is_last && done(group, std::mem::take(&mut self.rows))?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// An object that was read before cannot be read a second time.
fn again_failed(object: &ObjectMeta, failure: ReadFailure<Option<JobError>>) -> JobError {
    match failure {
        ReadFailure::Store(error) => JobError::Store(error),
        ReadFailure::Taker(Some(error)) => error,
        ReadFailure::Taker(None) | ReadFailure::StartOver(_) => {
            JobError::NotTheSame { key: object.key.clone() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is taken of two objects that come in frames of `step` rows: the row groups and the
    /// offsets of their rows, and how many rows were looked at.
    fn taken(groups: &[&[Part]], step: usize) -> (Vec<(usize, Vec<u64>)>, usize) {
        let mut wanted = Wanted::of(groups);
        let (mut done, mut looked_at) = (Vec::new(), 0);
        for object in [3, 4] {
            let mut before = 0;
            while before < 10 && wanted.object() == Some(object) {
                let rows = step.min(10 - before);
                let first = object as u64 * 100 + before as u64;
                let offsets = (first..first + rows as u64).collect();
                let slice = Slice::all(Frame { rows, offsets, ..Frame::default() }, "k".into());
                let mut take = |group: usize, rows: RowGroup| {
                    let rows = rows.slices.iter();
                    let offsets = rows.flat_map(|s| s.frame.offsets[s.rows.clone()].to_vec());
                    done.push((group, offsets.collect()));
                    Ok(ControlFlow::Continue(()))
                };
                let go = wanted.take(object, before, &slice, &mut take).expect("nothing fails");
                assert!(go.is_continue());
                before += rows;
                looked_at += rows;
            }
        }
        assert_eq!(wanted.object(), None);
        (done, looked_at)
    }

    #[test]
    fn row_groups_of_one_object_are_taken_in_one_reading_that_ends_early() {
        let part = |object, rows| Part { object, rows };
        let groups: [&[Part]; 3] =
            [&[part(3, 1..4)], &[part(3, 4..5), part(3, 7..10), part(4, 0..2)], &[part(4, 3..6)]];
        let expected = vec![
            (0, vec![301, 302, 303]),
            (1, vec![304, 307, 308, 309, 400, 401]),
            (2, vec![403, 404, 405]),
        ];
        for step in 1..=10 {
            let (done, looked_at) = taken(&groups, step);
            assert_eq!(done, expected, "frames of {step} rows");
            assert_eq!(looked_at, 10 + 6usize.next_multiple_of(step).min(10));
        }
    }
}
