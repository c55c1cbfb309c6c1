//! A request → what is done and printed. One file a command; they open stores and folders, run
//! jobs and write to stdout, and decide nothing about data.

mod cat;
mod chart;
mod days;
mod errors;
mod fetch;
mod pipeline;
mod plan;
pub mod policy;
mod range;
mod schema;
mod send;
mod stream;
mod told;
mod trace;
mod windows;

pub use cat::cat;
pub use chart::chart;
pub use errors::errors;
pub use fetch::{fetch, sync};
pub use pipeline::pipeline;
pub use plan::plan;
pub use schema::schema;
pub use send::send;
pub use stream::stream;
pub use trace::trace;
