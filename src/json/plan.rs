//! What is known of the records' keys: a node for each path, with what is wanted of it, what was
//! seen there, and which key is likely to follow.

use hashbrown::HashMap;

use super::glue::Glue;
use crate::schema::{ColumnSpec, ColumnType, Kinds, Path, Pins};

/// No node, no slot, no column.
pub(super) const NONE: u32 = u32::MAX;
pub(super) const ROOT: u32 = 0;

/// Between two blocks, more nodes than these are forgotten. Keys that are data would fill the memory,
/// be it in records of another day or in columns that nobody asked for.
const MOST_NODES: usize = 1 << 16;

/// Which columns are written.
#[derive(Clone, Debug)]
pub enum Projection {
    All,
    /// Those that a user means by these names (`value`, `device_os`, `device.os`).
    Named(Vec<String>),
}

impl Projection {
    fn wants(&self, path: &Path) -> bool {
        match self {
            Projection::All => true,
            Projection::Named(names) => names.iter().any(|name| path.is_named(name)),
        }
    }

    /// True where the path lies on the way to a wanted one, so that what is seen there decides
    /// whether the wanted column exists.
    fn leads_to_wanted(&self, path: &Path) -> bool {
        match self {
            Projection::All => true,
            Projection::Named(names) => leads_to_any(path, names),
        }
    }
}

/// True where one of the names may mean something inside of the object at `path`.
fn leads_to_any<'n>(path: &Path, names: impl IntoIterator<Item = &'n String>) -> bool {
    let mut names = names.into_iter().peekable();
    if names.peek().is_none() {
        return false;
    }
    let inside = format!("{}_", path.flat_name());
    let flat = |name: &String| name.trim_start_matches('/').replace(['.', '/'], "_");
    names.any(|name| name.len() >= inside.len() && flat(name).starts_with(&inside))
}

/// What the pass touches of a node for every value. Apart from [`Node`], so that the tracks of a
/// record lie together in the nearest cache.
pub(super) struct Track {
    /// `"key":` with the white space within and behind, as it stood when the key was last looked
    /// up; `None` where it is too long.
    pub key: Option<Glue>,
    /// Its values may be written into a column, or are looked at.
    pub noted: bool,
    /// Declared as JSON, with nothing inside that is a time or a group: its members are scanned
    /// and no more. So keys that are data cost nothing.
    pub opaque: bool,
    /// Objects that are open around it, the record among them.
    pub depth: u32,
    /// The member that followed this one last time.
    pub next: u32,
    /// For an object: the member that stood first last time.
    pub first: u32,
    /// Its value in the record of this serial number, as an index of the tape.
    pub slot: u32,
    pub record: u64,
}

impl Track {
    fn new(depth: u32) -> Self {
        Track {
            key: None,
            noted: false,
            opaque: false,
            depth,
            next: NONE,
            first: NONE,
            slot: NONE,
            record: 0,
        }
    }
}

/// One path.
pub(super) struct Node {
    pub path: Path,
    children: HashMap<Box<[u8]>, u32>,
    /// Its values are written into a column.
    pub column: bool,
    pub pin: Option<ColumnType>,
    /// An object here is written as one JSON value. Its members are noted all the same, since
    /// one may be the record's time; their columns are not published.
    pub whole: bool,
    /// What was seen here in rows of the day, by this reader or as it was told.
    pub kinds: Kinds,
    /// The column being built, valid in frame number `frame`.
    pub builder: u32,
    pub frame: u64,
}

/// The nodes, and which of them are times and groups.
pub(super) struct Plan {
    pub nodes: Vec<Node>,
    /// One for each node.
    pub tracks: Vec<Track>,
    projection: Projection,
    pins: Pins,
    time_names: Vec<String>,
    group_names: Vec<String>,
    /// The types of the day, as far as they were told.
    expected: Vec<ColumnSpec>,
    /// For each time field and each `--by` name, the nodes that it means, by path.
    pub time_nodes: Vec<Vec<u32>>,
    pub group_nodes: Vec<Vec<u32>>,
    /// The time fields that have nodes, by rank.
    pub time_ranks: Vec<u16>,
    pub pinned: Vec<u32>,
}

impl Plan {
    pub fn new(
        projection: Projection,
        pins: Pins,
        time_names: Vec<String>,
        group_names: Vec<String>,
    ) -> Self {
        let mut plan = Plan {
            nodes: Vec::new(),
            tracks: Vec::new(),
            time_nodes: vec![Vec::new(); time_names.len()],
            group_nodes: vec![Vec::new(); group_names.len()],
            time_ranks: Vec::new(),
            projection,
            pins,
            time_names,
            group_names,
            expected: Vec::new(),
            pinned: Vec::new(),
        };
        plan.nodes.push(Node::new(Path::root()));
        plan.tracks.push(Track::new(0));
        plan
    }

    /// True where so many keys are known that they must be data.
    pub fn is_crowded(&self) -> bool {
        self.nodes.len() > MOST_NODES
    }

    /// The plan as it was before it had seen any record. What it had learnt only saves work.
    pub fn forget(&mut self) {
        let names = |names: &mut Vec<String>| std::mem::take(names);
        let (times, groups) = (names(&mut self.time_names), names(&mut self.group_names));
        let projection = self.projection.clone();
        let expected = std::mem::take(&mut self.expected);
        *self = Plan::new(projection, std::mem::take(&mut self.pins), times, groups);
        self.expect(&expected);
    }

    /// The member `key` (unescaped) of the object `parent`.
    pub fn child(&mut self, parent: u32, key: &[u8]) -> u32 {
        if let Some(&child) = self.nodes[parent as usize].children.get(key) {
            return child;
        }
        // A key that is no UTF-8 gets the record quarantined; its node is never published.
        let path = self.nodes[parent as usize].path.child(&String::from_utf8_lossy(key));
        let id = self.nodes.len() as u32;
        let depth = self.tracks[parent as usize].depth + 1;
        let (mut node, mut track) = (Node::new(path), Track::new(depth));
        self.assign_roles(id, &mut node, &mut track);
        self.nodes.push(node);
        self.tracks.push(track);
        self.nodes[parent as usize].children.insert(key.into(), id);
        id
    }

    fn assign_roles(&mut self, id: u32, node: &mut Node, track: &mut Track) {
        let named = |names: &[String]| -> Vec<usize> {
            (0..names.len()).filter(|&rank| node.path.is_named(&names[rank])).collect()
        };
        let (times, groups) = (named(&self.time_names), named(&self.group_names));
        node.column = self.projection.wants(&node.path);
        node.pin =
            self.pins.iter().find(|(name, _)| node.path.is_named(name)).map(|(_, pinned)| *pinned);
        track.noted = node.column
            || node.pin.is_some()
            || !times.is_empty()
            || !groups.is_empty()
            || self.projection.leads_to_wanted(&node.path);
        if node.pin.is_some() {
            self.pinned.push(id);
            node.whole = node.pin == Some(ColumnType::Json);
            let asked = self.time_names.iter().chain(&self.group_names);
            track.opaque = node.whole && !leads_to_any(&node.path, asked);
        }
        for &rank in &times {
            let rank = rank as u16;
            if let Err(behind) = self.time_ranks.binary_search(&rank) {
                self.time_ranks.insert(behind, rank);
            }
        }
        for (ranks, lists) in [(times, &mut self.time_nodes), (groups, &mut self.group_nodes)] {
            for rank in ranks {
                let nodes = &self.nodes;
                let behind =
                    lists[rank].partition_point(|&other| nodes[other as usize].path < node.path);
                lists[rank].insert(behind, id);
            }
        }
    }

    /// Tells the plan the types of the day, so that frames come out with them.
    pub fn expect(&mut self, columns: &[ColumnSpec]) {
        self.expected = columns.to_vec();
        for column in columns {
            let mut id = ROOT;
            for key in column.path.keys() {
                id = self.child(id, key.as_bytes());
            }
            let node = &mut self.nodes[id as usize];
            node.kinds = node.kinds.union(column.kinds);
            node.whole = column.kinds.contains(Kinds::OBJECT);
        }
    }
}

impl Node {
    fn new(path: Path) -> Self {
        Node {
            path,
            children: HashMap::new(),
            column: false,
            pin: None,
            whole: false,
            kinds: Kinds::NONE,
            builder: NONE,
            frame: 0,
        }
    }

    /// True where objects disagree with something else.
    pub fn holds_objects_and_more(&self) -> bool {
        self.kinds.contains(Kinds::OBJECT) && self.kinds != Kinds::OBJECT
    }

    /// The type that values are written as, when `kinds` have been seen.
    pub fn written_as(&self, kinds: Kinds) -> ColumnType {
        self.pin.unwrap_or_else(|| kinds.column_type())
    }
}
