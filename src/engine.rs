//! Runs a job's pieces on threads: items are worked on in any order, their results are handed on
//! in the order of the items.
//!
//! In goes a number of items and two functions: `work` claims an item and turns it into results
//! (on any thread), `sink` takes the results (one at a time, in order, on whichever thread has
//! them). Which item a thread works on is for `work` to say, so that items can come from a queue.
//! The sink may queue tasks in batches, which any thread runs before it begins a new item; so what
//! was read is written before more is read.
//!
//! Memory is bounded: at most `ITEMS_AHEAD_PER_JOB` items per job are begun ahead of the sink,
//! results that wait for their turn hold at most `KEPT_BYTES_PER_JOB` per job, and a thread with
//! one more result runs tasks instead of waiting, as it does while more than `BATCHES_WAITING`
//! batches are to be run: an item of any length goes on no faster than its tasks.
//! The engine knows nothing of objects or columns, and nothing async comes here.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};

/// How many items per job may be begun before the sink has taken the first of them.
const ITEMS_AHEAD_PER_JOB: usize = 4;

/// How many bytes per job the results may hold that wait for the sink.
const KEPT_BYTES_PER_JOB: usize = 32 << 20;

/// How many batches of tasks may wait for a thread before results do.
const BATCHES_WAITING: usize = 1;

/// A piece of work that the sink queued.
pub type Task<'a, E> = Box<dyn FnOnce() -> Result<(), E> + Send + 'a>;

/// Takes the results: (engine, item, result).
pub type Sink<'s, 'a, T, E> = dyn Fn(&Engine<'a, T, E>, usize, T) -> Result<(), E> + Sync + 's;

/// Where items, results and tasks meet.
pub struct Engine<'a, T, E> {
    state: Mutex<State<'a, T, E>>,
    changed: Condvar,
    items: usize,
    ahead: usize,
    kept_bytes_most: usize,
    interrupted: &'a AtomicBool,
    on_failure: &'a (dyn Fn() + Sync),
}

struct State<'a, T, E> {
    /// Items that were begun.
    begun: usize,
    /// The item whose results the sink takes now.
    head: usize,
    results: BTreeMap<usize, Results<T>>,
    /// What the results hold.
    kept_bytes: usize,
    draining: bool,
    /// None of them is empty.
    batches: VecDeque<VecDeque<Task<'a, E>>>,
    busy: usize,
    /// Threads that wait for `changed`. A system call for nobody costs as much as a small object.
    waiting: usize,
    failure: Option<E>,
    stopped: bool,
}

struct Results<T> {
    /// Results and what they hold in bytes.
    queue: VecDeque<(T, usize)>,
    complete: bool,
}

/// Takes the results of one item while it is worked on.
pub struct Emitter<'e, 'a, T, E> {
    engine: &'e Engine<'a, T, E>,
    item: Cell<Option<usize>>,
    sink: &'e Sink<'e, 'a, T, E>,
}

/// The run was stopped: by a failure elsewhere or by the user. Work in progress just returns.
#[derive(Debug)]
pub struct Stopped;

impl<'a, T: Send, E: Send> Engine<'a, T, E> {
    pub fn new(items: usize, jobs: usize, interrupted: &'a AtomicBool) -> Self {
        Engine {
            state: Mutex::new(State {
                begun: 0,
                head: 0,
                results: BTreeMap::new(),
                kept_bytes: 0,
                draining: false,
                batches: VecDeque::new(),
                busy: 0,
                waiting: 0,
                failure: None,
                stopped: false,
            }),
            changed: Condvar::new(),
            items,
            ahead: jobs.max(1) * ITEMS_AHEAD_PER_JOB,
            kept_bytes_most: jobs.max(1) * KEPT_BYTES_PER_JOB,
            interrupted,
            on_failure: &|| (),
        }
    }

    /// What ends the waits of threads that look for their next item, once the run has failed: it
    /// may be called more than once.
    pub fn on_failure(mut self, end_waits: &'a (dyn Fn() + Sync)) -> Self {
        self.on_failure = end_waits;
        self
    }

    /// Works on every item with `workers.len()` threads, each with its own worker.
    ///
    /// Returns the first failure. When the interrupt flag is set, it returns early with `Ok`:
    /// the caller looks at the flag.
    pub fn run<W: Send>(
        &self,
        workers: &mut [W],
        work: &(impl Fn(&mut W, &Emitter<'_, 'a, T, E>) -> Result<(), E> + Sync),
        sink: &Sink<'_, 'a, T, E>,
    ) -> Result<(), E> {
        if let [worker] = workers {
            self.work_loop(worker, work, sink);
        } else {
            std::thread::scope(|scope| {
                for worker in workers {
                    scope.spawn(|| self.work_loop(worker, work, sink));
                }
            });
        }
        self.lock().failure.take().map_or(Ok(()), Err)
    }

    /// Queues tasks that hold something together, such as the rows that each of them encodes a
    /// column of. Called by the sink.
    pub fn queue(&self, batch: impl IntoIterator<Item = Task<'a, E>>) {
        let batch: VecDeque<_> = batch.into_iter().collect();
        if !batch.is_empty() {
            let mut state = self.lock();
            state.batches.push_back(batch);
            self.wake(&state);
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed) || self.lock().stopped
    }

    fn lock(&self) -> MutexGuard<'_, State<'a, T, E>> {
        self.state.lock().expect("no thread panics while it holds the engine's state")
    }

    fn wait<'s>(
        &'s self,
        mut state: MutexGuard<'s, State<'a, T, E>>,
    ) -> MutexGuard<'s, State<'a, T, E>> {
        state.waiting += 1;
        let mut state = self.changed.wait(state).expect("no thread panics with the lock held");
        state.waiting -= 1;
        state
    }

    /// Lets those who wait look again.
    fn wake(&self, state: &State<'a, T, E>) {
        if state.waiting > 0 {
            self.changed.notify_all();
        }
    }

    fn work_loop<W>(
        &self,
        worker: &mut W,
        work: &(impl Fn(&mut W, &Emitter<'_, 'a, T, E>) -> Result<(), E> + Sync),
        sink: &Sink<'_, 'a, T, E>,
    ) {
        // A thread that panics must not leave the others waiting for it.
        let _stop_on_panic = StopOnPanic(self);
        let mut state = self.lock();
        loop {
            if state.stopped || self.interrupted.load(Ordering::Relaxed) {
                state.stopped = true;
                break;
            }
            if let Some(task) = state.next_task() {
                state = self.run_task(state, task);
            } else if state.begun < self.items && state.begun < state.head + self.ahead {
                state.begun += 1;
                state.busy += 1;
                drop(state);
                let emitter = Emitter { engine: self, item: Cell::new(None), sink };
                let outcome = work(worker, &emitter).and_then(|()| emitter.complete());
                state = self.settle(outcome);
            } else if state.head == self.items && state.busy == 0 {
                break;
            } else {
                state = self.wait(state);
            }
        }
        self.wake(&state);
    }

    fn run_task<'s>(
        &'s self,
        mut state: MutexGuard<'s, State<'a, T, E>>,
        task: Task<'a, E>,
    ) -> MutexGuard<'s, State<'a, T, E>> {
        state.busy += 1;
        drop(state);
        let outcome = task();
        self.settle(outcome)
    }

    fn settle(&self, outcome: Result<(), E>) -> MutexGuard<'_, State<'a, T, E>> {
        let mut state = self.lock();
        state.busy -= 1;
        if let Err(failure) = outcome {
            state.failure.get_or_insert(failure);
            state.stopped = true;
            drop(state);
            (self.on_failure)();
            state = self.lock();
        }
        self.wake(&state);
        state
    }

    /// Hands on every result whose turn it is, unless another thread is at it.
    fn drain(&self, sink: &Sink<'_, 'a, T, E>) -> Result<(), E> {
        let mut state = self.lock();
        if state.draining {
            return Ok(());
        }
        state.draining = true;
        let mut outcome = Ok(());
        while outcome.is_ok() {
            let head = state.head;
            let Some(results) = state.results.get_mut(&head) else {
                break;
            };
            if let Some((result, bytes)) = results.queue.pop_front() {
                state.kept_bytes -= bytes;
                // There is room for a result that waits.
                self.wake(&state);
                drop(state);
                outcome = sink(self, head, result);
                state = self.lock();
            } else if results.complete {
                state.results.remove(&head);
                state.head += 1;
                self.wake(&state);
            } else {
                break;
            }
        }
        state.draining = false;
        self.wake(&state);
        outcome
    }
}

impl<'a, T, E> State<'a, T, E> {
    fn next_task(&mut self) -> Option<Task<'a, E>> {
        let batch = self.batches.front_mut()?;
        let task = batch.pop_front();
        if batch.is_empty() {
            self.batches.pop_front();
        }
        task
    }

    /// Whether one more result of `item` may join those that wait for the sink. What the sink
    /// takes at once always may: so the head goes on, and with it everything.
    fn has_room(&self, item: usize, bytes: usize, most: usize) -> bool {
        self.kept_bytes + bytes <= most || self.head == item && !self.draining
    }
}

impl<T: Send, E: Send> Emitter<'_, '_, T, E> {
    /// Says which item is worked on. Each item is claimed once, before its first result.
    pub fn claim(&self, item: usize) {
        let results = Results { queue: VecDeque::new(), complete: false };
        let earlier = self.engine.lock().results.insert(item, results);
        debug_assert!(earlier.is_none() && self.item.get().is_none(), "an item is claimed once");
        self.item.set(Some(item));
    }

    /// Nothing follows for this item. Work that was stopped before it claimed one has none.
    fn complete(&self) -> Result<(), E> {
        if let Some(item) = self.item.get()
            && let Some(results) = self.engine.lock().results.get_mut(&item)
        {
            results.complete = true;
        }
        self.engine.drain(self.sink)
    }

    /// Hands a result on that holds `bytes` of memory. While there is no room for it, or while too
    /// many tasks wait, this thread runs tasks.
    pub fn emit(&self, result: T, bytes: usize) -> Result<Result<(), Stopped>, E> {
        let engine = self.engine;
        let item = self.item.get().expect("an item is claimed before its first result");
        let mut state = engine.lock();
        loop {
            if state.stopped || engine.interrupted.load(Ordering::Relaxed) {
                return Ok(Err(Stopped));
            }
            let has_room = state.has_room(item, bytes, engine.kept_bytes_most);
            if has_room && state.batches.len() <= BATCHES_WAITING {
                break;
            }
            state = match state.next_task() {
                Some(task) => engine.run_task(state, task),
                None => engine.wait(state),
            };
        }
        state.kept_bytes += bytes;
        let results = state.results.get_mut(&item).expect("an item has its place until complete");
        results.queue.push_back((result, bytes));
        drop(state);
        engine.drain(self.sink).map(Ok)
    }

    pub fn is_stopped(&self) -> bool {
        self.engine.is_stopped()
    }
}

/// Stops the engine when its thread unwinds.
struct StopOnPanic<'e, 'a, T, E>(&'e Engine<'a, T, E>);

impl<T, E> Drop for StopOnPanic<'_, '_, T, E> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if let Ok(mut state) = self.0.state.lock() {
                state.stopped = true;
            }
            self.0.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    fn run(items: usize, jobs: usize, results_per_item: usize) -> Vec<(usize, usize)> {
        let interrupted = AtomicBool::new(false);
        let taken = Mutex::new(Vec::new());
        let engine: Engine<'_, usize, String> = Engine::new(items, jobs, &interrupted);
        let mut workers = vec![(); jobs];
        let next = AtomicUsize::new(0);
        engine
            .run(
                &mut workers,
                &|(), emitter| {
                    let item = next.fetch_add(1, Ordering::Relaxed);
                    emitter.claim(item);
                    for result in 0..results_per_item {
                        if (item * 7 + result).is_multiple_of(5) {
                            std::thread::yield_now();
                        }
                        emitter.emit(result, 1)?.expect("nothing stops this run");
                    }
                    Ok(())
                },
                &|_, item, result| {
                    taken.lock().unwrap().push((item, result));
                    Ok(())
                },
            )
            .unwrap();
        taken.into_inner().unwrap()
    }

    #[test]
    fn results_come_in_the_order_of_the_items_for_any_number_of_threads() {
        for (jobs, results) in [(1, 1), (1, 3), (2, 1), (3, 4), (8, 2)] {
            let expected: Vec<_> =
                (0..200).flat_map(|item| (0..results).map(move |result| (item, result))).collect();
            assert_eq!(run(200, jobs, results), expected, "{jobs} jobs");
        }
    }

    #[test]
    fn tasks_that_the_sink_queues_are_all_run_before_the_end() {
        let interrupted = AtomicBool::new(false);
        let ran = AtomicUsize::new(0);
        let next = AtomicUsize::new(0);
        let engine: Engine<'_, (), String> = Engine::new(50, 4, &interrupted);
        let count = &ran;
        engine
            .run(
                &mut [(), (), (), ()],
                &|(), emitter| {
                    emitter.claim(next.fetch_add(1, Ordering::Relaxed));
                    emitter.emit((), 1).map(|_| ())
                },
                &|engine, _, ()| {
                    engine.queue((0..3).map(|_| -> Task<'_, String> {
                        Box::new(move || {
                            count.fetch_add(1, Ordering::Relaxed);
                            Ok(())
                        })
                    }));
                    Ok(())
                },
            )
            .unwrap();
        assert_eq!(ran.load(Ordering::Relaxed), 150);
    }

    /// A run of one worker function and one sink over `items` items with `jobs` threads.
    fn run_with<'a>(
        items: usize,
        jobs: usize,
        interrupted: &'a AtomicBool,
        work: impl Fn(usize, &Emitter<'_, 'a, usize, String>) + Sync,
        sink: impl Fn(&Engine<'a, usize, String>, usize) + Sync,
    ) {
        let next = AtomicUsize::new(0);
        let engine: Engine<'a, usize, String> = Engine::new(items, jobs, interrupted);
        engine
            .run(
                &mut vec![(); jobs],
                &|(), emitter| {
                    let item = next.fetch_add(1, Ordering::Relaxed);
                    emitter.claim(item);
                    work(item, emitter);
                    Ok(())
                },
                &|engine, _, result| {
                    sink(engine, result);
                    Ok(())
                },
            )
            .unwrap();
    }

    fn emit(emitter: &Emitter<'_, '_, usize, String>, bytes: usize) {
        emitter.emit(0, bytes).unwrap().expect("nothing stops this run");
    }

    #[test]
    fn an_item_of_any_length_goes_on_no_faster_than_its_tasks() {
        const TASKS: usize = 3;
        for jobs in [1, 2, 4] {
            let interrupted = AtomicBool::new(false);
            let (queued, ran) = (&AtomicUsize::new(0), &AtomicUsize::new(0));
            run_with(
                1,
                jobs,
                &interrupted,
                |_, emitter| {
                    for _ in 0..200 {
                        emit(emitter, 1);
                        let waiting = queued.load(Ordering::SeqCst) - ran.load(Ordering::SeqCst);
                        // Those that wait, the batch of this result, and what the others run.
                        assert!(waiting <= (BATCHES_WAITING + 1) * TASKS + jobs, "{waiting}");
                    }
                },
                |engine, _| {
                    queued.fetch_add(TASKS, Ordering::SeqCst);
                    engine.queue((0..TASKS).map(|_| -> Task<'_, String> {
                        Box::new(move || {
                            ran.fetch_add(1, Ordering::SeqCst);
                            Ok(())
                        })
                    }));
                },
            );
            assert_eq!(ran.load(Ordering::SeqCst), 200 * TASKS);
        }
    }

    #[test]
    fn threads_without_an_item_run_the_tasks_of_another_threads_item() {
        let interrupted = AtomicBool::new(false);
        let ran = &AtomicBool::new(false);
        run_with(
            1,
            2,
            &interrupted,
            |_, emitter| {
                emit(emitter, 1);
                let began = std::time::Instant::now();
                while !ran.load(Ordering::SeqCst) {
                    assert!(began.elapsed().as_secs() < 20, "nobody ran it");
                    std::thread::yield_now();
                }
            },
            |engine, _| {
                let task: Task<'_, String> = Box::new(move || {
                    ran.store(true, Ordering::SeqCst);
                    Ok(())
                });
                engine.queue([task]);
            },
        );
    }

    #[test]
    fn results_that_wait_for_their_turn_are_bounded_by_what_they_hold() {
        let interrupted = AtomicBool::new(false);
        let (ahead, first_ended) = (&AtomicUsize::new(0), &AtomicBool::new(false));
        run_with(
            2,
            2,
            &interrupted,
            |item, emitter| {
                if item == 1 {
                    for _ in 0..10 {
                        emit(emitter, KEPT_BYTES_PER_JOB);
                        ahead.fetch_add(1, Ordering::SeqCst);
                    }
                    assert!(first_ended.load(Ordering::SeqCst));
                    return;
                }
                while ahead.load(Ordering::SeqCst) < 2 {
                    std::thread::yield_now();
                }
                std::thread::sleep(std::time::Duration::from_millis(30));
                assert_eq!(ahead.load(Ordering::SeqCst), 2);
                first_ended.store(true, Ordering::SeqCst);
                // However large, it goes on: it is its turn.
                emit(emitter, 100 * KEPT_BYTES_PER_JOB);
            },
            |_, _| (),
        );
        assert_eq!(ahead.load(Ordering::SeqCst), 10);
    }

    #[test]
    fn a_failure_ends_the_waits_of_those_who_look_for_an_item() {
        let interrupted = AtomicBool::new(false);
        let (next, ended) = (AtomicUsize::new(0), AtomicBool::new(false));
        let end_waits = || ended.store(true, Ordering::SeqCst);
        let engine: Engine<'_, (), String> = Engine::new(2, 2, &interrupted).on_failure(&end_waits);
        let outcome = engine.run(
            &mut [(), ()],
            &|(), emitter| {
                let item = next.fetch_add(1, Ordering::Relaxed);
                if item == 0 {
                    emitter.claim(item);
                    return Err("item 0 failed".to_string());
                }
                while !ended.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
                // As a queue that was cancelled says it.
                Err("no item".to_string())
            },
            &|_, _, ()| Ok(()),
        );
        assert_eq!(outcome, Err("item 0 failed".to_string()));
    }

    #[test]
    fn the_first_failure_ends_the_run_and_is_returned() {
        let interrupted = AtomicBool::new(false);
        let next = AtomicUsize::new(0);
        let engine: Engine<'_, (), String> = Engine::new(1000, 2, &interrupted);
        let outcome = engine.run(
            &mut [(), ()],
            &|(), emitter| {
                let item = next.fetch_add(1, Ordering::Relaxed);
                emitter.claim(item);
                if item == 10 {
                    return Err("item 10 failed".to_string());
                }
                emitter.emit((), 1).map(|_| ())
            },
            &|_, _, ()| Ok(()),
        );
        assert_eq!(outcome, Err("item 10 failed".to_string()));
    }

    #[test]
    fn an_interrupt_ends_the_run_between_items() {
        let interrupted = AtomicBool::new(false);
        let next = AtomicUsize::new(0);
        let engine: Engine<'_, (), String> = Engine::new(usize::MAX, 2, &interrupted);
        engine
            .run(
                &mut [(), ()],
                &|(), emitter| {
                    let item = next.fetch_add(1, Ordering::Relaxed);
                    emitter.claim(item);
                    if item == 100 {
                        interrupted.store(true, Ordering::Relaxed);
                    }
                    emitter.emit((), 1).map(|_| ())
                },
                &|_, _, ()| Ok(()),
            )
            .unwrap();
    }
}
