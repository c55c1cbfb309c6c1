//! Tests across rooms and from end to end, in one binary, so that they link once.

mod aggregate;
mod architecture;
mod cat;
mod cli;
mod corpus;
mod damage;
mod days;
mod json;
mod late;
mod laws;
mod layouts;
mod losses;
mod numbers;
mod options;
mod out_s3;
mod place;
mod plan;
mod publish;
mod readme;
mod row_groups;
mod s3server;
mod sample;
mod stop;
mod store;
mod times;
mod widen;
