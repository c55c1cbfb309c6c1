//! The shards of a Kinesis stream → their records, each shard's in their order.
//!
//! A pass reads every shard up to its end, some shards at a time. The next pass goes on behind the last
//! record that was handed on, however long ago that was: an iterator that expired is renewed.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::operation::list_shards::ListShardsOutput;
use aws_sdk_kinesis::types::ShardIteratorType;
use aws_smithy_types::DateTime as AwsTime;
use chrono::{DateTime, Utc};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::backoff::Backoff;
use super::connect::Reach;
use super::failure::{Failure, Kind, StreamError};
use super::url::StreamUrl;

/// A record as a shard gave it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Got {
    pub shard: Arc<str>,
    pub sequence: String,
    /// To the millisecond, as the stream has it.
    pub arrival_utc: Option<DateTime<Utc>>,
    pub partition_key: String,
    pub data: Vec<u8>,
}

/// Where the reading of a shard begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Start {
    /// With the oldest record that the stream still holds.
    Oldest,
    /// With what arrives at this time or later.
    At(DateTime<Utc>),
    /// With the record of this number.
    Sequence(String),
    /// Behind the record of this number.
    Behind(String),
}

/// A stream that was opened for reading.
pub struct Stream {
    url: StreamUrl,
    client: Client,
    runtime: Option<Runtime>,
}

/// Its shards, and how far each was read.
pub struct Shards<'s> {
    stream: &'s Stream,
    cursors: Vec<Cursor>,
    /// Those that were ever begun: a shard can be the child of two.
    known: BTreeSet<String>,
}

/// Shards that are read at a time.
const SHARDS_AT_ONCE: usize = 16;
/// Pages that were got and not taken.
const PAGES_WAITING: usize = 4;
/// Records of one answer: what the service gives at most.
const MOST_RECORDS: i32 = 10_000;
/// A shard answers five requests a second.
const EMPTY_WAIT: Duration = Duration::from_millis(200);
/// Attempts of one request that may go better.
const MOST_ATTEMPTS: u32 = 10;
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Stream {
    /// Makes no request yet.
    ///
    /// # Errors
    /// [`StreamError::Options`] for an endpoint that can't be used.
    pub fn open(name: &str, reach: &Reach) -> Result<Stream, StreamError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("stream")
            .enable_all()
            .build()
            .map_err(StreamError::Threads)?;
        let client = runtime.block_on(reach.kinesis())?;
        let url = StreamUrl::Kinesis(name.to_string());
        Ok(Stream { url, client, runtime: Some(runtime) })
    }

    /// The names of its shards, closed ones with records included.
    pub fn shard_ids(&self) -> Result<Vec<String>, StreamError> {
        self.runtime().block_on(async {
            let (mut ids, mut token) = (Vec::new(), None);
            loop {
                let output = self.shard_page(&token).await.map_err(|failure| {
                    failure.into_error(&self.url, "read", "kinesis:ListShards")
                })?;
                ids.extend(output.shards().iter().map(|shard| shard.shard_id().to_string()));
                token = output.next_token;
                if token.is_none() {
                    return Ok(ids);
                }
            }
        })
    }

    async fn shard_page(&self, token: &Option<String>) -> Result<ListShardsOutput, Failure> {
        let mut attempts = Attempts::default();
        loop {
            // A page behind the first is asked for without the name.
            let list = match token {
                None => self.client.list_shards().stream_name(self.url.name()),
                Some(token) => self.client.list_shards().next_token(token),
            };
            match list.send().await {
                Ok(output) => return Ok(output),
                Err(error) => attempts.again(Failure::of(&error)).await?,
            }
        }
    }

    /// Shards to be read, each from its own start.
    pub fn shards(&self, starts: impl IntoIterator<Item = (String, Start)>) -> Shards<'_> {
        let cursors: Vec<Cursor> = starts
            .into_iter()
            .map(|(shard, start)| Cursor { shard: shard.into(), start, iterator: None })
            .collect();
        let known = cursors.iter().map(|cursor| cursor.shard.to_string()).collect();
        Shards { stream: self, cursors, known }
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it goes with the stream")
    }
}

impl Drop for Stream {
    /// Requests under way are not waited for.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shards<'_> {
    /// Reads all shards up to their ends, and gives what they hold to `take`, page by page. Shards that
    /// came of others by resharding belong to the next pass. True once `take` breaks: nothing more can
    /// be read then.
    ///
    /// # Errors
    /// [`StreamError::Refused`] and [`StreamError::Interrupted`].
    pub fn pass(
        &mut self,
        interrupted: &AtomicBool,
        take: &mut dyn FnMut(Vec<Got>) -> ControlFlow<()>,
    ) -> Result<bool, StreamError> {
        let stream = self.stream;
        let slots = Arc::new(Semaphore::new(SHARDS_AT_ONCE));
        let (give, mut pages) = mpsc::channel(PAGES_WAITING);
        stream.runtime().block_on(async {
            let mut reading = JoinSet::new();
            for mut cursor in std::mem::take(&mut self.cursors) {
                let (give, slots, client) =
                    (give.clone(), Arc::clone(&slots), stream.client.clone());
                let url = stream.url.clone();
                reading.spawn(async move {
                    let _slot = slots.acquire_owned().await;
                    cursor.read(&client, &url, &give).await.map(|next| (cursor, next))
                });
            }
            drop(give);
            loop {
                if interrupted.load(Ordering::Relaxed) {
                    return Err(StreamError::Interrupted);
                }
                match tokio::time::timeout(LOOK_EVERY, pages.recv()).await {
                    Err(_) => {}
                    Ok(Some(page)) => {
                        if take(page).is_break() {
                            return Ok(true);
                        }
                    }
                    Ok(None) => break,
                }
            }
            while let Some(done) = reading.join_next().await {
                let (cursor, next) = done.expect("reading does not panic")?;
                match next {
                    Next::Later => self.cursors.push(cursor),
                    Next::Children(ids) => {
                        for id in ids {
                            if self.known.insert(id.clone()) {
                                let (shard, start) = (id.into(), Start::Oldest);
                                self.cursors.push(Cursor { shard, start, iterator: None });
                            }
                        }
                    }
                }
            }
            Ok(false)
        })
    }
}

/// How far a shard was read.
struct Cursor {
    shard: Arc<str>,
    start: Start,
    iterator: Option<String>,
}

/// How a shard's reading goes on.
enum Next {
    Later,
    /// The shard was closed, and is read; its records go on in these.
    Children(Vec<String>),
}

impl Cursor {
    /// Reads up to the end of the shard.
    async fn read(
        &mut self,
        client: &Client,
        url: &StreamUrl,
        give: &mpsc::Sender<Vec<Got>>,
    ) -> Result<Next, StreamError> {
        loop {
            let output = self.next_page(client, url).await?;
            self.iterator = output.next_shard_iterator.clone();
            let is_caught_up = output.millis_behind_latest().unwrap_or_default() == 0;
            let is_empty = output.records().is_empty();
            if let Some(last) = output.records().last() {
                self.start = Start::Behind(last.sequence_number().to_string());
            }
            let children = output.child_shards().iter().map(|child| child.shard_id().to_string());
            let children: Vec<String> = children.collect();
            if !is_empty && give.send(self.page(output)).await.is_err() {
                return Ok(Next::Later);
            }
            if self.iterator.is_none() {
                return Ok(Next::Children(children));
            }
            if is_caught_up {
                return Ok(Next::Later);
            }
            if is_empty {
                tokio::time::sleep(EMPTY_WAIT).await;
            }
        }
    }

    fn page(&self, output: GetRecordsOutput) -> Vec<Got> {
        let got = |record: aws_sdk_kinesis::types::Record| Got {
            shard: Arc::clone(&self.shard),
            arrival_utc: record
                .approximate_arrival_timestamp()
                .and_then(|time| DateTime::from_timestamp(time.secs(), time.subsec_nanos())),
            sequence: record.sequence_number,
            partition_key: record.partition_key.unwrap_or_default(),
            data: record.data.into_inner(),
        };
        output.records.into_iter().map(got).collect()
    }

    async fn next_page(
        &mut self,
        client: &Client,
        url: &StreamUrl,
    ) -> Result<GetRecordsOutput, StreamError> {
        let mut attempts = Attempts::default();
        loop {
            let iterator = match &self.iterator {
                Some(iterator) => iterator.clone(),
                None => self.new_iterator(client, url).await.map_err(|failure| {
                    failure.into_error(url, "read", "kinesis:GetShardIterator")
                })?,
            };
            let get = client.get_records().shard_iterator(iterator).limit(MOST_RECORDS);
            let failure = match get.send().await {
                Ok(output) => return Ok(output),
                Err(error) => Failure::of(&error),
            };
            if failure.kind == Kind::Expired {
                self.iterator = None;
            }
            attempts
                .again(failure)
                .await
                .map_err(|failure| failure.into_error(url, "read", "kinesis:GetRecords"))?;
        }
    }

    async fn new_iterator(&self, client: &Client, url: &StreamUrl) -> Result<String, Failure> {
        use ShardIteratorType as Type;
        let mut attempts = Attempts::default();
        loop {
            let ask = client.get_shard_iterator().stream_name(url.name()).shard_id(&*self.shard);
            let ask = match &self.start {
                Start::Oldest => ask.shard_iterator_type(Type::TrimHorizon),
                Start::At(time) => {
                    let time = AwsTime::from_millis(time.timestamp_millis());
                    ask.shard_iterator_type(Type::AtTimestamp).timestamp(time)
                }
                Start::Sequence(number) => {
                    ask.shard_iterator_type(Type::AtSequenceNumber).starting_sequence_number(number)
                }
                Start::Behind(number) => ask
                    .shard_iterator_type(Type::AfterSequenceNumber)
                    .starting_sequence_number(number),
            };
            let failure = match ask.send().await {
                Ok(output) => match output.shard_iterator {
                    Some(iterator) => return Ok(iterator),
                    None => Failure::nonsense("the answer holds no iterator".to_string()),
                },
                Err(error) => Failure::of(&error),
            };
            attempts.again(failure).await?;
        }
    }
}

/// The attempts of one request.
#[derive(Default)]
struct Attempts {
    failed: u32,
    backoff: Backoff,
}

impl Attempts {
    /// Waits where another attempt may help, else gives the failure back.
    async fn again(&mut self, failure: Failure) -> Result<(), Failure> {
        self.failed += 1;
        let may_help = matches!(failure.kind, Kind::Again | Kind::Expired);
        if !may_help || self.failed >= MOST_ATTEMPTS {
            return Err(failure);
        }
        tokio::time::sleep(self.backoff.wait(failure.after)).await;
        Ok(())
    }
}
