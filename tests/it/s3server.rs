//! A real S3 server for tests: `s3s-fs` behind real HTTP and real signatures, on a port of its own.
//!
//! Each folder below the root is a bucket. The wrapper adds what `s3s-fs` lacks (ETags in
//! listings, `If-Match`, conditional puts that are atomic), keeps a log of requests, and is the
//! place for faults: replies with an error, bodies that are cut or stall on the wire, denied
//! prefixes, another region.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rawcat::store::{AccessKeys, StoreOptions};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput,
    DeleteObjectInput, DeleteObjectOutput, ETag, ETagCondition, GetObjectInput, GetObjectOutput,
    ListObjectsV2Input, ListObjectsV2Output, PutObjectInput, PutObjectOutput, Range,
    UploadPartInput, UploadPartOutput,
};
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use s3s_fs::FileSystem;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

pub const ACCESS_KEY: &str = "AKIDTESTONLY";
pub const SECRET_KEY: &str = "test-secret-never-shown";

/// What a fault strikes. The first that fits is used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum On {
    /// Listings of exactly this prefix, as the bucket sees it.
    List(String),
    /// GETs of this key, as the bucket sees it.
    Get(String),
    AnyList,
    AnyGet,
    /// Puts of this key, and each request of an upload of it in parts but the aborting one.
    Put(String),
    AnyPut,
    /// Part of an upload of this key.
    Part(String, i32),
    Delete(String),
}

#[derive(Clone, Debug)]
pub enum Fault {
    /// An error reply: status, code, message.
    Reply(u16, &'static str, &'static str),
    /// The connection closes after so many bytes of the body.
    Cut(u64),
    /// Nothing more comes after so many bytes of the body.
    Stall(u64),
    /// An error reply, of whose body nothing more comes after so many bytes.
    StalledError(u64),
    /// The answer waits.
    Delay(Duration),
    /// The whole object although a range was asked for.
    IgnoreRange,
    /// A wrong checksum of the body.
    WrongChecksum,
    /// Another ETag in the answer.
    OtherEtag,
    /// A listing that is cut short and has no token.
    TruncatedWithoutToken,
    /// A listing whose token is always the same.
    SameToken,
    /// A listing in the wrong order, as directory buckets give it.
    Unsorted,
    /// The keys of a page in an order that follows from this seed.
    Shuffled(u64),
    /// A 200 whose body is an error.
    ErrorIn200,
    /// The object is another one from this GET on.
    Replace(&'static [u8]),
    /// The object is gone from this GET on.
    Remove,
    /// The write is done, and its answer never comes.
    Lost,
}

/// Faults that follow from a seed: which request gets which depends on what it asks for and how often
/// it was asked, and not on the order in which requests come.
#[derive(Clone, Debug)]
pub struct Weather {
    pub seed: u64,
    /// Faults of listings, and of GETs.
    pub of_lists: Vec<Fault>,
    pub of_gets: Vec<Fault>,
    /// Of a hundred requests so many get a fault.
    pub percent: u64,
}

impl Weather {
    fn fault(&self, is_list: bool, name: &str, attempt: usize) -> Option<Fault> {
        let faults = if is_list { &self.of_lists } else { &self.of_gets };
        let draw = |salt: u64| {
            let text = format!("{salt} {is_list} {attempt} {name}");
            xxhash_rust::xxh3::xxh3_64_with_seed(text.as_bytes(), self.seed)
        };
        let strikes = !faults.is_empty() && draw(0) % 100 < self.percent;
        strikes.then(|| match &faults[draw(1) as usize % faults.len()] {
            // Anywhere in the body.
            Fault::Cut(bytes) => Fault::Cut(draw(2) % (bytes + 1)),
            Fault::Stall(bytes) => Fault::Stall(draw(2) % (bytes + 1)),
            fault => fault.clone(),
        })
    }
}

/// One request as the server saw it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    List { prefix: String, token: Option<String>, delimiter: Option<String> },
    Get { key: String, from_byte: u64, if_match: bool },
    Put { key: String, content_type: String, if_none_match: bool },
    Delete { key: String },
    CreateUpload { key: String, content_type: String },
    UploadPart { key: String, number: i32 },
    CompleteUpload { key: String },
    AbortUpload { key: String },
}

#[derive(Default)]
struct State {
    root: PathBuf,
    faults: Mutex<Vec<(On, usize, Fault)>>,
    weather: Mutex<Option<Weather>>,
    attempts: Mutex<HashMap<String, usize>>,
    /// What the weather did: request, attempt, fault.
    struck: Mutex<Vec<String>>,
    log: Mutex<Vec<Seen>>,
    denied: Mutex<Vec<String>>,
    region: Mutex<Option<String>>,
    regions_seen: Mutex<Vec<String>>,
    sizes: Mutex<HashMap<String, u64>>,
    page_keys: AtomicUsize,
    anonymous: AtomicUsize,
    payers: AtomicUsize,
    busy_gets: AtomicUsize,
    most_busy_gets: AtomicUsize,
    asked_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    connections: AtomicUsize,
    ignores_conditions: AtomicUsize,
    /// One put at a time, so that a condition holds until its put is done.
    putting: tokio::sync::Mutex<()>,
}

/// A running server; it ends when this is dropped.
pub struct S3Server {
    endpoint: String,
    state: Arc<State>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for S3Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl S3Server {
    /// Serves the folders below `root` as buckets.
    pub fn start(root: &Path) -> S3Server {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let state = Arc::new(State {
            root: root.to_path_buf(),
            page_keys: AtomicUsize::new(1000),
            ..State::default()
        });
        let mut builder = S3ServiceBuilder::new(Wrapper {
            inner: FileSystem::new(root).unwrap(),
            state: Arc::clone(&state),
        });
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        builder.set_access(Door(Arc::clone(&state)));
        let service = builder.build();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::clone(&state);
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let _ = socket.set_nodelay(true);
                let service = service.clone();
                let wire = Arc::new(Wire::default());
                let socket = Socket { socket, wire: Arc::clone(&wire), state: Arc::clone(&shared) };
                tokio::spawn(WIRE.scope(wire, async move {
                    let http = auto::Builder::new(TokioExecutor::new());
                    let _ = http.serve_connection(TokioIo::new(socket), service).await;
                }));
            }
        });
        S3Server { endpoint, state, runtime: Some(runtime) }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Options that reach this server, with short waits.
    pub fn options(&self) -> StoreOptions {
        StoreOptions {
            endpoint_url: Some(self.endpoint.clone()),
            access_keys: Some(AccessKeys {
                access_key_id: ACCESS_KEY.to_string(),
                secret_access_key: SECRET_KEY.to_string(),
                session_token: None,
            }),
            region: Some("us-east-1".to_string()),
            retry_base: Duration::from_millis(2),
            ..StoreOptions::default()
        }
    }

    /// The next `times` requests that fit get this fault.
    pub fn fault(&self, on: On, times: usize, fault: Fault) {
        self.state.faults.lock().unwrap().push((on, times, fault));
    }

    /// From now on, requests get faults by this plan; `None` ends it. Gives what the last one did.
    pub fn set_weather(&self, weather: Option<Weather>) -> Vec<String> {
        *self.state.weather.lock().unwrap() = weather;
        self.state.attempts.lock().unwrap().clear();
        std::mem::take(&mut *self.state.struck.lock().unwrap())
    }

    pub fn clear_faults(&self) {
        self.state.faults.lock().unwrap().clear();
    }

    /// Listings and GETs below this prefix (as the bucket sees it) are forbidden.
    pub fn deny(&self, prefix: &str) {
        self.state.denied.lock().unwrap().push(prefix.to_string());
    }

    /// Requests signed for another region are redirected to this one.
    pub fn set_region(&self, region: &str) {
        *self.state.region.lock().unwrap() = Some(region.to_string());
    }

    /// Requests without a signature are let in.
    pub fn allow_anonymous(&self) {
        self.state.anonymous.store(1, Ordering::SeqCst);
    }

    /// At most so many keys a page; S3 gives 1,000.
    pub fn set_page_keys(&self, keys: usize) {
        self.state.page_keys.store(keys, Ordering::SeqCst);
    }

    /// Listings say that the object has this size.
    pub fn claim_size(&self, key: &str, bytes: u64) {
        self.state.sizes.lock().unwrap().insert(key.to_string(), bytes);
    }

    /// `If-None-Match` of puts is not looked at, as old servers don't.
    pub fn ignore_conditions(&self) {
        self.state.ignores_conditions.store(1, Ordering::SeqCst);
    }

    /// What changes objects, in order.
    pub fn writes(&self) -> Vec<Seen> {
        let is_write = |seen: &Seen| !matches!(seen, Seen::List { .. } | Seen::Get { .. });
        self.log().into_iter().filter(is_write).collect()
    }

    pub fn clear_log(&self) {
        self.state.log.lock().unwrap().clear();
    }

    pub fn log(&self) -> Vec<Seen> {
        self.state.log.lock().unwrap().clone()
    }

    pub fn gets(&self) -> usize {
        let is_get = |seen: &&Seen| matches!(seen, Seen::Get { .. });
        self.log().iter().filter(is_get).count()
    }

    pub fn regions_seen(&self) -> Vec<String> {
        self.state.regions_seen.lock().unwrap().clone()
    }

    /// Requests that offered to pay.
    pub fn payers(&self) -> usize {
        self.state.payers.load(Ordering::SeqCst)
    }

    /// The most GETs that waited for their answer at one time.
    pub fn most_busy_gets(&self) -> usize {
        self.state.most_busy_gets.load(Ordering::SeqCst)
    }

    /// Bytes of all bodies that were asked for, sent or not.
    pub fn asked_bytes(&self) -> u64 {
        self.state.asked_bytes.load(Ordering::SeqCst)
    }

    /// Bytes that went over the wire, headers included.
    pub fn sent_bytes(&self) -> u64 {
        self.state.sent_bytes.load(Ordering::SeqCst)
    }

    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

/// Who may come in: whoever signs, and everybody if the test says so.
struct Door(Arc<State>);

#[async_trait::async_trait]
impl S3Access for Door {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        if context.headers().contains_key("x-amz-request-payer") {
            self.0.payers.fetch_add(1, Ordering::SeqCst);
        }
        if context.credentials().is_some() || self.0.anonymous.load(Ordering::SeqCst) == 1 {
            return Ok(());
        }
        Err(error(403, "AccessDenied", "Access Denied"))
    }
}

struct Wrapper {
    inner: FileSystem,
    state: Arc<State>,
}

fn error(status: u16, code: &str, message: &'static str) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::from_str(code).unwrap(), message);
    error.set_status_code(status.try_into().unwrap());
    error
}

impl State {
    /// What the weather does to a request for this prefix or key.
    fn weather(&self, is_list: bool, name: &str) -> Option<Fault> {
        let weather = self.weather.lock().unwrap().clone()?;
        let mut attempts = self.attempts.lock().unwrap();
        let attempt = attempts.entry(format!("{is_list} {name}")).or_default();
        *attempt += 1;
        let fault = weather.fault(is_list, name, *attempt)?;
        let what = if is_list { "list" } else { "get" };
        self.struck.lock().unwrap().push(format!("{what} {name}, attempt {attempt}: {fault:?}"));
        Some(fault)
    }

    fn take_fault(&self, fits: impl Fn(&On) -> bool) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let found = faults.iter_mut().find(|(on, times, _)| *times > 0 && fits(on))?;
        found.1 -= 1;
        Some(found.2.clone())
    }

    fn admit<T>(&self, request: &S3Request<T>, key: &str) -> S3Result<()> {
        let used = request.region.as_ref().map(|region| region.as_str());
        let used = used.unwrap_or("none").to_string();
        self.regions_seen.lock().unwrap().push(used.clone());
        if let Some(region) = &*self.region.lock().unwrap()
            && *region != used
        {
            let mut error = error(301, "PermanentRedirect", "use the specified endpoint");
            let mut headers = request.headers.clone();
            headers.clear();
            headers.insert("x-amz-bucket-region", region.parse().unwrap());
            error.set_headers(headers);
            return Err(error);
        }
        let denied = self.denied.lock().unwrap();
        if denied.iter().any(|prefix| key.starts_with(prefix.as_str())) {
            return Err(error(403, "AccessDenied", "Access Denied"));
        }
        Ok(())
    }

    /// What a write meets: its line in the log, closed doors, faults.
    async fn write<T>(
        &self,
        request: &S3Request<T>,
        key: &str,
        seen: Seen,
        on: &[On],
    ) -> S3Result<()> {
        self.log.lock().unwrap().push(seen);
        self.admit(request, key)?;
        match self.take_fault(|fault| on.contains(fault)) {
            Some(Fault::Reply(status, code, message)) => Err(error(status, code, message)),
            Some(Fault::Delay(time)) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Some(Fault::Lost) => {
                WIRE.with(|wire| wire.close());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Changes with the file, like a real one, and needs no reading.
    fn etag(&self, bucket: &str, key: &str) -> Option<String> {
        let meta = std::fs::metadata(self.root.join(bucket).join(key)).ok()?;
        let time = meta.modified().ok()?;
        let nanos = time.duration_since(std::time::UNIX_EPOCH).ok()?.as_nanos();
        Some(format!("{nanos:x}-{:x}", meta.len()))
    }
}

#[async_trait::async_trait]
impl S3 for Wrapper {
    async fn list_objects_v2(
        &self,
        mut request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let bucket = request.input.bucket.clone();
        let prefix = request.input.prefix.clone().unwrap_or_default();
        self.state.log.lock().unwrap().push(Seen::List {
            prefix: prefix.clone(),
            token: request.input.continuation_token.clone(),
            delimiter: request.input.delimiter.clone(),
        });
        self.state.admit(&request, &prefix)?;
        let fault =
            self.state.take_fault(|on| *on == On::AnyList || *on == On::List(prefix.clone()));
        let fault = fault.or_else(|| self.state.weather(true, &prefix));
        match &fault {
            Some(Fault::Reply(status, code, message)) => {
                return Err(error(*status, code, message));
            }
            Some(Fault::ErrorIn200) => return Err(error(200, "InternalError", "try again")),
            Some(Fault::Delay(time)) => tokio::time::sleep(*time).await,
            Some(Fault::Cut(bytes)) => WIRE.with(|wire| wire.arm(*bytes, false)),
            Some(Fault::Stall(bytes)) => WIRE.with(|wire| wire.arm(*bytes, true)),
            _ => {}
        }
        let page = self.state.page_keys.load(Ordering::SeqCst) as i32;
        request.input.max_keys = Some(request.input.max_keys.unwrap_or(page).min(page));
        let mut response = self.inner.list_objects_v2(request).await?;
        for object in response.output.contents.iter_mut().flatten() {
            let key = object.key.clone().unwrap_or_default();
            object.e_tag = self.state.etag(&bucket, &key).map(ETag::Strong);
            if let Some(bytes) = self.state.sizes.lock().unwrap().get(&key) {
                object.size = Some(*bytes as i64);
            }
        }
        match fault {
            Some(Fault::Unsorted) => {
                let contents = response.output.contents.iter_mut();
                contents.for_each(|objects| objects.reverse());
            }
            Some(Fault::Shuffled(seed)) => {
                let contents = response.output.contents.iter_mut().flatten();
                let mut objects: Vec<s3s::dto::Object> = contents.map(std::mem::take).collect();
                // A different order for each prefix, so that hours don't agree by chance.
                let seed = xxhash_rust::xxh3::xxh3_64_with_seed(prefix.as_bytes(), seed);
                let rank = |object: &s3s::dto::Object| {
                    let key = object.key.clone().unwrap_or_default();
                    xxhash_rust::xxh3::xxh3_64_with_seed(key.as_bytes(), seed)
                };
                objects.sort_by_key(rank);
                response.output.contents = Some(objects);
            }
            Some(Fault::TruncatedWithoutToken) => {
                response.output.is_truncated = Some(true);
                response.output.next_continuation_token = None;
            }
            Some(Fault::SameToken) => {
                response.output.is_truncated = Some(true);
                response.output.next_continuation_token = Some("again".to_string());
            }
            _ => {}
        }
        Ok(response)
    }

    async fn get_object(
        &self,
        mut request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let (bucket, key) = (request.input.bucket.clone(), request.input.key.clone());
        let from_byte = match request.input.range {
            Some(Range::Int { first, .. }) => first,
            _ => 0,
        };
        self.state.log.lock().unwrap().push(Seen::Get {
            key: key.clone(),
            from_byte,
            if_match: request.input.if_match.is_some(),
        });
        self.state.admit(&request, &key)?;
        let fault = self.state.take_fault(|on| *on == On::AnyGet || *on == On::Get(key.clone()));
        let fault = fault.or_else(|| self.state.weather(false, &key));
        let path = self.state.root.join(&bucket).join(&key);
        match &fault {
            Some(Fault::Replace(bytes)) => std::fs::write(path, bytes).unwrap(),
            Some(Fault::Remove) => std::fs::remove_file(path).unwrap(),
            _ => {}
        }
        let etag = self.state.etag(&bucket, &key);
        if let (Some(ETagCondition::ETag(want)), Some(now)) = (&request.input.if_match, &etag)
            && want.value() != now
        {
            return Err(error(412, "PreconditionFailed", "a precondition did not hold"));
        }
        let busy = self.state.busy_gets.fetch_add(1, Ordering::SeqCst) + 1;
        self.state.most_busy_gets.fetch_max(busy, Ordering::SeqCst);
        if let Some(Fault::Delay(time)) = &fault {
            tokio::time::sleep(*time).await;
        }
        self.state.busy_gets.fetch_sub(1, Ordering::SeqCst);
        match &fault {
            Some(Fault::Reply(status, code, message)) => {
                return Err(error(*status, code, message));
            }
            Some(Fault::Cut(bytes)) => WIRE.with(|wire| wire.arm(*bytes, false)),
            Some(Fault::Stall(bytes)) => WIRE.with(|wire| wire.arm(*bytes, true)),
            Some(Fault::StalledError(bytes)) => {
                WIRE.with(|wire| wire.arm(*bytes, true));
                return Err(error(500, "InternalError", "try again"));
            }
            Some(Fault::IgnoreRange) => request.input.range = None,
            _ => {}
        }
        request.input.if_match = None;
        let mut response = self.inner.get_object(request).await?;
        let length = response.output.content_length.unwrap_or_default();
        self.state.asked_bytes.fetch_add(length as u64, Ordering::SeqCst);
        response.output.e_tag = etag.map(ETag::Strong);
        match fault {
            Some(Fault::WrongChecksum) => {
                response.output.checksum_crc32 = Some("AAAAAA==".to_string());
            }
            Some(Fault::OtherEtag) => {
                response.output.e_tag = Some(ETag::Strong("other".to_string()));
            }
            _ => {}
        }
        Ok(response)
    }

    async fn put_object(
        &self,
        mut request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let key = request.input.key.clone();
        let seen = Seen::Put {
            key: key.clone(),
            content_type: request.input.content_type.clone().unwrap_or_default(),
            if_none_match: request.input.if_none_match.is_some(),
        };
        self.state.write(&request, &key, seen, &[On::AnyPut, On::Put(key.clone())]).await?;
        if !self.state.root.join(&request.input.bucket).is_dir() {
            return Err(error(404, "NoSuchBucket", "The specified bucket does not exist"));
        }
        if self.state.ignores_conditions.load(Ordering::SeqCst) == 1 {
            request.input.if_none_match = None;
        }
        let _one_at_a_time = self.state.putting.lock().await;
        self.inner.put_object(request).await
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let key = request.input.key.clone();
        let seen = Seen::Delete { key: key.clone() };
        self.state.write(&request, &key, seen, &[On::Delete(key.clone())]).await?;
        self.inner.delete_object(request).await
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let key = request.input.key.clone();
        let content_type = request.input.content_type.clone().unwrap_or_default();
        let seen = Seen::CreateUpload { key: key.clone(), content_type };
        self.state.write(&request, &key, seen, &[On::AnyPut, On::Put(key.clone())]).await?;
        self.inner.create_multipart_upload(request).await
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let (key, number) = (request.input.key.clone(), request.input.part_number);
        let seen = Seen::UploadPart { key: key.clone(), number };
        let on = [On::AnyPut, On::Put(key.clone()), On::Part(key.clone(), number)];
        self.state.write(&request, &key, seen, &on).await?;
        self.inner.upload_part(request).await
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let key = request.input.key.clone();
        let seen = Seen::CompleteUpload { key: key.clone() };
        self.state.write(&request, &key, seen, &[On::AnyPut, On::Put(key.clone())]).await?;
        self.inner.complete_multipart_upload(request).await
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let key = request.input.key.clone();
        self.state.write(&request, &key, Seen::AbortUpload { key: key.clone() }, &[]).await?;
        self.inner.abort_multipart_upload(request).await
    }
}

tokio::task_local! {
    /// The connection that the present request came over. A handler runs in the task of its
    /// connection, and a connection carries one request at a time.
    static WIRE: Arc<Wire>;
}

/// What is to happen to the next response on a connection.
#[derive(Default)]
struct Wire(Mutex<Option<Armed>>);

#[derive(Clone)]
struct Armed {
    /// How much of the blank line after the headers was seen.
    blank: usize,
    body_left: u64,
    stall: bool,
}

impl Wire {
    fn arm(&self, body_bytes: u64, stall: bool) {
        *self.0.lock().unwrap() = Some(Armed { blank: 0, body_left: body_bytes, stall });
    }

    /// Not even headers go any more.
    fn close(&self) {
        *self.0.lock().unwrap() = Some(Armed { blank: 4, body_left: 0, stall: false });
    }
}

impl Armed {
    fn is_spent(&self) -> bool {
        self.blank == 4 && self.body_left == 0
    }

    /// How many bytes of `buf` may still go.
    fn allow(&mut self, buf: &[u8]) -> usize {
        const BLANK: &[u8] = b"\r\n\r\n";
        let mut at = 0;
        while at < buf.len() && self.blank < BLANK.len() {
            self.blank = match buf[at] {
                byte if byte == BLANK[self.blank] => self.blank + 1,
                b'\r' => 1,
                _ => 0,
            };
            at += 1;
        }
        let body = ((buf.len() - at) as u64).min(self.body_left);
        self.body_left -= body;
        at + body as usize
    }
}

/// A connection whose responses can be cut or stopped.
struct Socket {
    socket: TcpStream,
    wire: Arc<Wire>,
    state: Arc<State>,
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wire = Arc::clone(&self.wire);
        let mut armed = wire.0.lock().unwrap();
        let mut allowed = buf.len();
        if let Some(armed) = armed.as_ref() {
            if armed.is_spent() {
                return match armed.stall {
                    true => Poll::Pending,
                    false => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                };
            }
            allowed = armed.clone().allow(buf);
        }
        let sent = ready!(Pin::new(&mut self.socket).poll_write(context, &buf[..allowed]))?;
        if let Some(armed) = armed.as_mut() {
            armed.allow(&buf[..sent]);
        }
        self.state.sent_bytes.fetch_add(sent as u64, Ordering::SeqCst);
        Poll::Ready(Ok(sent))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
