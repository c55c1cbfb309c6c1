//! The list of fields that are taken for a record's event time.

/// Fields that are looked at for a record's event time when `--time-field` names none: the first
/// one whose value reads as a time serves.
///
/// The order is the distance from the event, so that a record with several times gets the one of
/// what happened and not the one of its transport:
///
/// 1. names that say "event" or "occurred" (CloudTrail, Amplitude, Pinpoint, Google Analytics);
/// 2. plain names, which mean the event unless one of the first group stands beside them (most
///    producers; EventBridge and CloudEvents `time`, WAF `timestamp`, Elastic `@timestamp`);
/// 3. when something was measured or observed (devices, OpenTelemetry);
/// 4. when the thing was created (GitHub, Stripe, databases);
/// 5. the same, inside the envelope of a well-known producer (Mixpanel, USGS, SES, Wikimedia,
///    DynamoDB streams, Debezium);
/// 6. when it was sent or published;
/// 7. when it arrived, which Firehose's own time in the key would say nearly as well.
///
/// Names are compared exactly; a dot leads into a nested object. Names that often hold another
/// time than the event's (`start`, `updated_at`, `expires_at`, `date`) are not in the list.
pub const TIME_FIELDS: &[&str] = &[
    // 1
    "event_time",
    "eventTime",
    "EventTime",
    "event_timestamp",
    "eventTimestamp",
    "event_ts",
    "eventTs",
    "event_datetime",
    "eventDateTime",
    "occurred_at",
    "occurredAt",
    "occurred_on",
    "occurredOn",
    "client_event_time",
    "originalTimestamp",
    // 2
    "ts",
    "timestamp",
    "Timestamp",
    "timeStamp",
    "time_stamp",
    "time",
    "Time",
    "@timestamp",
    "datetime",
    "dateTime",
    "DateTime",
    "date_time",
    "dt",
    "epoch",
    "epoch_ms",
    "timestamp_ms",
    "timestampMs",
    // 3
    "measured_at",
    "measuredAt",
    "recorded_at",
    "recordedAt",
    "observed_at",
    "observedAt",
    "collected_at",
    "logged_at",
    "loggedAt",
    "log_time",
    "timeUnixNano",
    "derived_tstamp",
    "requestTimeEpoch",
    // 4
    "created_at",
    "createdAt",
    "created",
    "creation_time",
    "creationTime",
    // 5
    "event.time",
    "event.timestamp",
    "properties.time",
    "properties.timestamp",
    "meta.dt",
    "meta.timestamp",
    "metadata.timestamp",
    "mail.timestamp",
    "dynamodb.ApproximateCreationDateTime",
    "source.ts_ms",
    "payload.source.ts_ms",
    "ts_ms",
    // 6
    "sent_at",
    "sentAt",
    "published_at",
    "publishedAt",
    "publish_time",
    "publishTime",
    // 7
    "collector_tstamp",
    "received_at",
    "receivedAt",
    "ingested_at",
    "ingestedAt",
    "ingest_time",
    "ingestion_time",
    "arrival_time",
    "arrival_timestamp",
    "arrivalTimestamp",
    "approximateArrivalTimestamp",
    "ApproximateArrivalTimestamp",
    "kinesis.approximateArrivalTimestamp",
];
