//! Tests across rooms and from end to end, in one binary, so that they link once.

mod aggregate;
mod cli;
mod json;
mod publish;
mod s3server;
mod store;
