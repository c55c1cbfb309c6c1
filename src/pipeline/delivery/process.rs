//! Entries → outcomes, in Firehose's order: parts of records, transformation, partition keys.

use std::collections::HashMap;

use serde_json::Value;

use super::entry::{Entry, Failure, Outcome};
use super::partition::{CODE, KeyQuery, checked};
use super::spec::DeliverySpec;
use super::transform::{Transform, Transformed};
use crate::layout::KeyBy;

/// What is done to entries on their way.
pub struct Process {
    deaggregation: Option<super::deaggregate::Deaggregation>,
    transform: Option<Transform>,
    /// The partition keys of the prefix, in their order.
    keys: Vec<(String, KeySource)>,
}

enum KeySource {
    Field(KeyQuery),
    Transform,
}

/// A prefix that asks for a value which nobody gives.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProcessProblem {
    #[error("the prefix has !{{partitionKeyFromQuery:{name}}}, and no query of {name} is given")]
    NoQuery { name: String },
    #[error("the prefix has !{{partitionKeyFromLambda:{name}}}, and no transformation is given")]
    NoTransform { name: String },
    #[error("the query of {name} is not used: the prefix lacks !{{partitionKeyFromQuery:{name}}}")]
    Unused { name: String },
}

impl Process {
    /// # Errors
    /// [`ProcessProblem`] where prefix and queries don't go together.
    pub fn of(
        spec: &DeliverySpec,
        transform: Option<Transform>,
    ) -> Result<Process, ProcessProblem> {
        let mut keys = Vec::new();
        for (name, by) in spec.naming.partition_keys() {
            let source = match by {
                KeyBy::Query => {
                    let query = spec.keys.iter().find(|query| query.name == name);
                    let query =
                        query.ok_or_else(|| ProcessProblem::NoQuery { name: name.to_string() })?;
                    KeySource::Field(query.clone())
                }
                KeyBy::Lambda if spec.transform.is_none() => {
                    return Err(ProcessProblem::NoTransform { name: name.to_string() });
                }
                KeyBy::Lambda | KeyBy::ErrorType => KeySource::Transform,
            };
            keys.push((name.to_string(), source));
        }
        let is_used = |query: &&KeyQuery| keys.iter().any(|(name, _)| *name == query.name);
        if let Some(unused) = spec.keys.iter().find(|query| !is_used(query)) {
            return Err(ProcessProblem::Unused { name: unused.name.clone() });
        }
        Ok(Process { deaggregation: spec.deaggregation.clone(), transform, keys })
    }

    /// Who transforms, as error records name it.
    pub fn transformer(&self) -> Option<String> {
        self.transform.as_ref().map(|transform| transform.invoker.spec.by.name())
    }

    /// What becomes of entries.
    pub fn apply(&self, entries: Vec<Entry>) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(entries.len());
        let mut parts = Vec::with_capacity(entries.len());
        match &self.deaggregation {
            None => parts = entries,
            Some(deaggregation) => {
                entries.into_iter().for_each(|entry| match deaggregation.apply(entry) {
                    // White space, or delimiters alone.
                    Ok(more) if more.is_empty() => outcomes.push(Outcome::Dropped),
                    Ok(more) => parts.extend(more),
                    Err((entry, failure)) => outcomes.push(Outcome::Failed(entry, failure)),
                })
            }
        }
        let Some(transform) = &self.transform else {
            outcomes.extend(parts.into_iter().map(|entry| self.keyed(entry, &HashMap::new())));
            return outcomes;
        };
        outcomes.extend(transform.apply(parts).into_iter().map(|transformed| match transformed {
            Transformed::Ok(entry, keys) => self.keyed(entry, &keys),
            Transformed::Dropped => Outcome::Dropped,
            Transformed::Failed(entry, failure) => Outcome::Failed(entry, failure),
        }));
        outcomes
    }

    fn keyed(&self, entry: Entry, given: &HashMap<String, String>) -> Outcome {
        if self.keys.is_empty() {
            return Outcome::Deliver(entry, Vec::new());
        }
        match self.values(&entry, given) {
            Ok(values) => Outcome::Deliver(entry, values),
            Err(failure) => Outcome::Failed(entry, failure),
        }
    }

    fn values(
        &self,
        entry: &Entry,
        given: &HashMap<String, String>,
    ) -> Result<Vec<String>, Failure> {
        let is_read = self.keys.iter().any(|(_, source)| matches!(source, KeySource::Field(_)));
        let record: Value = match is_read {
            false => Value::Null,
            true => serde_json::from_slice(&entry.data).map_err(|problem| {
                Failure::processing(CODE, format!("it is no JSON: {problem}"), 1)
            })?,
        };
        let values = self.keys.iter().map(|(name, source)| match source {
            KeySource::Field(query) => query.value_in(&record),
            KeySource::Transform => match given.get(name) {
                Some(value) => checked(name, value.clone()),
                None => {
                    let message = format!("the transformation gave no partition key {name}");
                    Err(Failure::processing(CODE, message, 1))
                }
            },
        });
        values.collect()
    }
}
