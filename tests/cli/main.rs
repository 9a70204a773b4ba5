//! Black-box tests: the real binary, the real encoder and the real libraries, from files to files.
//!
//! One test binary, because every further one would link all of it again. Subjects, in the order of the data:
//!
//! - [`support`], [`datasets`], [`fixtures`]: running the binary in a folder of its own, reading what it left, and the
//!   few inputs that several tests share;
//! - [`ingest`], [`folder`], [`embed`], [`reference`], [`train`], [`article`], [`score`], [`evaluate`], [`export`]: the
//!   stages, one file each;
//! - [`native`], [`gpu`]: which libraries are needed for what, and what goes to a machine with a GPU;
//! - [`cache`]: texts that were encoded before, and the store that keeps them;
//! - [`outputs`], [`resume`], [`kills`], [`earlier`], [`changes`], [`budget`]: whose an output folder is, what is left of a
//!   run that was interrupted or killed, or by an earlier program, an input that has changed since, and too many rejects;
//! - [`errors`], [`damage`], [`pages`], [`faults`], [`regression`]: what is refused, damaged files, an encoder that fails,
//!   what once went wrong,
//!   with which words and exit code;
//! - [`explain`], [`pipelines`], [`tokenize`], [`terminal`]: the plan, pipeline files, token ids, and who is told what
//!   where;
//! - [`contracts`], [`memory`], [`scale`]: the documented schemas, memory that does not grow with the input, and many
//!   reviews through a [`tiny`] encoder.
//!
//! Tests that encode need a model folder in `BERTLINE_TEST_MODEL` (`make test` sets it), some need `../shared`; where
//! one is missing they print a line that starts with `skipped:` and pass.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod article;
mod budget;
mod cache;
mod changes;
mod contracts;
mod damage;
mod datasets;
mod earlier;
mod embed;
mod errors;
mod evaluate;
mod explain;
mod export;
mod faults;
mod fixtures;
mod folder;
mod gpu;
mod ingest;
mod kills;
mod memory;
mod native;
mod outputs;
mod pages;
mod perceptron;
mod pipelines;
mod reference;
mod regression;
mod resume;
mod scale;
mod score;
mod support;
mod terminal;
mod tiny;
mod tokenize;
mod train;
mod tune;
