//! The profiles, lists and sources that come with Okno.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::read::{self, Source};
use super::{Profile, ProfileError};
use crate::lists::Lists;

/// Names and texts of the built-in profiles. A profile stands after the one it extends.
pub const BUILTIN: &[(&str, &str)] = &[
    ("none", include_str!("../../profiles/none.toml")),
    ("tspu-2021", include_str!("../../profiles/tspu-2021.toml")),
    ("tspu-2022", include_str!("../../profiles/tspu-2022.toml")),
    ("tspu-2024", include_str!("../../profiles/tspu-2024.toml")),
    ("tspu-2025", include_str!("../../profiles/tspu-2025.toml")),
    ("tspu-2026", include_str!("../../profiles/tspu-2026.toml")),
    ("ru-legacy-isp", include_str!("../../profiles/ru-legacy-isp.toml")),
    ("ru-mobile-whitelist-2025", include_str!("../../profiles/ru-mobile-whitelist-2025.toml")),
    ("ru-mobile-blackout", include_str!("../../profiles/ru-mobile-blackout.toml")),
    ("ru-dns-2026", include_str!("../../profiles/ru-dns-2026.toml")),
    ("china-gfw", include_str!("../../profiles/china-gfw.toml")),
    ("iran", include_str!("../../profiles/iran.toml")),
    ("kazakhstan", include_str!("../../profiles/kazakhstan.toml")),
    ("turkmenistan", include_str!("../../profiles/turkmenistan.toml")),
    ("turkey", include_str!("../../profiles/turkey.toml")),
    ("uzbekistan", include_str!("../../profiles/uzbekistan.toml")),
];

const SHARED: &str = include_str!("../../profiles/shared.toml");

pub(super) struct Shared {
    sources: BTreeMap<String, String>,
    lists: Lists,
}

static SHARED_READ: LazyLock<Shared> = LazyLock::new(|| {
    read_shared().unwrap_or_else(|error| unreachable!("a test reads the shared lists: {error}"))
});

pub(super) fn read_shared() -> Result<Shared, ProfileError> {
    let source = Source::new("profiles/shared.toml", SHARED);
    let table = source.parse(SHARED)?;
    let root = source.root(&table);
    Ok(Shared { sources: read::sources(&root)?, lists: read::lists(&root)? })
}

static PROFILES: LazyLock<Vec<std::sync::OnceLock<Profile>>> =
    LazyLock::new(|| BUILTIN.iter().map(|_| std::sync::OnceLock::new()).collect());

/// A built-in profile, all rules of all dates, as written.
pub fn builtin(name: &str) -> Option<&'static Profile> {
    let at = BUILTIN.iter().position(|(known, _)| *known == name)?;
    Some(PROFILES[at].get_or_init(|| {
        let file = format!("profiles/{name}.toml");
        Profile::parse(&file, BUILTIN[at].1)
            .unwrap_or_else(|error| unreachable!("a test reads each built-in profile: {error}"))
    }))
}

/// The full text of a source by its key.
pub fn source_text(key: &str) -> Option<&'static str> {
    SHARED_READ.sources.get(key).map(String::as_str)
}

pub(super) fn sources() -> &'static BTreeMap<String, String> {
    &SHARED_READ.sources
}

/// The shared lists.
pub(crate) fn lists() -> &'static Lists {
    &SHARED_READ.lists
}
