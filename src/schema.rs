//! Types of columns: what was seen in a column goes in, the column's type comes out.
//!
//! Types are joined as *sets of kinds*: a column's type is a function of the set of everything
//! that was seen in it. Union is commutative, associative and idempotent, so neither the order
//! of objects, nor the number of threads, nor the size of chunks can show in the result.
//! This room never looks at values.

// Spelled out, since `fuzz/src/lib.rs` takes this file by its path, too.
#[path = "schema/diff.rs"]
mod diff;
#[path = "schema/pin.rs"]
mod pin;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

pub use diff::{Change, diff};
pub use pin::{pins_from_json, pins_to_json};

/// Where a value stood in its record: the keys from the root to it, as a JSON Pointer (RFC 6901).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Arc<str>);

impl Path {
    pub fn root() -> Self {
        Path(Arc::from(""))
    }

    /// The path that a JSON Pointer spells.
    pub fn of_pointer(pointer: &str) -> Self {
        Path(Arc::from(pointer))
    }

    pub fn child(&self, key: &str) -> Self {
        let escaped = key.replace('~', "~0").replace('/', "~1");
        Path(Arc::from(format!("{}/{escaped}", self.0)))
    }

    pub fn pointer(&self) -> &str {
        &self.0
    }

    /// The keys from the root, unescaped.
    pub fn keys(&self) -> impl Iterator<Item = String> + '_ {
        self.0.split('/').skip(1).map(|key| key.replace("~1", "/").replace("~0", "~"))
    }

    /// The flattened name, `device_os` for `/device/os`; clashes are settled by [`Schema::columns`].
    pub fn flat_name(&self) -> String {
        self.keys().collect::<Vec<_>>().join("_")
    }

    /// True where a user who typed `name` means this path: `device_os`, `device.os` or `/device/os`.
    pub fn is_named(&self, name: &str) -> bool {
        if name == &*self.0 {
            return true;
        }
        // The keys joined by one character are as long as the pointer without its first slash,
        // less one for each escape of two characters. Every new path is compared with every name
        // that is looked for: joining the keys each time would cost seconds where paths are deep.
        let Some(escapes) = self.0.len().checked_sub(1 + name.len()) else {
            return false;
        };
        2 * escapes <= self.0.len()
            && escapes == self.0.bytes().filter(|byte| *byte == b'~').count()
            && (name == self.flat_name() || name == self.keys().collect::<Vec<_>>().join("."))
    }

    /// True where this is a member, at any depth, of the object at `ancestor`.
    pub fn is_below(&self, ancestor: &Path) -> bool {
        let rest = self.0.strip_prefix(&*ancestor.0);
        rest.is_some_and(|rest| rest.starts_with('/'))
    }

    fn parent(&self) -> Option<Path> {
        let cut = self.0.rfind('/')?;
        Some(Path(Arc::from(&self.0[..cut])))
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What was seen at a path: a set of kinds. The empty set means that only `null` was seen.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Kinds(u16);

impl Kinds {
    pub const NONE: Kinds = Kinds(0);
    pub const BOOL: Kinds = Kinds(1);
    /// An integer literal with |v| ≤ 2^53, other than `-0`.
    pub const INT: Kinds = Kinds(1 << 1);
    /// An integer literal that fits i64 but lies beyond ±2^53.
    pub const BIG_INT: Kinds = Kinds(1 << 2);
    /// The literal `-0`: 0 in an integer column, `-0` in a text column.
    pub const NEG_ZERO: Kinds = Kinds(1 << 3);
    /// A literal with a fraction or an exponent that f64 can hold.
    pub const FLOAT: Kinds = Kinds(1 << 4);
    /// A JSON string.
    pub const TEXT: Kinds = Kinds(1 << 5);
    /// A number that neither i64 nor f64 can hold (`1e400`, 56 digits).
    pub const HUGE: Kinds = Kinds(1 << 6);
    pub const LIST: Kinds = Kinds(1 << 7);
    pub const LIST_BOOL: Kinds = Kinds(1 << 8);
    pub const LIST_INT: Kinds = Kinds(1 << 9);
    pub const LIST_BIG_INT: Kinds = Kinds(1 << 10);
    pub const LIST_FLOAT: Kinds = Kinds(1 << 11);
    pub const LIST_TEXT: Kinds = Kinds(1 << 12);
    pub const LIST_HUGE: Kinds = Kinds(1 << 13);
    /// A list inside the list, or an object inside it.
    pub const LIST_NESTED: Kinds = Kinds(1 << 14);
    pub const OBJECT: Kinds = Kinds(1 << 15);

    const ANY_INT: Kinds = Kinds(Self::INT.0 | Self::BIG_INT.0 | Self::NEG_ZERO.0);
    const ANY_LIST: Kinds = Kinds(0xFF << 7);

    pub const fn union(self, other: Kinds) -> Kinds {
        Kinds(self.0 | other.0)
    }

    pub const fn contains(self, other: Kinds) -> bool {
        self.0 & other.0 == other.0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    const fn within(self, allowed: Kinds) -> bool {
        self.0 & !allowed.0 == 0
    }

    /// Stable text of the set for the manifest, as `int|text`.
    pub fn names(self) -> String {
        const NAMES: [&str; 16] = [
            "bool",
            "int",
            "big_int",
            "neg_zero",
            "float",
            "text",
            "huge",
            "list",
            "list_bool",
            "list_int",
            "list_big_int",
            "list_float",
            "list_text",
            "list_huge",
            "list_nested",
            "object",
        ];
        let seen = (0..16).filter(|bit| self.0 & (1 << bit) != 0);
        seen.map(|bit| NAMES[bit]).collect::<Vec<_>>().join("|")
    }

    /// The narrowest type that holds every kind of the set without loss.
    ///
    /// null < bool; null < i64 < f64; everything < text. Fractions beside integers beyond 2^53
    /// are text, since f64 would round the integers. A list or an object that meets anything
    /// else makes the column JSON text.
    pub fn column_type(self) -> ColumnType {
        use ColumnType as T;
        if self.is_empty() {
            return T::Null;
        }
        if self.contains(Kinds::OBJECT) || self.contains(Kinds::LIST_NESTED) {
            return T::Json;
        }
        if self.contains(Kinds::LIST) {
            return if self.within(Kinds::ANY_LIST) { self.list_type() } else { T::Json };
        }
        if self == Kinds::BOOL {
            T::Bool
        } else if self.within(Kinds::ANY_INT) {
            T::Int
        } else if self.within(Kinds(Kinds::ANY_INT.0 | Kinds::FLOAT.0))
            && !self.contains(Kinds::BIG_INT)
        {
            T::Float
        } else {
            T::Text
        }
    }

    fn list_type(self) -> ColumnType {
        let items = Kinds(self.0 & (Kinds::ANY_LIST.0 & !Kinds::LIST.0));
        let scalar = if items.is_empty() || items == Kinds::LIST_TEXT {
            Scalar::Text
        } else if items == Kinds::LIST_BOOL {
            Scalar::Bool
        } else if items.within(Kinds(Kinds::LIST_INT.0 | Kinds::LIST_BIG_INT.0)) {
            Scalar::Int
        } else if items.within(Kinds(Kinds::LIST_INT.0 | Kinds::LIST_FLOAT.0)) {
            Scalar::Float
        } else {
            return ColumnType::Json;
        };
        ColumnType::List(scalar)
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kinds({})", self.names())
    }
}

/// The item type of a list column.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Scalar {
    Bool,
    Int,
    Float,
    Text,
}

/// The type of a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum ColumnType {
    /// Only `null` was seen. Published as text.
    Null,
    Bool,
    /// i64, exact.
    Int,
    /// f64.
    Float,
    /// UTF-8. Strings unescaped; numbers and booleans as their exact source text.
    Text,
    /// UTF-8. Every value as its exact source JSON, strings in their quotes.
    Json,
    List(Scalar),
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ColumnType::Null => "null",
            ColumnType::Bool => "bool",
            ColumnType::Int => "int",
            ColumnType::Float => "float",
            ColumnType::Text => "text",
            ColumnType::Json => "json",
            ColumnType::List(Scalar::Bool) => "list<bool>",
            ColumnType::List(Scalar::Int) => "list<int>",
            ColumnType::List(Scalar::Float) => "list<float>",
            ColumnType::List(Scalar::Text) => "list<text>",
        })
    }
}

impl std::str::FromStr for ColumnType {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        const ALL: [ColumnType; 10] = [
            ColumnType::Null,
            ColumnType::Bool,
            ColumnType::Int,
            ColumnType::Float,
            ColumnType::Text,
            ColumnType::Json,
            ColumnType::List(Scalar::Bool),
            ColumnType::List(Scalar::Int),
            ColumnType::List(Scalar::Float),
            ColumnType::List(Scalar::Text),
        ];
        ALL.into_iter().find(|kind| kind.to_string() == text).ok_or(())
    }
}

/// Types that the user declared, by column name as typed (`value`, `device.os`).
pub type Pins = BTreeMap<String, ColumnType>;

/// Names that rawcat's own columns have, and the Hive partition.
pub const RESERVED_NAMES: [&str; 5] =
    ["ts_utc", "ts_local", "local_date", "object_key", "byte_offset"];

/// A column as it is published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ColumnSpec {
    pub path: Path,
    pub name: String,
    pub column_type: ColumnType,
    pub kinds: Kinds,
}

/// Every path that was seen in the rows of a day, in the order of first appearance.
#[derive(Clone, Default, Debug)]
pub struct Schema {
    paths: Vec<(Path, Kinds)>,
    index: HashMap<Path, usize>,
}

impl Schema {
    /// Joins what was seen at `path` into the schema.
    pub fn see(&mut self, path: &Path, kinds: Kinds) {
        if let Some(&at) = self.index.get(path) {
            self.paths[at].1 = self.paths[at].1.union(kinds);
        } else {
            self.index.insert(path.clone(), self.paths.len());
            self.paths.push((path.clone(), kinds));
        }
    }

    pub fn kinds(&self, path: &Path) -> Option<Kinds> {
        self.index.get(path).map(|&at| self.paths[at].1)
    }

    pub fn paths(&self) -> &[(Path, Kinds)] {
        &self.paths
    }

    /// The name of the object with the most members, as `--type` takes it.
    pub fn widest_object(&self) -> String {
        let mut members: HashMap<Path, usize> = HashMap::new();
        for parent in self.paths.iter().filter_map(|(path, _)| path.parent()) {
            *members.entry(parent).or_default() += 1;
        }
        let widest = members.into_iter().max_by_key(|(path, count)| (*count, path.clone()));
        let keys: Vec<String> = widest.map(|(path, _)| path.keys().collect()).unwrap_or_default();
        if keys.is_empty() { "COLUMN".to_string() } else { keys.join(".") }
    }

    /// Joins another schema; its new paths follow in their order.
    pub fn join(&mut self, other: &Schema) {
        for (path, kinds) in &other.paths {
            self.see(path, *kinds);
        }
    }

    /// The published columns, in the order of first appearance.
    ///
    /// An object becomes its children's columns, unless something else was seen at its path
    /// (then the whole is one JSON column) or no child ever was (`{}`).
    pub fn columns(&self, pins: &Pins) -> Vec<ColumnSpec> {
        let parents: HashSet<Path> =
            self.paths.iter().filter_map(|(path, _)| path.parent()).collect();
        let json_names = pins.iter().filter(|(_, pinned)| **pinned == ColumnType::Json);
        let json_pins: Vec<&Path> = json_names
            .flat_map(|(name, _)| self.paths.iter().filter(|(path, _)| path.is_named(name)))
            .map(|(path, _)| path)
            .collect();
        let mut columns: Vec<ColumnSpec> = Vec::with_capacity(self.paths.len());
        for (path, kinds) in &self.paths {
            let pin = pins.iter().find(|(name, _)| path.is_named(name));
            let is_json = pin.is_some_and(|(_, pinned)| *pinned == ColumnType::Json);
            let flattened = *kinds == Kinds::OBJECT && parents.contains(path) && !is_json;
            let inside_pinned = json_pins.iter().any(|above| path.is_below(above));
            if flattened || inside_pinned || self.has_json_ancestor(path) {
                continue;
            }
            columns.push(ColumnSpec {
                path: path.clone(),
                name: String::new(),
                column_type: pin.map_or_else(|| kinds.column_type(), |(_, pinned)| *pinned),
                kinds: *kinds,
            });
        }
        name_columns(&mut columns);
        columns
    }

    /// True where the path lies inside a JSON column, so that it is no column itself.
    pub fn has_json_ancestor(&self, path: &Path) -> bool {
        let mut ancestor = path.parent();
        while let Some(path) = ancestor {
            if self.kinds(&path).is_some_and(|kinds| kinds != Kinds::OBJECT) {
                return true;
            }
            ancestor = path.parent();
        }
        false
    }
}

/// Gives each column its name: the flat name, with a suffix by the order of source paths where
/// names clash when compared without case.
fn name_columns(columns: &mut [ColumnSpec]) {
    let mut order: Vec<usize> = (0..columns.len()).collect();
    order.sort_by(|&a, &b| columns[a].path.cmp(&columns[b].path));
    let wanted: HashSet<String> =
        columns.iter().map(|column| column.path.flat_name().to_lowercase()).collect();
    let mut taken: HashSet<String> = RESERVED_NAMES.iter().map(|name| name.to_string()).collect();
    for at in order {
        let flat = match columns[at].path.flat_name() {
            name if name.is_empty() => "_".to_string(),
            name => name,
        };
        let mut name = flat.clone();
        let mut suffix = 2;
        while taken.contains(&name.to_lowercase())
            || (name != flat && wanted.contains(&name.to_lowercase()))
        {
            name = format!("{flat}_{suffix}");
            suffix += 1;
        }
        taken.insert(name.to_lowercase());
        columns[at].name = name;
    }
}
