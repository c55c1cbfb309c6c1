//! The program's tests of the record reader and of the corpus, without the rest of the program:
//! small enough to run under valgrind.

#[path = "../../tests/it/corpus.rs"]
mod corpus;
#[path = "../../tests/it/json.rs"]
mod json;
#[path = "../../tests/it/laws/mod.rs"]
mod laws;
