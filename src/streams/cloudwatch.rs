//! A delivery stream's name → its metrics and its error log, asked of CloudWatch. For builds with the feature
//! `cloudwatch`.
//!
//! A request is tried a few times and given up: who asks goes on without.

mod points;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_sdk_cloudwatch::config::retry::RetryConfig;
use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricStat};
use aws_sdk_cloudwatchlogs::types::FilteredLogEvent;
use aws_smithy_types::DateTime as AwsTime;
use chrono::{DateTime, Utc};
use tokio::runtime::Runtime;

use super::connect::Reach;
use super::failure::{Failure, Kind, StreamError};
use super::watch::{Counted, ErrorLog, LoggedError, Unwatched, log_group};
use crate::store::{OnlySafeHttp, shown};
use points::{METRICS, Points, Statistic, step_of, step_seconds};

/// A delivery stream that is watched.
pub struct Watch {
    name: String,
    metrics: aws_sdk_cloudwatch::Client,
    logs: aws_sdk_cloudwatchlogs::Client,
    runtime: Runtime,
}

const NAMESPACE: &str = "AWS/Firehose";
const DIMENSION: &str = "DeliveryStreamName";
/// Attempts of one request, by the SDK.
const ATTEMPTS: u32 = 3;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Of one attempt.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Answers of one question: a day of minutes fits into one, and so do most logs.
const MOST_PAGES: usize = 20;
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Watch {
    /// Makes no request yet.
    ///
    /// # Errors
    /// Where an endpoint can't be used.
    pub fn open(name: &str, reach: &Reach) -> Result<Watch, Unwatched> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StreamError::Threads)?;
        let (metrics, logs) = runtime.block_on(async {
            Ok::<_, StreamError>((metrics(reach).await?, logs(reach).await?))
        })?;
        Ok(Watch { name: name.to_string(), metrics, logs, runtime })
    }

    /// What it delivered from `since_utc` to `until_utc`.
    ///
    /// # Errors
    /// Where CloudWatch does not answer, or refuses to.
    pub fn counted(
        &self,
        since_utc: DateTime<Utc>,
        until_utc: DateTime<Utc>,
        interrupted: &AtomicBool,
    ) -> Result<Counted, Unwatched> {
        let step = step_seconds(since_utc, Utc::now());
        let since_utc = step_of(since_utc, step);
        let asked = self.points(since_utc, until_utc, step);
        let points = self.unless(interrupted, asked).unwrap_or_else(|| Err(stopped()));
        let points = points.map_err(|failure| {
            let what = format!("CloudWatch gave no metrics of {}", shown(&self.name));
            Unwatched {
                again: failure.kind == Kind::Again,
                why: format!("{what}: {}", why(&failure, "cloudwatch:GetMetricData")),
            }
        })?;
        Ok(Counted::of(since_utc, &points))
    }

    /// The newest error that it logged in this time.
    pub fn errors(
        &self,
        since_utc: DateTime<Utc>,
        until_utc: DateTime<Utc>,
        interrupted: &AtomicBool,
    ) -> ErrorLog {
        let asked = self.newest(since_utc, until_utc);
        match self.unless(interrupted, asked).unwrap_or_else(|| Err(stopped())) {
            Ok(None) => ErrorLog::Empty,
            Ok(Some(event)) => {
                let at_utc = event.timestamp.and_then(DateTime::from_timestamp_millis);
                let text = event.message.unwrap_or_default();
                ErrorLog::Newest(LoggedError::of(&text, at_utc.unwrap_or(since_utc)))
            }
            Err(failure) if failure.has_code("ResourceNotFound") => {
                ErrorLog::Missing(log_group(&shown(&self.name)))
            }
            Err(failure) => ErrorLog::Unread(format!(
                "{} could not be read: {}",
                log_group(&shown(&self.name)),
                why(&failure, "logs:FilterLogEvents")
            )),
        }
    }

    /// What comes of it, or `None` once it is interrupted.
    fn unless<T>(&self, interrupted: &AtomicBool, asked: impl Future<Output = T>) -> Option<T> {
        let stop = async {
            while !interrupted.load(Ordering::Relaxed) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        self.runtime.block_on(async {
            tokio::select! {
                answer = asked => Some(answer),
                () = stop => None,
            }
        })
    }

    async fn points(
        &self,
        since_utc: DateTime<Utc>,
        until_utc: DateTime<Utc>,
        step_seconds: u32,
    ) -> Result<[Points; METRICS.len()], Failure> {
        let mut points: [Points; METRICS.len()] = Default::default();
        let mut token = None;
        for _ in 0..MOST_PAGES {
            let output = self
                .metrics
                .get_metric_data()
                .set_metric_data_queries(Some(self.queries(step_seconds)))
                .start_time(AwsTime::from_secs(since_utc.timestamp()))
                // The minute that goes on counts, too.
                .end_time(AwsTime::from_secs(until_utc.timestamp() + 1))
                .set_next_token(token)
                .send()
                .await
                .map_err(|error| Failure::of(&error))?;
            for result in output.metric_data_results() {
                let Some(points) = result.id().and_then(place).and_then(|at| points.get_mut(at))
                else {
                    continue;
                };
                let times = result.timestamps().iter();
                points.extend(times.zip(result.values()).filter_map(|(time, value)| {
                    Some((DateTime::from_timestamp(time.secs(), 0)?, *value))
                }));
            }
            token = output.next_token;
            if token.is_none() {
                return Ok(points);
            }
        }
        Err(Failure::nonsense("its answer does not end".to_string()))
    }

    fn queries(&self, step_seconds: u32) -> Vec<MetricDataQuery> {
        let dimension = Dimension::builder().name(DIMENSION).value(&self.name).build();
        let query = |(at, (name, statistic)): (usize, (&str, Statistic))| {
            let metric = Metric::builder()
                .namespace(NAMESPACE)
                .metric_name(name)
                .dimensions(dimension.clone())
                .build();
            let statistic = match statistic {
                Statistic::Sum => "Sum",
                Statistic::Average => "Average",
                Statistic::Maximum => "Maximum",
            };
            let stat = MetricStat::builder()
                .metric(metric)
                .period(step_seconds as i32)
                .stat(statistic)
                .build();
            // Ids begin with a small letter.
            MetricDataQuery::builder().id(format!("m{at}")).metric_stat(stat).build()
        };
        METRICS.into_iter().enumerate().map(query).collect()
    }

    async fn newest(
        &self,
        since_utc: DateTime<Utc>,
        until_utc: DateTime<Utc>,
    ) -> Result<Option<FilteredLogEvent>, Failure> {
        let mut newest: Option<FilteredLogEvent> = None;
        let mut token = None;
        for _ in 0..MOST_PAGES {
            let output = self
                .logs
                .filter_log_events()
                .log_group_name(log_group(&self.name))
                .start_time(since_utc.timestamp_millis())
                .end_time(until_utc.timestamp_millis() + 1)
                .set_next_token(token)
                .send()
                .await
                .map_err(|error| Failure::of(&error))?;
            let events = output.events.unwrap_or_default();
            newest = events.into_iter().chain(newest).max_by_key(|event| event.timestamp);
            token = output.next_token;
            if token.is_none() {
                break;
            }
        }
        Ok(newest)
    }
}

/// `3` of `m3`.
fn place(id: &str) -> Option<usize> {
    id.strip_prefix('m')?.parse().ok()
}

fn stopped() -> Failure {
    Failure::nonsense("interrupted".to_string())
}

fn why(failure: &Failure, permission: &str) -> String {
    format!("{}; {}", failure.reason, failure.advice(permission))
}

async fn metrics(reach: &Reach) -> Result<aws_sdk_cloudwatch::Client, StreamError> {
    let shared = reach.shared("AWS_ENDPOINT_URL_CLOUDWATCH").await?;
    let mut config = aws_sdk_cloudwatch::config::Builder::from(&shared)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .timeout_config(timeouts());
    if reach.options.no_sign_request {
        config = config.allow_no_auth();
    }
    if !reach.options.allow_http {
        config = config.interceptor(OnlySafeHttp);
    }
    Ok(aws_sdk_cloudwatch::Client::from_conf(config.build()))
}

async fn logs(reach: &Reach) -> Result<aws_sdk_cloudwatchlogs::Client, StreamError> {
    let shared = reach.shared("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS").await?;
    let mut config = aws_sdk_cloudwatchlogs::config::Builder::from(&shared)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .timeout_config(timeouts());
    if reach.options.no_sign_request {
        config = config.allow_no_auth();
    }
    if !reach.options.allow_http {
        config = config.interceptor(OnlySafeHttp);
    }
    Ok(aws_sdk_cloudwatchlogs::Client::from_conf(config.build()))
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(ANSWER_TIMEOUT)
        .operation_attempt_timeout(ANSWER_TIMEOUT)
        .build()
}
