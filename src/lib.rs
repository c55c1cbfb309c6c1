//! rawcat turns what Amazon Data Firehose leaves in S3 into whole local days.
//!
//! The modules stand in the order in which data flows: a stage may use the types of earlier
//! stages, never those of later ones. [`job`] wires them, and is the file to read first.

pub mod window;
pub mod layout;
pub mod store;
pub mod streams;
pub mod codec;
pub mod parquet;
pub mod schema;
pub mod json;
pub mod time;
pub mod undelivered;
pub mod envelope;
pub mod aggregate;
pub mod publish;
pub mod chart;
pub mod engine;
pub mod job;

pub mod web;
pub mod pipeline;
pub mod send;
pub mod trace;

pub mod error;
pub mod progress;
pub mod config;
pub mod cli;
pub mod commands;
