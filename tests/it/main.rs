//! Tests across rooms and from end to end, in one binary, so that they link once.

mod publish;
