//! The columns of one day and those of another, or those that are pinned → what is new, lost, or of
//! another type.

use std::collections::HashMap;

use super::{ColumnType, Path, Pins};

/// How a column differs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    New { now: ColumnType },
    Lost { before: ColumnType },
    Retyped { before: ColumnType, now: ColumnType },
}

/// The changes from `before` to `now`, by path. Columns of which nothing was seen but null say nothing
/// of their type: they are neither new nor of another type.
pub fn diff(before: &Pins, now: &Pins) -> Vec<(String, Change)> {
    let (in_before, in_now) = (Named::of(before), Named::of(now));
    let mut changes: Vec<(String, Change)> = Vec::new();
    for (path, column_type) in now {
        let (now, known) = (*column_type, in_before.find(path));
        match known {
            _ if now == ColumnType::Null => {}
            None | Some(ColumnType::Null) => changes.push((path.clone(), Change::New { now })),
            Some(before) if before != now => {
                changes.push((path.clone(), Change::Retyped { before, now }));
            }
            Some(_) => {}
        }
    }
    for (path, before) in before {
        let is_null = *before == ColumnType::Null;
        if !is_null && in_now.find(path).is_none_or(|now| now == ColumnType::Null) {
            changes.push((path.clone(), Change::Lost { before: *before }));
        }
    }
    changes.sort_by(|a, b| a.0.cmp(&b.0));
    changes
}

/// Columns, to be found by any of their names.
struct Named<'p> {
    columns: &'p Pins,
    /// Of pointers, by the two names that columns have in tables.
    by_name: HashMap<String, ColumnType>,
}

impl<'p> Named<'p> {
    fn of(columns: &'p Pins) -> Self {
        let mut by_name = HashMap::new();
        for (path, column_type) in columns {
            for name in names(path) {
                by_name.entry(name).or_insert(*column_type);
            }
        }
        Named { columns, by_name }
    }

    /// The type of a column, whichever of its names it stands under.
    fn find(&self, path: &str) -> Option<ColumnType> {
        let as_typed = || self.columns.get(path);
        let by_pointer = || self.by_name.get(path);
        let by_name = || names(path).into_iter().find_map(|name| self.columns.get(&name));
        as_typed().or_else(by_pointer).or_else(by_name).copied()
    }
}

/// The names by which [`Path::is_named`] knows a pointer, besides itself.
fn names(path: &str) -> Vec<String> {
    if !path.starts_with('/') {
        return Vec::new();
    }
    let path = Path::of_pointer(path);
    let dotted = path.keys().collect::<Vec<_>>().join(".");
    vec![dotted, path.flat_name()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn columns(of: &[(&str, ColumnType)]) -> Pins {
        of.iter().map(|(path, kind)| (path.to_string(), *kind)).collect()
    }

    #[test]
    fn new_lost_and_retyped_columns_are_told_apart() {
        use ColumnType::{Float, Int, Null, Text};
        let before = columns(&[("/a", Int), ("/b", Int), ("/c", Text), ("/n", Null), ("/m", Int)]);
        let now = columns(&[("/a", Int), ("/b", Float), ("/d", Text), ("/n", Int), ("/m", Null)]);
        let expected = [
            ("/b", Change::Retyped { before: Int, now: Float }),
            ("/c", Change::Lost { before: Text }),
            ("/d", Change::New { now: Text }),
            ("/m", Change::Lost { before: Int }),
            ("/n", Change::New { now: Int }),
        ];
        assert_eq!(diff(&before, &now), expected.map(|(path, change)| (path.to_string(), change)));
    }

    #[test]
    fn a_column_is_known_by_any_of_its_names() {
        let pointer = columns(&[("/device/os", ColumnType::Text)]);
        for name in ["device.os", "device_os", "/device/os"] {
            assert_eq!(diff(&columns(&[(name, ColumnType::Text)]), &pointer), []);
            assert_eq!(diff(&pointer, &columns(&[(name, ColumnType::Text)])), []);
        }
    }

    proptest! {
        /// Backward, what was new is lost, and what was lost is new.
        #[test]
        fn a_difference_read_backward_is_the_reverse(
            a in prop::collection::btree_map("/[a-c]", kind(), 0..4),
            b in prop::collection::btree_map("/[a-c]", kind(), 0..4),
        ) {
            let (a, b): (Pins, Pins) = (a.into_iter().collect(), b.into_iter().collect());
            let turned = diff(&b, &a).into_iter().map(|(path, change)| (path, match change {
                Change::New { now } => Change::Lost { before: now },
                Change::Lost { before } => Change::New { now: before },
                Change::Retyped { before, now } => Change::Retyped { before: now, now: before },
            }));
            prop_assert_eq!(diff(&a, &b), turned.collect::<Vec<_>>());
            prop_assert!(diff(&a, &a).is_empty());
        }
    }

    fn kind() -> impl Strategy<Value = ColumnType> {
        prop::sample::select(vec![ColumnType::Null, ColumnType::Int, ColumnType::Text])
    }
}
