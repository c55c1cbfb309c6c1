//! Tests across rooms and from end to end, in one binary, so that they link once.

mod aggregate;
mod cli;
mod days;
mod json;
mod late;
mod losses;
mod place;
mod publish;
mod s3server;
mod sample;
mod store;
mod widen;
