//! Why objects are left out, as manifests say it; and which names are hidden ones.

use super::ObjectName;

/// Why an object is never data. Excluded objects are counted by reason and not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exclusion {
    /// An empty object that stands for a folder: the key is empty, or ends with `/` or `$folder$`.
    FolderMarker,
    /// The same with bytes in it. Firehose writes no such key, but somebody put something there.
    FolderWithBytes,
    /// Under a folder such as `processing-failed/`, where Firehose puts what it could not deliver.
    ErrorOutput,
    /// Not under a prefix of the layout.
    OutsideHours,
    /// In a folder below such a prefix.
    BelowHour,
    /// A name that begins with `.`, or with `_` and is not one that Firehose gives (`.DS_Store`,
    /// `_SUCCESS`, unfinished copies).
    Hidden,
    /// Listed along with others, and filed under hours that are not looked at.
    OtherHours,
}

impl Exclusion {
    /// Every reason, in the order in which they are shown.
    pub const ALL: [Exclusion; 7] = [
        Exclusion::FolderMarker,
        Exclusion::FolderWithBytes,
        Exclusion::ErrorOutput,
        Exclusion::OutsideHours,
        Exclusion::BelowHour,
        Exclusion::Hidden,
        Exclusion::OtherHours,
    ];

    /// The reason as it stands in the manifest. It never changes.
    pub const fn reason(self) -> &'static str {
        match self {
            Exclusion::FolderMarker => "folder marker",
            Exclusion::FolderWithBytes => "folder marker with bytes in it",
            Exclusion::ErrorOutput => "error output of firehose",
            Exclusion::OutsideHours => "not under an hour's prefix",
            Exclusion::BelowHour => "in a folder below an hour's prefix",
            Exclusion::Hidden => "hidden or temporary name",
            Exclusion::OtherHours => "filed under hours that are not looked at",
        }
    }
}

impl std::fmt::Display for Exclusion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason())
    }
}

/// An unfinished copy is often the whole name with a dot in front, while an underscore may be the
/// beginning of a stream's own name.
pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || (name.starts_with('_') && name.parse::<ObjectName>().is_err())
}
